# SPDX-License-Identifier: Apache-2.0
"""Real Linux guests on the node's network, and what their policies let them reach.

hearthd runs in a network namespace of its own, which a pair of interfaces joins to another, the
world. What guests can reach they say on their consoles.
"""

import os
import pathlib
import re
import shutil
import subprocess
import time

from harness import E, V, wait_until
from test_guest import GuestTest

NODE, WORLD = "hearth-node-%d" % os.getpid(), "hearth-world-%d" % os.getpid()
PINS = pathlib.Path("/sys/fs/bpf/hearth")
SERVER, OTHER, GATEWAY = "192.0.2.10", "192.0.2.11", "10.200.0.1"
STRANGER = "10.200.0.77"
# Answers everything that is said to it, a line at a time.
ECHO = """
import socketserver, sys, threading
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
for port in sys.argv[1:-1]:
    threading.Thread(target=Server(("", int(port)), Echo).serve_forever, daemon=True).start()
Server(("", int(sys.argv[-1])), Echo).serve_forever()
"""


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def rule(cidr, *ports, **more):
    return V.EgressRule(to=[V.EgressPeer(cidr=cidr, **more)],
                        ports=[V.EgressPort(port=port) for port in ports])


class NetworkTest(GuestTest):
    flags = ("--network-mode", "routed", "--limits-max-vms", "64")
    prefix = ("nsenter", "--net=/run/netns/" + NODE)

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(cls.remove_world)
        cls.make_world()
        super().setUpClass()

    @classmethod
    def make_world(cls):
        run("ip", "netns", "add", NODE)
        run("ip", "netns", "add", WORLD)
        run("ip", "link", "add", "uplink", "netns", NODE, "type", "veth", "peer", "name", "edge",
            "netns", WORLD)
        for namespace, words in ((NODE, "addr add 192.0.2.1/24 dev uplink"), (NODE, "link set uplink up"),
                                 (NODE, "link set lo up"), (WORLD, "link set lo up"),
                                 (WORLD, "addr add %s/24 dev edge" % SERVER),
                                 (WORLD, "addr add %s/24 dev edge" % OTHER),
                                 (WORLD, "link set edge up"),
                                 (WORLD, "route add default via 192.0.2.1")):
            run("ip", "-n", namespace, *words.split())
        server = subprocess.Popen(["nsenter", "--net=/run/netns/" + WORLD, "python3", "-c", ECHO,
                                   "80", "81"])
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.kill)

    @classmethod
    def remove_world(cls):
        for namespace in (NODE, WORLD):
            subprocess.run(["ip", "netns", "del", namespace], check=False)
        shutil.rmtree(PINS, ignore_errors=True)

    def start(self, *rules, words):
        interface = V.NetworkInterface(interface_id="eth0")
        return self.boot(*words, network_interfaces=[interface],
                         egress=V.EgressPolicy(rules=rules))

    def said(self, vm, target):
        """What the guest said last of @target, and how often it has tried."""
        found = re.findall(r"reach %s (yes|no)" % re.escape(target), self.console(vm.vm_id))
        return (found[-1], len(found)) if found else (None, 0)

    def wait_said(self, vm, **wanted):
        """Until it has tried all again, with these outcomes."""
        before = {target: self.said(vm, target)[1] for target in wanted}

        def is_so():
            return all(self.said(vm, target)[0] == outcome and
                       self.said(vm, target)[1] > before[target] + 1
                       for target, outcome in wanted.items())

        wait_until(is_so, "%s, instead of %s" % (wanted, {t: self.said(vm, t) for t in wanted}), 90)

    def set_policy(self, vm, *rules):
        return self.daemon.client.egress.SetEgressPolicy(E.SetEgressPolicyRequest(
            vm_id=vm.vm_id, policy=V.EgressPolicy(rules=rules)), timeout=30)

    def counters(self, vm):
        answer = self.daemon.client.egress.GetEgressPolicy(
            E.GetEgressPolicyRequest(vm_id=vm.vm_id), timeout=30)
        return {counter.verdict: counter.packets for traffic in answer.traffic
                for counter in traffic.counters}

    def explain(self, vm, address, port):
        return self.daemon.client.egress.ExplainEgress(E.ExplainEgressRequest(
            vm_id=vm.vm_id, protocol=V.PROTOCOL_TCP, address=address, port=port), timeout=30)


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

    def test_a_guest_that_lies_reaches_nothing_by_iptables_either(self):
        target = "%s:80" % SERVER
        vm = self.start(rule("0.0.0.0/0"), words=["hearth.reach=" + target,
                                                  "hearth.spoof=" + STRANGER])

        self.wait_said(vm, **{target: "no"})
