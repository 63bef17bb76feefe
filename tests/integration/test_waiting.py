# SPDX-License-Identifier: Apache-2.0
"""Waiting for what a VM comes to be."""

import time

from harness import Code, DaemonTest, V


class Waiting(DaemonTest):
    def test_waiting_ends_when_the_state_comes(self):
        vm = self.create()
        waiting = self.vms.WaitVm.future(V.WaitVmRequest(
            vm_id=vm.vm_id, states=[V.VM_STATE_RUNNING]), timeout=30)

        self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=30)

        self.assertEqual(V.VM_STATE_RUNNING, waiting.result().status.state)

    def test_waiting_sees_a_state_that_was_passed_through(self):
        vm = self.create()
        waiting = self.vms.WaitVm.future(V.WaitVmRequest(
            vm_id=vm.vm_id, states=[V.VM_STATE_STARTING]), timeout=30)
        time.sleep(0.3)  # the wait is under way

        self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=30)

        self.assertEqual(vm.vm_id, waiting.result().vm_id)

    def test_waiting_for_a_condition(self):
        vm = self.running()

        ready = self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, condition="Ready"), timeout=30)

        self.assertEqual(vm.vm_id, ready.vm_id)

    def test_waiting_for_the_end_answers_the_last_form(self):
        vm = self.running()
        waiting = self.vms.WaitVm.future(V.WaitVmRequest(
            vm_id=vm.vm_id, states=[V.VM_STATE_DESTROYED]), timeout=30)
        time.sleep(0.3)

        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=30)

        self.assertEqual(V.VM_STATE_DESTROYED, waiting.result().status.state)
        self.assertEqual(vm.uid, waiting.result().uid)

    def test_the_deadline_bounds_the_wait_and_leaves_the_vm_alone(self):
        vm = self.create()

        self.refused(self.vms.WaitVm, V.WaitVmRequest(
            vm_id=vm.vm_id, states=[V.VM_STATE_RUNNING]), Code.DEADLINE_EXCEEDED, timeout=0.5)

        self.assertEqual(vm, self.get(vm.vm_id))

    def test_waiting_for_nothing_is_refused(self):
        vm = self.create()

        failure = self.refused(self.vms.WaitVm, V.WaitVmRequest(vm_id=vm.vm_id),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertTrue(failure.violations)

    def test_waiting_for_an_absent_vm_says_so(self):
        self.refused(self.vms.WaitVm, V.WaitVmRequest(vm_id="nobody", condition="Ready"),
                     Code.NOT_FOUND, "VM_NOT_FOUND")
