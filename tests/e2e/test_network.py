# SPDX-License-Identifier: Apache-2.0
"""Real Linux guests on the node's network, and what their policies let them reach."""

import os
import re
import subprocess
import time

import grpc

from harness import E, V, wait_until
from world import (GATEWAY, GATEWAY6, NODE, OTHER, OTHER6, SERVER, SERVER6, STRANGER, NetworkTest,
                   rule, run)


class FilterTest(NetworkTest):
    """By BPF."""

    def test_a_guest_reaches_what_its_policy_allows_and_nothing_else(self):
        other = self.start(words=["hearth.tick"])
        neighbour = other.status.resolved.network_interfaces[0].ipv4_address
        targets = ["%s:80" % SERVER, "%s:81" % SERVER, "%s:80" % OTHER, "%s:22" % GATEWAY,
                   "%s:80" % neighbour]
        vm = self.start(rule("192.0.2.0/24", 80, **{"except": [OTHER + "/32"]}),
                        words=["hearth.reach=" + ",".join(targets)])

        self.wait_said(vm, **dict(zip(targets, ["yes", "no", "no", "no", "no"])))

        with self.subTest("explained"):
            allowed, denied = self.explain(vm, SERVER, 80), self.explain(vm, SERVER, 81)
            self.assertTrue(allowed.allowed, allowed)
            self.assertTrue(allowed.enforced and allowed.has_rule, allowed)
            self.assertFalse(denied.allowed)
            self.assertEqual("DROP_POLICY", denied.verdict)
        with self.subTest("counted"):
            counters = self.counters(vm)
            self.assertGreater(counters["PASS_POLICY"], 0)
            self.assertGreater(counters["DROP_POLICY"], 0)
        with self.subTest("told as it happens"):
            call = self.daemon.client.egress.WatchEgress(
                E.WatchEgressRequest(vm_id=vm.vm_id), timeout=60)
            flow = next(iter(call)).flows[0]
            call.cancel()
            self.assertEqual((vm.vm_id, "DROP_POLICY"), (flow.vm_id, flow.verdict))
        with self.subTest("changed while it runs"):
            self.set_policy(vm, rule(SERVER + "/32", 81))
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no", "no"])))
        with self.subTest("without an agent"):
            self.daemon.kill()
            size = os.path.getsize(self.daemon.run_dir(vm) / "console.log")
            wait_until(lambda: os.path.getsize(self.daemon.run_dir(vm) / "console.log") >
                       size + 300, "the guest goes on", 90)
            self.daemon.start()
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no", "no"])))
        with self.subTest("its programs taken away"):
            tap = vm.status.resolved.network_interfaces[0].host_device
            run("tc", "-n", NODE, "qdisc", "del", "dev", tap, "clsact")
            self.wait_said(vm, **dict.fromkeys(targets, "no"))
        with self.subTest("destroyed"):
            self.destroy(vm.vm_id)
            self.destroy(other.vm_id)
            self.assertNotIn(tap, run("ip", "-n", NODE, "link"))
            self.assertNotIn("10.200.", run("ip", "-n", NODE, "route"))

    def test_a_guest_reaches_by_ipv6_what_its_policy_allows_and_nothing_else(self):
        own, spoofed = "fd68:7468::77", "fd68:7468::78"
        targets = ["[%s]:80" % SERVER6, "[%s]:81" % SERVER6, "[%s]:80" % OTHER6,
                   "[%s]:22" % GATEWAY6]
        interface = V.NetworkInterface(interface_id="eth0", ipv6_address=own)
        allowed = rule("2001:db8::/64", 80, **{"except": [OTHER6 + "/128"]})
        words = "hearth.reach=" + ",".join(targets)
        vm, liar = (self.boot(words, "hearth.address6=%s/64,%s" % (address, GATEWAY6),
                              network_interfaces=[mine], egress=V.EgressPolicy(rules=[allowed]))
                    for address, mine in ((own, interface),
                                          (spoofed, V.NetworkInterface(interface_id="eth0"))))

        self.wait_said(vm, **dict(zip(targets, ["yes", "no", "no", "no"])))

        with self.subTest("from an address that is not its own"):
            self.wait_said(liar, **dict.fromkeys(targets, "no"))
            self.assertGreater(self.counters(liar).get("DROP_SOURCE", 0), 0)
        with self.subTest("changed while it runs"):
            self.set_policy(vm, rule(SERVER6 + "/128", 81))
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no"])))

    def test_an_open_connection_ends_when_it_is_no_longer_allowed(self):
        vm = self.start(rule(SERVER + "/32", 80), words=["hearth.talk=%s:80" % SERVER])
        self.follow_to(vm.vm_id, "heard tick 2")

        self.set_policy(vm, rule(SERVER + "/32", 80, 81))
        heard = len(re.findall("heard", self.console(vm.vm_id)))
        wait_until(lambda: len(re.findall("heard", self.console(vm.vm_id))) > heard + 2,
                   "an allowed one goes on", 60)
        self.set_policy(vm, rule(SERVER + "/32", 81))
        heard = len(re.findall("heard", self.console(vm.vm_id)))
        dropped = self.counters(vm).get("DROP_POLICY", 0)
        wait_until(lambda: self.counters(vm).get("DROP_POLICY", 0) > dropped + 1,
                   "what it says is dropped", 60)

        time.sleep(2)
        self.assertLessEqual(len(re.findall("heard", self.console(vm.vm_id))), heard + 1)

    def test_an_allowed_connection_survives_2000_changes_of_the_policy(self):
        vm = self.start(rule(SERVER + "/32", 81), words=["hearth.talk=%s:81" % SERVER])

        self.talk_through(vm, 2000)

        drops = {name: n for name, n in self.counters(vm).items() if name.startswith("DROP")}
        self.assertEqual(0, drops.get("DROP_POLICY", 0), drops)
        self.assertEqual(0, drops.get("DROP_UNSOLICITED", 0), drops)

    def test_the_node_and_the_vm_say_that_egress_is_enforced(self):
        vm = self.start(words=["hearth.tick"])

        network, ready = self.node_network()
        self.assertEqual(("routed", V.ENFORCEMENT_BPF, False),
                         (network.mode, network.enforcement, network.degraded))
        self.assertEqual("10.200.0.0/16", network.ipv4_pool)
        self.assertEqual(V.CONDITION_STATUS_TRUE, ready.status)
        held = V.CONDITION_STATUS_TRUE
        self.assertEqual((held, "Attached"), self.conditions(vm)["NetworkReady"])
        self.assertEqual((held, "Bpf"), self.conditions(vm)["EgressEnforced"])
        with self.subTest("the next agent says it again"):
            self.daemon.restart()
            wait_until(lambda: self.conditions(vm)["EgressEnforced"] == (held, "Bpf"),
                       "adopted", 60)
        with self.subTest("a rule taken away is missed"):
            run(*self.prefix, "nft", "delete", "table", "bridge", "hearth")
            network, ready = self.node_network()
            self.assertEqual(V.CONDITION_STATUS_FALSE, ready.status)
            self.assertIn("bridge", ready.message)
            self.daemon.restart()
            self.assertEqual(V.CONDITION_STATUS_TRUE, self.node_network()[1].status)

    def test_what_is_left_of_vms_that_are_none_goes_and_what_is_not_ours_stays(self):
        node = ("ip", "-n", NODE)
        run(*self.prefix, "ip", "tuntap", "add", "hfeedfacecafe-0", "mode", "tap")
        run(*node, "link", "set", "hfeedfacecafe-0", "group", str(0x6874))
        run(*self.prefix, "ip", "tuntap", "add", "hdeadbeefcafe-0", "mode", "tap")

        self.daemon.restart()

        wait_until(lambda: "hfeedfacecafe" not in run(*node, "link"), "it is swept", 60)
        self.assertIn("hdeadbeefcafe-0", run(*node, "link"), "not in our group")

    def test_a_guest_that_lies_about_its_address_reaches_nothing(self):
        target = "%s:80" % SERVER
        vm = self.start(rule("0.0.0.0/0"), words=["hearth.reach=" + target,
                                                  "hearth.spoof=" + STRANGER])

        self.wait_said(vm, **{target: "no"})

        self.assertGreater(self.counters(vm).get("DROP_SOURCE", 0), 0)
        self.assertEqual(0, self.counters(vm).get("PASS_POLICY", 0))


