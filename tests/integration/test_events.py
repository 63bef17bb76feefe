# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a VM's life, page by page."""

from harness import Code, DaemonTest, V


class Events(DaemonTest):
    def events(self, vm_id, **fields):
        return self.vms.ListVmEvents(V.ListVmEventsRequest(vm_id=vm_id, **fields), timeout=20)

    def test_events_tell_a_life_also_after_its_end(self):
        vm = self.running()
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=20)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=20)

        events = self.events(vm.vm_id).events

        revisions = [event.revision for event in events]
        self.assertEqual(sorted(set(revisions)), revisions)
        self.assertEqual(V.EVENT_TYPE_ADDED, events[0].type)
        self.assertEqual(V.EVENT_TYPE_DELETED, events[-1].type)
        self.assertEqual(V.VM_STATE_DESTROYED, events[-1].state)
        states = [event.state for event in events]
        for state in (V.VM_STATE_STARTING, V.VM_STATE_RUNNING, V.VM_STATE_STOPPING,
                      V.VM_STATE_STOPPED):
            self.assertIn(state, states)
        for event in events:
            self.assertRegex(event.reason, "^[A-Z][A-Za-z]+$")
            self.assertEqual((vm.vm_id, vm.uid), (event.vm_id, event.uid))
            self.assertFalse(event.HasField("vm"))

    def test_events_of_one_incarnation_only(self):
        first = self.create()
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=first.vm_id), timeout=20)
        second = self.create(first.vm_id)

        both = self.events(first.vm_id).events
        only = self.events(first.vm_id, uid=second.uid).events

        self.assertEqual({first.uid, second.uid}, {event.uid for event in both})
        self.assertEqual({second.uid}, {event.uid for event in only})

    def test_events_come_in_pages(self):
        vm = self.running()
        for _ in range(3):
            self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=20)
            self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=20)
        whole = list(self.events(vm.vm_id, page_size=1000).events)

        pages, token = [], ""
        while True:
            page = self.events(vm.vm_id, page_size=4, page_token=token)
            self.assertLessEqual(len(page.events), 4)
            pages += page.events
            token = page.next_page_token
            if not token:
                break

        self.assertEqual(whole, pages)

    def test_events_of_a_vm_that_never_was(self):
        self.refused(self.vms.ListVmEvents, V.ListVmEventsRequest(vm_id="never-was"),
                     Code.NOT_FOUND, "VM_NOT_FOUND")


class Diagnose(DaemonTest):
    """All there is to know of a VM, in one answer."""

    def diagnose(self, vm_id, **more):
        return self.vms.DiagnoseVm(V.DiagnoseVmRequest(vm_id=vm_id, **more), timeout=20)

    def test_it_has_the_vm_its_latest_events_and_what_is_missing(self):
        vm = self.running()
        for _ in range(30):
            self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=20)
            self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=20)

        answer = self.diagnose(vm.vm_id, expected_uid=vm.uid)

        self.assertEqual(self.get(vm.vm_id), answer.vm)
        self.assertEqual(50, len(answer.events))
        revisions = [event.revision for event in answer.events]
        self.assertEqual(sorted(revisions), revisions)
        self.assertEqual(answer.vm.revision, revisions[-1])
        self.assertTrue(any(line.startswith("usage: ") for line in answer.missing), answer.missing)
        self.assertFalse(answer.HasField("usage"))

    def test_a_vm_that_is_not_there_is_not_found(self):
        vm = self.create()

        self.refused(self.vms.DiagnoseVm, V.DiagnoseVmRequest(vm_id="nobody"), Code.NOT_FOUND,
                     "VM_NOT_FOUND")
        self.refused(self.vms.DiagnoseVm, V.DiagnoseVmRequest(vm_id=vm.vm_id, expected_uid="x"),
                     Code.ABORTED, "CONFLICT")
        failure = self.refused(self.vms.DiagnoseVm, V.DiagnoseVmRequest(vm_id="-"),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")
        self.assertIn("vm_id", failure.violations)

    def test_hearthctl_tells_it(self):
        vm = self.running()

        told = self.ctl("diagnose", vm.vm_id).stdout

        self.assertIn(vm.uid, told)
        self.assertIn("StartAccepted", told)
        self.assertIn("missing: usage", told)
