# SPDX-License-Identifier: Apache-2.0
"""Real Linux guests that may reach what a name leads to."""

import pathlib
import re
import subprocess
import tempfile

from harness import E, V, wait_until
from world import GATEWAY, OTHER, SERVER, WORLD, NetworkTest, rule


class NamesTest(NetworkTest):
    """What guests may reach by name."""

    flags = (*NetworkTest.flags, "--network-resolvers", SERVER)
    known = {"web.example.org": SERVER, "other.example.org": OTHER, "in.example.net": "10.1.2.3",
             "a.example.net": OTHER}

    @classmethod
    def make_world(cls):
        super().make_world()
        script = pathlib.Path(__file__).with_name("resolver.py")
        asked = tempfile.TemporaryFile("w+")
        cls.addClassCleanup(asked.close)
        cls.asked = asked
        resolver = subprocess.Popen(
            ["nsenter", "--net=/run/netns/" + WORLD, "python3", "-B", script, SERVER,
             *("%s=%s" % pair for pair in cls.known.items())], stdout=asked)
        cls.addClassCleanup(resolver.wait)
        cls.addClassCleanup(resolver.kill)

    def names_asked(self):
        self.asked.seek(0)
        return set(self.asked.read().split())

    def test_a_guest_reaches_names_that_its_policy_has_and_no_others(self):
        targets = ["web.example.org:80", "web.example.org:81", "other.example.org:80",
                   "in.example.net:80", "a.example.net:80"]
        by_address = "%s:81" % OTHER
        names = V.EgressRule(fqdn=["web.example.org", "*.example.net"],
                             ports=[V.EgressPort(port=80)])
        vm = self.start(names, words=["hearth.reach=" + ",".join([*targets, by_address])])

        self.wait_said(vm, **dict(zip(targets, ["yes", "no", "no", "no", "yes"])),
                       **{by_address: "no"})

        with self.subTest("nobody is asked for what is not allowed"):
            self.assertIn("web.example.org", self.names_asked())
            self.assertNotIn("other.example.org", self.names_asked())
        with self.subTest("told as it is refused"):
            call = self.daemon.client.egress.WatchEgress(
                E.WatchEgressRequest(vm_id=vm.vm_id), timeout=60)
            wanted = {("DROP_NAME", "other.example.org"), ("DROP_LEAD", "in.example.net")}
            for answer in call:
                wanted -= {(flow.verdict, flow.name) for flow in answer.flows}
                if not wanted:
                    break
            call.cancel()
        with self.subTest("told and explained"):
            names = self.names(vm)
            self.assertEqual({"web.example.org": SERVER, "a.example.net": OTHER}, names)
            allowed = self.explain(vm, SERVER, 80)
            self.assertEqual(("PASS_NAME", True, 0),
                             (allowed.verdict, allowed.has_rule, allowed.rule_index))
            self.assertFalse(self.explain(vm, SERVER, 81).allowed)
        with self.subTest("all in one answer"):
            found = self.vms.DiagnoseVm(V.DiagnoseVmRequest(vm_id=vm.vm_id), timeout=30)
            self.assertIn("reach web.example.org:80 yes", found.console)
            self.assertIn("web.example.org", [lead.name for lead in found.names])
            self.assertEqual(2, len(found.traffic))
            self.assertEqual(["usage: backend unsupported: metrics (qemu)"], list(found.missing))
        with self.subTest("a name taken away"):
            self.set_policy(vm, V.EgressRule(fqdn=["*.example.net"], ports=[V.EgressPort(port=80)]))
            self.wait_said(vm, **dict(zip(targets, ["no", "no", "no", "no", "yes"])))
            self.assertFalse(self.explain(vm, SERVER, 80).allowed)
        with self.subTest("the next agent knows where they have led"):
            self.daemon.kill()
            self.daemon.start()
            wait_until(lambda: self.names(vm) == {"a.example.net": OTHER}, "adopted", 60)
            self.wait_said(vm, **dict(zip(targets, ["no", "no", "no", "no", "yes"])))
        with self.subTest("without names there is no resolver"):
            self.assertTrue(self.explain(vm, OTHER, 80).allowed)
            self.set_policy(vm, rule(SERVER + "/32", 80))
            self.assertFalse(self.explain(vm, OTHER, 80).allowed)
            self.assertFalse(self.explain(vm, GATEWAY, 53).allowed)
            self.assertEqual({}, self.names(vm))

    def names(self, vm):
        answer = self.daemon.client.egress.GetEgressPolicy(
            E.GetEgressPolicyRequest(vm_id=vm.vm_id), timeout=30)
        return {lead.name: lead.address for lead in answer.names}

    def test_a_connection_to_a_name_survives_changes_and_an_agents_death(self):
        names = V.EgressRule(fqdn=["web.example.org"], ports=[V.EgressPort(port=81)])
        vm = self.start(names, words=["hearth.talk=web.example.org:81"])
        wait_until(lambda: "heard tick 2" in self.console(vm.vm_id), "it talks", 90)

        for n in range(100):
            self.set_policy(vm, names, rule(OTHER + "/32", 1 + n))
        self.daemon.restart()
        wait_until(lambda: self.conditions(vm)["EgressEnforced"][1] == "Bpf", "adopted", 60)
        said = len(re.findall("heard", self.console(vm.vm_id)))

        wait_until(lambda: len(re.findall("heard", self.console(vm.vm_id))) > said + 3, "it goes on",
                   60)
        self.assertNotIn("the talk has ended", self.console(vm.vm_id))
