# SPDX-License-Identifier: Apache-2.0
"""Policies of egress through the API, on a network that is in software only."""

import json
import tempfile

import grpc
from google.protobuf.duration_pb2 import Duration

from harness import E, Code, DaemonTest, Hearthd, V

ANY = "0.0.0.0/0"


def rule(*cidrs, ports=(), **fields):
    return V.EgressRule(to=[V.EgressPeer(cidr=cidr) for cidr in cidrs], ports=ports, **fields)


def policy(*rules):
    return V.EgressPolicy(rules=rules)


def interface(**fields):
    return V.NetworkInterface(interface_id="eth0", **fields)


class Egress(DaemonTest):
    flags = ("--network-pool4", "10.77.0.0/24", "--network-denied", "192.0.2.0/24")

    @property
    def egress(self):
        return self.daemon.client.egress

    def networked(self, **spec):
        return self.running(network_interfaces=[interface()], **spec)

    def get_policy(self, vm):
        return self.egress.GetEgressPolicy(E.GetEgressPolicyRequest(vm_id=vm.vm_id), timeout=20)

    def set_policy(self, vm, wanted, **fields):
        return self.egress.SetEgressPolicy(
            E.SetEgressPolicyRequest(vm_id=vm.vm_id, policy=wanted, **fields), timeout=20)

    def explain(self, vm, address, port=443, **fields):
        return self.egress.ExplainEgress(E.ExplainEgressRequest(
            vm_id=vm.vm_id, address=address, port=port, **fields), timeout=20)

    def test_a_vm_shows_what_it_was_leased(self):
        vm = self.networked()
        other = self.networked()

        mine, theirs = (v.status.resolved.network_interfaces[0] for v in (vm, other))
        self.assertRegex(mine.ipv4_address, r"^10\.77\.0\.\d+$")
        self.assertEqual("10.77.0.1", mine.ipv4_gateway)
        self.assertRegex(mine.ipv6_address, r"^fd68:7468::")
        self.assertRegex(mine.guest_mac, r"^02:68:74:")
        self.assertEqual(V.ENFORCEMENT_NONE, mine.enforcement)
        self.assertNotEqual(mine.ipv4_address, theirs.ipv4_address)
        self.assertNotEqual(mine.guest_mac, theirs.guest_mac)
        self.assertNotEqual(vm.status.resolved.network_slot, other.status.resolved.network_slot)

    def test_conditions_say_whether_a_vm_has_its_network(self):
        def conditions(vm):
            return {c.type: (c.status, c.reason) for c in vm.status.conditions}

        created = self.create(network_interfaces=[interface()])
        running = self.networked()
        stopped = self.vms.StopVm(V.StopVmRequest(vm_id=running.vm_id), timeout=20)
        without = self.running()

        held, lacks = V.CONDITION_STATUS_TRUE, V.CONDITION_STATUS_FALSE
        for vm, expected in ((created, (lacks, "Detached")), (running, (held, "InMemory")),
                             (stopped, (lacks, "Detached"))):
            for name in ("NetworkReady", "EgressEnforced"):
                with self.subTest(vm=vm.status.state, condition=name):
                    self.assertEqual(expected, conditions(vm)[name])
        self.assertNotIn("NetworkReady", conditions(without))

    def test_an_address_of_another_vm_is_refused(self):
        taken = self.create(network_interfaces=[interface(ipv4_address="10.77.0.200")])

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(),
            spec=V.VmSpec(network_interfaces=[interface(ipv4_address="10.77.0.200")])),
            Code.INVALID_ARGUMENT, "NETWORK_CONFIG")

        self.assertIn("10.77.0.200", failure.message)
        self.assertEqual("10.77.0.200",
                         taken.status.resolved.network_interfaces[0].ipv4_address)

    def test_a_policy_is_set_got_and_is_the_specs(self):
        vm = self.networked()
        wanted = policy(rule("10.0.0.0/8", ports=[V.EgressPort(port=443)]))

        answer = self.set_policy(vm, wanted, expected_generation=vm.generation)

        got = self.get_policy(vm)
        self.assertEqual(wanted, answer.policy)
        self.assertEqual(vm.generation + 1, answer.generation)
        self.assertEqual(wanted, got.policy)
        self.assertEqual(answer.revision, got.revision)
        self.assertEqual(V.ENFORCEMENT_NONE, got.enforcement)
        self.assertEqual([], list(got.traffic))
        self.assertEqual(wanted, self.get(vm.vm_id).spec.egress)

    def test_a_policy_of_another_generation_is_a_conflict(self):
        vm = self.networked()

        self.refused(self.egress.SetEgressPolicy, E.SetEgressPolicyRequest(
            vm_id=vm.vm_id, policy=policy(), expected_generation=vm.generation + 1),
            Code.ABORTED, "CONFLICT")

    def test_a_policy_that_is_only_validated_changes_nothing(self):
        vm = self.networked()

        answer = self.set_policy(vm, policy(rule(ANY)), validate_only=True)

        self.assertEqual(policy(rule(ANY)), answer.policy)
        self.assertEqual(vm.revision, self.get(vm.vm_id).revision)

    def test_no_policy_takes_away_the_one_there_is(self):
        vm = self.networked(egress=policy(rule(ANY)))
        self.assertTrue(self.explain(vm, "1.1.1.1").allowed)

        self.set_policy(vm, None)

        self.assertFalse(self.explain(vm, "1.1.1.1").allowed)
        self.assertFalse(self.get(vm.vm_id).spec.HasField("egress"))

    def test_every_bad_field_is_named_at_once(self):
        vm = self.create()
        bad = policy(
            V.EgressRule(to=[V.EgressPeer(cidr="10.0.0.1/8", **{"except": ["11.0.0.0/8"]})]),
            V.EgressRule(ports=[V.EgressPort(port=80, end_port=79),
                                V.EgressPort(port=70000),
                                V.EgressPort(protocol=V.PROTOCOL_ICMP, port=8)]))

        failure = self.refused(self.egress.SetEgressPolicy, E.SetEgressPolicyRequest(
            vm_id=vm.vm_id, policy=bad), Code.INVALID_ARGUMENT, "INVALID_REQUEST")
        created = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec(egress=bad)),
            Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        fields = {"policy.rules[0].to[0].cidr", "policy.rules[1].ports[0].end_port",
                  "policy.rules[1].ports[1].port", "policy.rules[1].ports[2].port"}
        self.assertEqual(fields, set(failure.violations))
        self.assertEqual({"spec.egress" + field[len("policy"):] for field in fields},
                         set(created.violations))

    def test_names_are_taken_and_lead_nowhere_in_memory(self):
        vm = self.networked(egress=policy(V.EgressRule(fqdn=["Example.org", "*.example.net"])))

        kept = self.egress.GetEgressPolicy(E.GetEgressPolicyRequest(vm_id=vm.vm_id))
        answer = self.explain(vm, "203.0.113.9")

        self.assertEqual(["Example.org", "*.example.net"], list(kept.policy.rules[0].fqdn))
        self.assertEqual((False, "DROP_POLICY"), (answer.allowed, answer.verdict))

    def test_each_bad_name_is_named(self):
        vm = self.create()

        failure = self.refused(self.egress.SetEgressPolicy, E.SetEgressPolicyRequest(
            vm_id=vm.vm_id, policy=policy(V.EgressRule(fqdn=["a.org", "*", "192.0.2.1"]))),
            Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertEqual({"policy.rules[0].fqdn[1]", "policy.rules[0].fqdn[2]"},
                         set(failure.violations))

    def test_what_a_rule_allows_is_explained_by_it(self):
        vm = self.networked(egress=policy(
            rule("198.51.100.0/24", ports=[V.EgressPort(protocol=V.PROTOCOL_UDP, port=53)]),
            rule(ports=[V.EgressPort(port=443), V.EgressPort(protocol=V.PROTOCOL_ICMP)])))

        https = self.explain(vm, "203.0.113.9")
        dns = self.explain(vm, "198.51.100.1", 53, protocol=V.PROTOCOL_UDP)
        ping = self.explain(vm, "2001:db8::1", 0, protocol=V.PROTOCOL_ICMP)
        denied = self.explain(vm, "203.0.113.9", 80)

        self.assertEqual((True, "PASS_POLICY", True, 1),
                         (https.allowed, https.verdict, https.has_rule, https.rule_index))
        self.assertEqual((True, 0), (dns.allowed, dns.rule_index))
        self.assertEqual((True, 1), (ping.allowed, ping.rule_index))
        self.assertEqual((False, "DROP_POLICY", "no rule allows it", False),
                         (denied.allowed, denied.verdict, denied.description, denied.has_rule))
        self.assertFalse(https.enforced)

    def test_what_is_always_denied_needs_a_rule_of_its_own(self):
        vm = self.networked(egress=policy(rule(ANY)))
        for address in ("169.254.169.254", "127.0.0.1", "10.77.0.9", "192.0.2.1"):
            self.assertFalse(self.explain(vm, address).allowed, address)

        self.set_policy(vm, policy(rule(ANY), rule("10.77.0.9/32")))

        self.assertEqual(1, self.explain(vm, "10.77.0.9").rule_index)
        self.assertFalse(self.explain(vm, "10.77.0.8").allowed)

    def test_nothing_reaches_a_vm_that_it_did_not_begin(self):
        vm = self.networked(egress=policy(rule(ANY)))

        answer = self.explain(vm, "1.1.1.1", direction=V.DIRECTION_TO_VM)

        self.assertEqual((False, "DROP_UNSOLICITED"), (answer.allowed, answer.verdict))

    def test_a_question_that_makes_no_sense_is_refused(self):
        vm = self.create()
        for fields, field in (
                ({}, "address"), ({"address": "example.org", "port": 1}, "address"),
                ({"address": "1.1.1.1"}, "port"), ({"address": "1.1.1.1", "port": 65536}, "port"),
                ({"address": "1.1.1.1", "port": 1, "protocol": V.PROTOCOL_ICMP}, "port")):
            failure = self.refused(self.egress.ExplainEgress, E.ExplainEgressRequest(
                vm_id=vm.vm_id, **fields), Code.INVALID_ARGUMENT, "INVALID_REQUEST")
            self.assertIn(field, failure.violations)

    def test_a_vm_that_is_not_there_has_no_policy(self):
        for call, request in (
                (self.egress.GetEgressPolicy, E.GetEgressPolicyRequest(vm_id="nobody")),
                (self.egress.SetEgressPolicy, E.SetEgressPolicyRequest(vm_id="nobody")),
                (self.egress.ExplainEgress,
                 E.ExplainEgressRequest(vm_id="nobody", address="1.1.1.1", port=1)),
                (self.egress.WatchEgress, E.WatchEgressRequest(vm_id="nobody"))):
            self.refused(call, request, Code.NOT_FOUND, "VM_NOT_FOUND")

    def test_an_idle_watch_is_kept_alive_and_ends_with_its_vm(self):
        vm = self.networked()
        call = self.egress.WatchEgress(E.WatchEgressRequest(
            vm_id=vm.vm_id, bookmark_interval=Duration(seconds=1)), timeout=30)

        first = next(call)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=20)
        rest = list(call)

        self.assertEqual(0, len(first.flows))
        self.assertTrue(all(not message.flows for message in rest))

    def test_a_watch_of_all_vms_ends_when_it_is_cancelled(self):
        call = self.egress.WatchEgress(E.WatchEgressRequest(), timeout=30)
        call.cancel()

        with self.assertRaises(grpc.RpcError) as caught:
            next(call)
        self.assertEqual(Code.CANCELLED, caught.exception.code())


