# SPDX-License-Identifier: Apache-2.0
"""What the conditions of a VM say of its guest, what its secrets wait for, and how it is asked to end."""

import time

import grpc
from google.protobuf import duration_pb2

from harness import Code, Failure, G, V, wait_until
from test_guest import BOOT_SECONDS, GuestTest


def condition(vm, type):
    return next((c for c in vm.status.conditions if c.type == type), None)


def seconds(n):
    return duration_pb2.Duration(seconds=n)


class GuestReady(GuestTest):
    def create(self, *words, agent=V.GUEST_AGENT_REQUIRED, when=V.RETURN_WHEN_READY, **fields):
        spec = V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING, boot=self.boot_spec(*words), guest_agent=agent,
                        **fields)
        return self.vms.CreateVm(V.CreateVmRequest(vm_id=self.new_id(), spec=spec, return_when=when),
                                 timeout=BOOT_SECONDS)

    def get(self, vm):
        return self.vms.GetVm(V.GetVmRequest(vm_id=vm.vm_id), timeout=20)

    def wait(self, vm, type, timeout=BOOT_SECONDS):
        return self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, condition=type), timeout=timeout)

    def says(self, vm, type):
        found = condition(vm, type)
        return found and (found.status, found.reason)

    def guest_call(self, method, vm, **fields):
        return getattr(self.daemon.client.guest, method)(
            getattr(G, method + "Request")(vm_id=vm.vm_id, **fields), timeout=BOOT_SECONDS)

    def set_secret(self, vm, name, **fields):
        self.guest_call("SetSecret", vm, name=name, **fields)

    def stop(self, vm, **fields):
        return [(rung.name, rung.outcome) for rung in self.vms.StopVm(
            V.StopVmRequest(vm_id=vm.vm_id, **fields), timeout=90).status.last_exit.rungs]

    def test_ready_is_said_once_the_guest_is_and_a_stop_begins_with_it(self):
        vm = self.create()

        self.assertEqual((V.CONDITION_STATUS_TRUE, "GuestReady"), self.says(vm, "Ready"))
        self.assertEqual((V.CONDITION_STATUS_TRUE, "Connected"), self.says(vm, "GuestConnected"))
        self.assertTrue(vm.status.guest.connected and vm.status.guest.ready)
        self.assertRegex(vm.status.guest.boot_id, "^[0-9a-f]{8}-")
        self.assertTrue(vm.status.guest.agent_version)
        events = [e.reason for e in self.vms.ListVmEvents(V.ListVmEventsRequest(vm_id=vm.vm_id), timeout=20).events]
        self.assertIn("GuestReady", events)

        self.assertEqual([("guest", V.RUNG_OUTCOME_ENDED)], self.stop(vm))
        stopped = self.get(vm)
        self.assertFalse(stopped.status.HasField("guest"))
        self.assertEqual((V.CONDITION_STATUS_FALSE, "Stopped"), self.says(stopped, "GuestConnected"))
        self.assertEqual((V.CONDITION_STATUS_FALSE, "Stopped"), self.says(stopped, "Ready"))

    def test_another_agent_goes_on_with_it_and_pausing_keeps_it(self):
        vm = self.create()
        self.daemon.restart()

        again = self.get(vm)
        self.assertEqual((V.CONDITION_STATUS_TRUE, "GuestReady"), self.says(again, "Ready"))
        self.assertEqual(vm.status.guest, again.status.guest)
        self.guest_call("Ping", vm)
        paused = self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=60)
        self.assertEqual((V.CONDITION_STATUS_FALSE, "Paused"), self.says(paused, "Ready"))
        time.sleep(4)
        resumed = self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id, return_when=V.RETURN_WHEN_READY), timeout=60)
        self.assertEqual((V.CONDITION_STATUS_TRUE, "GuestReady"), self.says(resumed, "Ready"))
        self.assertIn("guest_clock", [step.name for step in resumed.status.last_operation.steps])
        self.assertLess(abs(time.time() - int(self.guest_call("Run", vm, command=["date", "+%s"]).output)), 2)

    def test_without_a_daemon_it_is_optional_or_never_ready(self):
        vm = self.create("hearth.mute", agent=V.GUEST_AGENT_OPTIONAL)
        self.assertEqual((V.CONDITION_STATUS_TRUE, "Running"), self.says(vm, "Ready"))
        self.assertEqual((V.CONDITION_STATUS_FALSE, "NotConnected"), self.says(vm, "GuestConnected"))

        vm = self.create("hearth.mute", when=V.RETURN_WHEN_DONE)
        self.assertEqual((V.CONDITION_STATUS_FALSE, "GuestNotConnected"), self.says(vm, "Ready"))
        with self.assertRaises(grpc.RpcError) as caught:
            self.wait(vm, "Ready", timeout=5)
        self.assertEqual(Code.DEADLINE_EXCEEDED, caught.exception.code())
        waiting = self.vms.StartVm.future(V.StartVmRequest(vm_id=vm.vm_id, return_when=V.RETURN_WHEN_READY),
                                          timeout=BOOT_SECONDS)
        time.sleep(1)
        self.assertFalse(waiting.done())
        self.assertNotIn("guest", [name for name, _ in self.stop(vm, force=True)])
        with self.assertRaises(grpc.RpcError) as caught:
            waiting.result()
        self.assertEqual("guest metadata: the vm is stopped and was never ready", Failure(caught.exception).message)

    def test_secrets_are_asked_for_after_each_boot(self):
        vm = self.create(secrets=["token", "key"], when=V.RETURN_WHEN_DONE)
        vm = self.wait(vm, "GuestConnected")
        self.assertEqual((V.CONDITION_STATUS_FALSE, "Missing"), self.says(vm, "SecretsDelivered"))
        self.assertEqual("token, key", condition(vm, "SecretsDelivered").message)
        self.set_secret(vm, "token", data=b"1")
        self.set_secret(vm, "another", data=b"2")
        wait_until(lambda: condition(self.get(vm), "SecretsDelivered").message == "key", "one is missing")
        self.assertEqual((V.CONDITION_STATUS_FALSE, "SecretsMissing"), self.says(self.get(vm), "Ready"))

        self.daemon.restart()
        self.set_secret(vm, "key", data=b"3")

        vm = self.wait(vm, "Ready")
        self.assertEqual((V.CONDITION_STATUS_TRUE, "Delivered"), self.says(vm, "SecretsDelivered"))
        self.assertEqual(["token", "key"], list(vm.status.guest.secrets))
        self.set_secret(vm, "key", remove=True)
        wait_until(lambda: self.says(self.get(vm), "Ready") == (V.CONDITION_STATUS_FALSE, "SecretsMissing"),
                   "it is missing again")

        self.stop(vm)
        vm = self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=BOOT_SECONDS)
        self.assertEqual("token, key", condition(vm, "SecretsDelivered").message)

    def test_an_exec_id_is_not_run_in_another_boot_either(self):
        vm = self.create()

        def run():
            return list(self.daemon.client.guest.Exec(iter([G.ExecRequest(
                vm_id=vm.vm_id, exec_id="once", program=G.ExecProgram(command=["true"]))]), timeout=20))
        self.assertEqual(0, run()[-1].ended.exit_code)
        self.stop(vm)
        self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id, return_when=V.RETURN_WHEN_READY), timeout=BOOT_SECONDS)

        with self.assertRaises(grpc.RpcError) as caught:
            run()
        self.assertEqual(Code.ALREADY_EXISTS, caught.exception.code())

    def test_a_daemon_that_is_frozen_or_gone_is_seen_and_does_not_stop_the_ladder(self):
        vm = self.create()
        other = self.create()
        self.guest_call("Run", other, command=["sh", "-c", "(sleep 1; kill -9 $PPID) > /dev/null 2>&1 &"])
        self.guest_call("Run", vm, command=["sh", "-c", "(sleep 1; kill -STOP $PPID) > /dev/null 2>&1 &"])
        time.sleep(2)

        rungs = self.stop(vm, guest_timeout=seconds(2), power_button_timeout=seconds(60))
        self.assertEqual([("guest", V.RUNG_OUTCOME_FAILED), ("power_button", V.RUNG_OUTCOME_ENDED)], rungs)
        wait_until(lambda: self.says(self.get(other), "Ready") == (V.CONDITION_STATUS_FALSE, "GuestNotConnected"),
                   "it is missed", seconds=60)
        self.assertEqual(["power_button"], [name for name, _ in self.stop(other, power_button_timeout=seconds(60))])
