# SPDX-License-Identifier: Apache-2.0
"""A network for real Linux guests, and what there is to reach.

hearthd runs in a network namespace of its own, which a pair of interfaces joins to another, the
world. What guests can reach they say on their consoles.
"""

import os
import pathlib
import re
import shutil
import subprocess

from harness import E, N, V, wait_until
from test_guest import GuestTest

NODE, WORLD = "hearth-node-%d" % os.getpid(), "hearth-world-%d" % os.getpid()
PINS = pathlib.Path("/sys/fs/bpf/hearth")
SERVER, OTHER, GATEWAY = "192.0.2.10", "192.0.2.11", "10.200.0.1"
STRANGER = "10.200.0.77"
SERVER6, OTHER6, GATEWAY6 = "2001:db8::10", "2001:db8::11", "fd68:7468::1"
# Answers everything that is said to it, a line at a time.
ECHO = """
import socket, socketserver, sys, threading
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
class Server6(Server):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()
for port in sys.argv[1:]:
    for kind in Server, Server6:
        threading.Thread(target=kind(("", int(port)), Echo).serve_forever).start()
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
                                 (NODE, "-6 addr add 2001:db8::1/64 dev uplink nodad"),
                                 (WORLD, "-6 addr add %s/64 dev edge nodad" % SERVER6),
                                 (WORLD, "-6 addr add %s/64 dev edge nodad" % OTHER6),
                                 (WORLD, "link set edge up"),
                                 (WORLD, "-6 route add default via 2001:db8::1"),
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

    def node_network(self):
        self.daemon.client.node.Doctor(N.DoctorRequest(), timeout=60)  # looks now
        status = self.daemon.client.node.GetNode(N.GetNodeRequest(), timeout=20).status
        ready = next(c for c in status.conditions if c.type == "NetworkReady")
        return status.network, ready

    def conditions(self, vm):
        vm = self.daemon.client.vms.GetVm(V.GetVmRequest(vm_id=vm.vm_id), timeout=20)
        return {c.type: (c.status, c.reason) for c in vm.status.conditions}

    def flip(self, vm, times):
        """Exchanges the policy, each time for another that allows what the guest talks to."""
        for n in range(times):
            self.set_policy(vm, rule(SERVER + "/32", 80 - n % 2, 81))

    def talk_through(self, vm, flips):
        """A guest says a line a second on one connection while its policy is exchanged."""
        wait_until(lambda: "heard tick 2" in self.console(vm.vm_id), "it talks", 90)
        self.flip(vm, flips)
        last = max(int(n) for n in re.findall(r"heard tick (\d+)", self.console(vm.vm_id)))
        wait_until(lambda: "heard tick %d\r" % (last + 2) in self.console(vm.vm_id) or
                   "heard tick %d\n" % (last + 2) in self.console(vm.vm_id), "it goes on", 90)
        said = [int(n) for n in re.findall(r"heard tick (\d+)", self.console(vm.vm_id))]
        self.assertEqual(list(range(len(said))), said)
        self.assertNotIn("the talk has ended", self.console(vm.vm_id))

    def counters(self, vm):
        answer = self.daemon.client.egress.GetEgressPolicy(
            E.GetEgressPolicyRequest(vm_id=vm.vm_id), timeout=30)
        return {counter.verdict: counter.packets for traffic in answer.traffic
                for counter in traffic.counters}

    def explain(self, vm, address, port):
        return self.daemon.client.egress.ExplainEgress(E.ExplainEgressRequest(
            vm_id=vm.vm_id, protocol=V.PROTOCOL_TCP, address=address, port=port), timeout=30)