class CommandLine(DaemonTest):
    flags = ("--network-pool4", "10.77.0.0/24")

    def created(self, *arguments):
        vm_id = self.new_id()
        self.ctl("create", vm_id, "--start", "--interface", "id=eth0", *arguments)
        return vm_id

    def test_a_policy_is_set_shown_and_explained(self):
        vm_id = self.created("--allow", "any:udp/53")

        said = self.ctl("egress", "set", vm_id, "--allow", "any:udp/53",
                        "--allow", "10.0.0.0/8:tcp/8000-8080").stdout
        table = self.ctl("egress", "get", vm_id).stdout
        whole = json.loads(self.ctl("egress", "get", vm_id, "-o", "json").stdout)
        allowed = self.ctl("egress", "explain", vm_id, "10.1.2.3", "--port", "8080").stdout
        denied = self.ctl("egress", "explain", vm_id, "10.1.2.3", "--port", "80").stdout
        described = self.ctl("describe", vm_id).stdout

        self.assertEqual("%s may reach what 2 rules allow\n" % vm_id, said)
        self.assertRegex(table, r"(?m)^0 +everywhere +udp/53$")
        self.assertRegex(table, r"(?m)^1 +10\.0\.0\.0/8 +tcp/8000-8080$")
        self.assertEqual(2, len(whole["policy"]["rules"]))
        self.assertEqual("allowed: a rule allows it (PASS_POLICY), rule 1; by the policy alone\n",
                         allowed)
        self.assertIn("denied: no rule allows it (DROP_POLICY)", denied)
        self.assertRegex(described, r"(?m)^Egress: +everywhere: udp/53$")
        self.assertRegex(described, r"(?m)^Interface: +eth0 \(mac=02:68:.*, ip=10\.77\.0\.")

    def test_a_policy_is_read_from_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"rules": [{"to": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}]},
                      file)
            file.flush()
            vm_id = self.created("--egress-file", file.name)
            self.ctl("egress", "set", vm_id, "--nothing")
            emptied = self.get(vm_id)
            self.ctl("egress", "set", vm_id, "--file", file.name)

        self.assertFalse(emptied.spec.HasField("egress"))
        self.assertEqual(["10.1.0.0/16"],
                         list(getattr(self.get(vm_id).spec.egress.rules[0].to[0], "except")))

    def test_half_a_command_says_what_is_missing(self):
        group = self.ctl("egress", check=False)
        nothing = self.ctl("egress", "set", "x", check=False)
        both = self.ctl("egress", "set", "x", "--nothing", "--allow", "any", check=False)

        self.assertIn("get, set, explain or watch is missing", group.stderr)
        for result in (group, nothing, both):
            self.assertEqual(2, result.returncode)

    def test_what_the_agent_refuses_is_named(self):
        vm_id = self.created()

        result = self.ctl("egress", "set", vm_id, "--allow", "10.0.0.1/8", check=False)

        self.assertIn("policy.rules[0].to[0].cidr", result.stderr)

    def test_it_completes_and_helps(self):
        helped = self.ctl("help", "egress").stdout
        script = self.ctl("completion", "bash").stdout

        for verb in ("get", "set", "explain", "watch"):
            self.assertIn("egress " + verb, helped)
        self.assertIn("|egress|", script)
        self.assertIn("egress) words='get set explain watch ' ;;", script)


class Restarts(DaemonTest):
    def test_leases_and_policies_outlive_the_agent(self):
        vm = self.running(network_interfaces=[interface()], egress=policy(rule(ANY)))

        self.daemon.restart()

        again = self.get(vm.vm_id)
        other = self.running(network_interfaces=[interface()])
        self.assertEqual(vm.status.resolved.network_interfaces,
                         again.status.resolved.network_interfaces)
        self.assertEqual(vm.spec.egress, again.spec.egress)
        self.assertNotEqual(vm.status.resolved.network_interfaces[0].ipv4_address,
                            other.status.resolved.network_interfaces[0].ipv4_address)


class Modes(DaemonTest):
    def test_a_bridge_that_is_not_there_is_named(self):
        daemon = Hearthd("--network-mode", "bridge", "--network-bridge", "nosuch0")
        self.addCleanup(daemon.close)

        with self.assertRaises(AssertionError):
            daemon.start()

        self.assertIn("no bridge nosuch0", daemon.log())