class IptablesTest(NetworkTest):
    """The fallback: the same, less what it lacks."""

    flags = (*NetworkTest.flags, "--network-enforcement", "iptables")

    def test_a_guest_reaches_what_its_policy_allows_by_iptables_too(self):
        targets = ["%s:80" % SERVER, "%s:81" % SERVER, "%s:80" % OTHER, "%s:22" % GATEWAY]
        vm = self.start(rule("192.0.2.0/24", 80, **{"except": [OTHER + "/32"]}),
                        words=["hearth.reach=" + ",".join(targets)])

        self.wait_said(vm, **dict(zip(targets, ["yes", "no", "no", "no"])))

        interface = vm.status.resolved.network_interfaces[0]
        self.assertEqual(V.ENFORCEMENT_IPTABLES, interface.enforcement)
        with self.subTest("the node says that it is degraded, and the VM what that means"):
            network, ready = self.node_network()
            self.assertEqual((V.ENFORCEMENT_IPTABLES, True),
                             (network.enforcement, network.degraded))
            self.assertIn("without checks of MACs", network.message)
            self.assertEqual(V.CONDITION_STATUS_TRUE, ready.status)
            self.assertEqual((V.CONDITION_STATUS_TRUE, "Iptables"),
                             self.conditions(vm)["EgressEnforced"])
        with self.subTest("names are for BPF alone"):
            with self.assertRaises(grpc.RpcError) as raised:
                self.set_policy(vm, V.EgressRule(fqdn=["example.org"]))
            self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, raised.exception.code())
        with self.subTest("explained by the policy alone"):
            allowed = self.explain(vm, SERVER, 80)
            self.assertEqual((True, False), (allowed.allowed, allowed.enforced))
        with self.subTest("changed while it runs"):
            self.set_policy(vm, rule(SERVER + "/32", 81))
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no"])))
        with self.subTest("without an agent, and with the next one"):
            self.daemon.restart()
            self.wait_said(vm, **dict(zip(targets, ["no", "yes", "no", "no"])))
        with self.subTest("destroyed"):
            self.destroy(vm.vm_id)
            rules = run(*self.prefix, "iptables-save") + run(*self.prefix, "ip6tables-save")
            self.assertNotIn("HEARTH", rules)
            self.assertNotIn(interface.host_device, run("ip", "-n", NODE, "link"))

    def test_an_allowed_connection_survives_changes_of_its_rules(self):
        vm = self.start(rule(SERVER + "/32", 81), words=["hearth.talk=%s:81" % SERVER])

        self.talk_through(vm, 200)

    def test_chains_of_vms_that_are_none_go_and_those_of_others_stay(self):
        vm = self.start(words=["hearth.tick"])
        instance = vm.status.resolved.instance_id
        saved = run(*self.prefix, "iptables-save")
        chains = "\n".join(line for line in saved.splitlines() if "HEARTH" in line)
        self.assertIn(instance, chains)
        self.destroy(vm.vm_id)
        subprocess.run([*self.prefix, "iptables-restore", "--noflush"], check=True, text=True,
                       input="*filter\n%s\nCOMMIT\n" % chains)
        run(*self.prefix, "iptables", "-N", "HEARTH-of-others")
        self.assertIn(instance, run(*self.prefix, "iptables-save"))

        self.daemon.restart()

        wait_until(lambda: instance not in run(*self.prefix, "iptables-save"), "swept", 60)
        self.assertIn("HEARTH-of-others", run(*self.prefix, "iptables-save"))

    def test_a_guest_that_lies_reaches_nothing_by_iptables_either(self):
        target = "%s:80" % SERVER
        vm = self.start(rule("0.0.0.0/0"), words=["hearth.reach=" + target,
                                                  "hearth.spoof=" + STRANGER])

        self.wait_said(vm, **{target: "no"})
