# SPDX-License-Identifier: Apache-2.0
"""VMMs and keepers that are stopped (SIGSTOP): theirs is the trouble, and nobody else's.

What a silent Firecracker may take, by FirecrackerApi's and the ladder's times: pause, resume and
update 10 s and as much again to undo it, metrics 10 s, a stop its rungs, a destroy no time at all.
"""

import concurrent.futures
import os
import signal
import time
import unittest

import grpc
from google.protobuf import duration_pb2, field_mask_pb2

from firecracker_host import BOOT_SECONDS, FIRECRACKER, JAILER, Host
from harness import Code, Failure, V, process_alive, wait_until

SILENT_SECONDS = 60  # above all there is to wait for, and below for ever


class Frozen:
    """Jailed or not."""

    def freeze(self, pid):
        os.kill(pid, signal.SIGSTOP)

    def thaw(self, pid):
        os.kill(pid, signal.SIGCONT)

    def frozen(self, **spec):
        vm = self.boot("exit=loop", **spec)
        self.freeze(vm.status.resolved.vmm_pid)
        return vm

    def condition(self, vm_id, name):
        return next(condition for condition in self.get(vm_id).status.conditions
                    if condition.type == name)

    def failure(self, call, request):
        with self.assertRaises(grpc.RpcError) as caught:
            call(request, timeout=SILENT_SECONDS)
        return Failure(caught.exception)

    def live(self, stop):
        """VMs come and go; how many have, and the longest time that one of them took."""
        lives, longest = 0, 0.0
        while not stop():
            begun = time.monotonic()
            vm = self.boot("exit=loop")
            self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=30)
            self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=30)
            self.metrics(vm)
            self.destroy(vm.vm_id)
            lives += 1
            longest = max(longest, time.monotonic() - begun)
        return lives, longest

    def test_each_verb_says_so_in_time_and_delays_no_other_vm(self):
        folder = self.folder()
        old, new = self.disk(folder, "old"), self.disk(folder, "new")
        to_pause, to_update, asked = self.frozen(), self.frozen(
            drives=[V.Drive(drive_id="data", path=old)]), self.frozen()
        to_resume = self.boot("exit=loop")
        self.vms.PauseVm(V.PauseVmRequest(vm_id=to_resume.vm_id), timeout=30)
        self.freeze(to_resume.status.resolved.vmm_pid)
        update = V.UpdateVmRequest(
            vm_id=to_update.vm_id, update_mask=field_mask_pb2.FieldMask(paths=["drives"]),
            spec=V.VmSpec(drives=[V.Drive(drive_id="data", path=new)]))
        metrics = V.GetVmMetricsRequest(vm_id=asked.vm_id)
        calls = [(self.vms.PauseVm, V.PauseVmRequest(vm_id=to_pause.vm_id)),
                 (self.vms.ResumeVm, V.ResumeVmRequest(vm_id=to_resume.vm_id)),
                 (self.vms.UpdateVm, update), *[(self.vms.GetVmMetrics, metrics)] * 30]

        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            asking = [pool.submit(self.failure, call, request) for call, request in calls]
            lives, longest = self.live(lambda: all(each.done() for each in asking))
            failures = [each.result() for each in asking]

        self.assertGreater(lives, 3)
        self.assertLess(longest, 9, "somebody waited for a silent VMM")
        silent = [failure for failure in failures if failure.code == Code.DEADLINE_EXCEEDED]
        crowded = [failure for failure in failures if failure.code == Code.RESOURCE_EXHAUSTED]
        for failure in silent:
            self.assertEqual("TIMEOUT", failure.metadata["cause"])
            self.assertIn("did not answer in time", failure.message)
        self.assertEqual(["VMM_FAILED"] * 3 + ["METRICS"] * 8,
                         [failure.reason for failure in silent])
        self.assertEqual(["METRICS"] * 22, [failure.reason for failure in crowded])
        # Whether it is paused, or has the other disk, nobody knows.
        for vm in to_pause, to_resume, to_update:
            self.assertEqual(V.VM_STATE_POISONED, self.get(vm.vm_id).status.state)
            self.assertIn("did not answer in time",
                          self.get(vm.vm_id).status.last_operation.error.message)
            self.destroy(vm.vm_id)
        self.assertEqual(V.VM_STATE_RUNNING, self.get(asked.vm_id).status.state)
        self.thaw(asked.status.resolved.vmm_pid)
        self.metrics(asked)

    def test_a_stop_goes_down_its_ladder(self):
        vm = self.frozen()
        second = duration_pb2.Duration(seconds=1)

        stopped = self.vms.StopVm(V.StopVmRequest(
            vm_id=vm.vm_id, power_button_timeout=second, terminate_timeout=second), timeout=60)

        rungs = [(rung.name, V.RungOutcome.Name(rung.outcome).removeprefix("RUNG_OUTCOME_"))
                 for rung in stopped.status.last_exit.rungs]
        self.assertEqual(V.VM_STATE_STOPPED, stopped.status.state)
        self.assertEqual(("kill", "ENDED"), rungs[-1])
        self.assertNotIn("ENDED", [outcome for _, outcome in rungs[:-1]])
        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))

    def test_a_destroy_waits_for_nothing(self):
        vm = self.frozen()

        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=9)

        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))

    def test_a_new_agent_does_not_end_it(self):
        vm = self.frozen()
        other = self.boot("exit=loop")

        self.daemon.restart()

        self.assertEqual(V.VM_STATE_RUNNING, self.get(vm.vm_id).status.state)
        self.assertEqual(V.CONDITION_STATUS_UNKNOWN, self.condition(vm.vm_id, "VmmRunning").status)
        self.assertEqual(V.CONDITION_STATUS_TRUE,
                         self.condition(other.vm_id, "VmmRunning").status)
        events = self.vms.ListVmEvents(V.ListVmEventsRequest(vm_id=vm.vm_id), timeout=20).events
        self.assertEqual("NotAdopted", events[-1].reason)
        self.assertIn("did not answer in time", events[-1].message)
        self.thaw(vm.status.resolved.vmm_pid)
        self.daemon.restart()
        self.assertEqual(V.CONDITION_STATUS_TRUE, self.condition(vm.vm_id, "VmmRunning").status)
        self.assertEqual(vm.status.resolved.vmm_pid, self.get(vm.vm_id).status.resolved.vmm_pid)
        self.grows(vm)

    def test_a_vm_whose_keeper_is_stopped_can_be_stopped_started_and_destroyed(self):
        vm = self.boot("exit=loop")
        keeper = vm.status.resolved.keeper_pid
        self.freeze(keeper)

        stopped = self.vms.StopVm(V.StopVmRequest(
            vm_id=vm.vm_id, power_button_timeout=duration_pb2.Duration(nanos=100000000),
            terminate_timeout=duration_pb2.Duration(nanos=100000000)), timeout=60)
        self.assertEqual(V.VM_STATE_STOPPED, stopped.status.state)
        self.assertFalse(process_alive(keeper))
        started = self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=BOOT_SECONDS)
        self.freeze(started.status.resolved.keeper_pid)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=60)

        self.assertFalse(process_alive(started.status.resolved.keeper_pid))
        self.assertFalse(process_alive(started.status.resolved.vmm_pid))

    def test_the_end_of_a_vmm_is_noticed_though_its_keeper_is_stopped(self):
        vm = self.boot("exit=loop")
        self.freeze(vm.status.resolved.keeper_pid)

        os.kill(vm.status.resolved.vmm_pid, signal.SIGKILL)

        # Once a minute it is looked whether those that run are there.
        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED, timeout=150)
        self.assertEqual(V.EXIT_REASON_KEEPER_LOST, failed.status.last_exit.reason)
        self.assertFalse(process_alive(vm.status.resolved.keeper_pid))

    def test_a_killed_keeper_takes_its_vmm_along(self):
        vm = self.boot("exit=loop")

        os.kill(vm.status.resolved.keeper_pid, signal.SIGKILL)

        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)
        self.assertEqual(V.EXIT_REASON_KEEPER_LOST, failed.status.last_exit.reason)
        wait_until(lambda: not process_alive(vm.status.resolved.vmm_pid), "the VMM has ended")


@unittest.skipUnless(FIRECRACKER, "no firecracker: set FIRECRACKER_BIN")
class PlainTest(Frozen, Host):
    jail = ("--jailer-mode", "off")


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer: set FIRECRACKER_BIN, JAILER_BIN")
class JailedTest(Frozen, Host):
    jail = ("--jailer-binary", JAILER)


if __name__ == "__main__":
    unittest.main()
