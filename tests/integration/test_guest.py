# SPDX-License-Identifier: Apache-2.0
"""Questions to guests that cannot be answered, or must not be asked. (Answers: tests/e2e/test_guest_daemon.py.)"""

import unittest

from google.protobuf import duration_pb2

from firecracker_host import FIRECRACKER, JAILER, Host
from harness import Code, DaemonTest, G, V

SOON = duration_pb2.Duration(nanos=500_000_000)


class InMemory(DaemonTest):
    def setUp(self):
        self.guest = self.daemon.client.guest

    def bad(self, call, request):
        return set(self.refused(call, request, Code.INVALID_ARGUMENT, "INVALID_REQUEST").violations)

    def test_there_is_no_guest_in_memory(self):
        vm = self.running()

        failure = self.refused(self.guest.Ping, G.PingRequest(vm_id=vm.vm_id), Code.UNIMPLEMENTED,
                               "UNSUPPORTED")

        self.assertEqual("backend unsupported: guest (in_memory)", failure.message)

    def test_nothing_can_be_expected_of_it_there(self):
        for spec, field in ((dict(guest_agent=V.GUEST_AGENT_REQUIRED), "guest_agent"), (dict(secrets=["a"]), "secrets")):
            failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id="x", spec=V.VmSpec(**spec)),
                                   Code.UNIMPLEMENTED, "UNSUPPORTED")
            self.assertEqual("backend unsupported: in_memory: spec." + field, failure.message)

    def test_names_of_secrets_are_checked(self):
        for secrets, bad in ((["a", "b", "a"], "spec.secrets[2]"), ([".a"], "spec.secrets[0]"),
                             (["a/b"], "spec.secrets[0]"), (["x" * 65], "spec.secrets[0]"), ([""], "spec.secrets[0]"),
                             (["s%d" % n for n in range(33)], "spec.secrets")):
            self.assertEqual({bad}, self.bad(self.vms.CreateVm, V.CreateVmRequest(
                vm_id="x", spec=V.VmSpec(secrets=secrets))))
        self.assertEqual({"spec.secrets"}, self.bad(self.vms.CreateVm, V.CreateVmRequest(
            vm_id="x", spec=V.VmSpec(secrets=["a"], guest_agent=V.GUEST_AGENT_NONE))))

    def test_a_vm_that_is_none_is_not_found(self):
        for call, request in ((self.guest.Ping, G.PingRequest(vm_id="nobody")),
                              (self.guest.Run, G.RunRequest(vm_id="nobody", command=["id"]))):
            self.refused(call, request, Code.NOT_FOUND, "VM_NOT_FOUND")

    def test_every_bad_field_is_named(self):
        never = duration_pb2.Duration(seconds=-1)

        self.assertEqual({"vm_id", "timeout"}, self.bad(self.guest.Ping, G.PingRequest(timeout=never)))
        self.assertEqual({"timeout"}, self.bad(self.guest.Ping, G.PingRequest(
            vm_id="x", timeout=duration_pb2.Duration())))
        for env in ({"1A": "x"}, {"": "x"}, {"A=B": "x"}, {"A": "x" * 20000}):
            self.assertEqual({"env"}, self.bad(self.guest.SetEnv, G.SetEnvRequest(vm_id="x", env=env)))
        for name in ("", ".x", "a/b", "x" * 65):
            self.assertEqual({"name"}, self.bad(self.guest.SetSecret, G.SetSecretRequest(
                vm_id="x", name=name)))
        self.assertEqual({"data"}, self.bad(self.guest.SetSecret, G.SetSecretRequest(
            vm_id="x", name="x", data=b"x", remove=True)))
        self.assertEqual({"data"}, self.bad(self.guest.SetSecret, G.SetSecretRequest(
            vm_id="x", name="x", data=b"x" * 16385)))
        self.assertEqual({"command"}, self.bad(self.guest.Run, G.RunRequest(vm_id="x")))
        self.assertEqual(
            {"command", "working_dir", "user", "input", "max_output_bytes", "timeout", "env"},
            self.bad(self.guest.Run, G.RunRequest(
                vm_id="x", command=["x"] * 257, working_dir="here", user="u" * 65,
                input=b"x" * (768 * 1024 + 1), max_output_bytes=2**20 + 1,
                timeout=duration_pb2.Duration(seconds=86401), env={"-": ""})))


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH or in FIRECRACKER_BIN")
class Firecracker(Host):
    """The bare-metal guest echoes, or answers as the daemon would: what is told, and by whom."""

    jail = ("--jailer-mode", "off")

    def ping(self, vm, **fields):
        return self.refused(self.daemon.client.guest.Ping, G.PingRequest(
            vm_id=vm.vm_id, timeout=SOON, **fields), *self.expected)

    def test_without_a_vsock_nothing_leads_there(self):
        self.expected = Code.UNIMPLEMENTED, "UNSUPPORTED"

        failure = self.ping(self.boot("exit=loop"))

        self.assertIn("guest (firecracker without spec.devices.vsock)", failure.message)

    def test_a_guest_without_the_daemon_is_told_of_in_time(self):
        self.expected = Code.DEADLINE_EXCEEDED, "GUEST_METADATA"
        vm = self.boot("exit=loop", devices=V.Devices(vsock=V.Vsock()))

        failure = self.ping(vm)

        # It echoes there, which is no daemon's answer either.
        self.assertEqual("guest metadata: ping: hello: no answer in time", failure.message)
        self.assertEqual("TIMEOUT", failure.metadata["cause"])

    def test_one_that_answers_is_reached_through_its_vsock(self):
        vm = self.boot("exit=loop daemon=1", devices=V.Devices(vsock=V.Vsock()))

        for _ in range(2):
            answer = self.daemon.client.guest.Ping(G.PingRequest(
                vm_id=vm.vm_id, timeout=duration_pb2.Duration(seconds=30)), timeout=40)
            self.assertEqual(1, answer.uptime.ToMilliseconds())

    def test_ready_waits_for_one_that_answers_and_has_not_said_it(self):
        vm = self.boot("exit=loop daemon=1", devices=V.Devices(vsock=V.Vsock()), guest_agent=V.GUEST_AGENT_REQUIRED)

        vm = self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, condition="GuestConnected"), timeout=60)

        ready = next(c for c in vm.status.conditions if c.type == "Ready")
        self.assertEqual((V.CONDITION_STATUS_FALSE, "GuestNotReady"), (ready.status, ready.reason))
        self.assertTrue(vm.status.guest.connected and not vm.status.guest.ready)

    def test_nothing_can_be_expected_without_a_vsock(self):
        refused = self.refused(self.vms.CreateVm, self.request("x", "exit=loop", guest_agent=V.GUEST_AGENT_OPTIONAL),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertEqual({"spec.guest_agent": ["needs spec.devices.vsock"]}, refused.violations)

    def test_one_that_is_stopped_has_no_guest(self):
        self.expected = Code.UNAVAILABLE, "GUEST_METADATA"
        vm = self.boot("exit=loop", devices=V.Devices(vsock=V.Vsock()))
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, force=True), timeout=60)

        self.assertIn("the vm is stopped", self.ping(vm).message)


@unittest.skipUnless(JAILER, "no jailer on PATH or in JAILER_BIN")
class Jailed(Firecracker):
    jail = ("--jailer-binary", JAILER)
