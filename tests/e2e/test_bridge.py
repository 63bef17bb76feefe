# SPDX-License-Identifier: Apache-2.0
"""Real Linux guests as ports of a bridge."""

import subprocess

import grpc

from harness import V
from world import NODE, OTHER, SERVER, WORLD, NetworkTest, rule, run


class BridgeTest(NetworkTest):
    """Guests that are ports of a bridge, in the network of what else is on it."""

    flags = ("--network-mode", "bridge", "--network-bridge", "br0", "--network-pool4",
             "192.0.2.128/25", "--network-pool6", "none", "--network-gateway4", "192.0.2.1/24",
             "--limits-max-vms", "64")
    beyond = "198.51.100.1"

    @classmethod
    def make_world(cls):
        super().make_world()
        for words in ("link add br0 type bridge", "link set br0 up", "addr flush dev uplink",
                      "link set uplink master br0"):
            run("ip", "-n", NODE, *words.split())
        # Its router, and what is behind that.
        run("ip", "-n", WORLD, "addr", "add", "192.0.2.1/24", "dev", "edge")
        run("ip", "-n", WORLD, "addr", "add", cls.beyond + "/32", "dev", "lo")

    def test_a_guest_on_a_bridge_reaches_what_its_policy_allows_and_nothing_else(self):
        other = self.start(rule("0.0.0.0/0"), words=["hearth.tick"])
        neighbour = other.status.resolved.network_interfaces[0].ipv4_address
        targets = ["%s:80" % SERVER, "%s:81" % SERVER, "%s:80" % OTHER, "%s:80" % neighbour]
        vm = self.start(rule("192.0.2.0/24", 80, **{"except": [OTHER + "/32"]}),
                        words=["hearth.reach=" + ",".join(targets)])
        interface = vm.status.resolved.network_interfaces[0]

        self.wait_said(vm, **dict(zip(targets, ["yes", "no", "no", "no"])))

        with self.subTest("it is what the bridge's network knows it by"):
            self.assertEqual(("192.0.2.131", "02:68:c0:00:02:83", "192.0.2.1"),
                             (interface.ipv4_address, interface.guest_mac, interface.ipv4_gateway))
            seen = run("ip", "-n", WORLD, "neigh", "show", interface.ipv4_address)
            self.assertIn(interface.guest_mac, seen)
        with self.subTest("the node says so"):
            network, ready = self.node_network()
            self.assertEqual(("bridge", V.ENFORCEMENT_BPF, False),
                             (network.mode, network.enforcement, network.degraded))
            self.assertEqual(V.CONDITION_STATUS_TRUE, ready.status)
        with self.subTest("nobody opens a connection to it"):
            dropped = self.counters(vm).get("DROP_UNSOLICITED", 0)
            subprocess.run(["nsenter", "--net=/run/netns/" + WORLD, "timeout", "2", "bash", "-c",
                            ": < /dev/tcp/%s/22" % interface.ipv4_address], check=False,
                           capture_output=True)
            self.assertGreater(self.counters(vm).get("DROP_UNSOLICITED", 0), dropped)
        with self.subTest("names need the host as the gateway"):
            with self.assertRaises(grpc.RpcError) as raised:
                self.set_policy(vm, V.EgressRule(fqdn=["example.org"]))
            self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, raised.exception.code())
        with self.subTest("changed while it runs"):
            self.set_policy(vm, rule(SERVER + "/32", 81))
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no"])))
        with self.subTest("with the next agent"):
            self.daemon.kill()
            self.daemon.start()
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no"])))
        with self.subTest("its programs taken away"):
            run("tc", "-n", NODE, "qdisc", "del", "dev", interface.host_device, "clsact")
            self.wait_said(vm, **dict.fromkeys(targets, "no"))
        with self.subTest("destroyed"):
            self.destroy(vm.vm_id)
            self.destroy(other.vm_id)
            self.assertNotIn(interface.host_device, run("ip", "-n", NODE, "link"))

    def test_a_guest_on_a_bridge_that_lies_about_its_address_reaches_nothing(self):
        target = "%s:80" % self.beyond
        honest = self.start(rule("0.0.0.0/0"), words=["hearth.reach=" + target])
        vm = self.start(rule("0.0.0.0/0"), words=["hearth.reach=" + target,
                                                  "hearth.spoof=192.0.2.77"])

        self.wait_said(honest, **{target: "yes"})
        self.wait_said(vm, **{target: "no"})

        self.assertGreater(self.counters(vm).get("DROP_SOURCE", 0), 0)
        self.assertEqual(0, self.counters(vm).get("PASS_POLICY", 0))
