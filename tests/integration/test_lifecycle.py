# SPDX-License-Identifier: Apache-2.0
"""A VM's life through the API, with the in-memory backend."""

import time

from harness import Code, DaemonTest, N, V

VERBS = {
    "start": ("StartVm", V.StartVmRequest),
    "stop": ("StopVm", V.StopVmRequest),
    "pause": ("PauseVm", V.PauseVmRequest),
    "resume": ("ResumeVm", V.ResumeVmRequest),
    "destroy": ("DestroyVm", V.DestroyVmRequest),
}


class Verbs(DaemonTest):
    def verb(self, name, vm_id, **fields):
        method, request = VERBS[name]
        return getattr(self.vms, method)(request(vm_id=vm_id, **fields), timeout=30)

    def refused_verb(self, name, code, reason, **fields):
        method, request = VERBS[name]
        return self.refused(getattr(self.vms, method), request(**fields), code, reason)

    def test_a_vm_goes_through_its_whole_life(self):
        vm = self.create()

        states = [vm.status.state]
        for name in ("start", "pause", "resume", "stop", "start", "destroy"):
            states.append(self.verb(name, vm.vm_id).status.state)

        self.assertEqual([V.VM_STATE_CREATED, V.VM_STATE_RUNNING, V.VM_STATE_PAUSED,
                          V.VM_STATE_RUNNING, V.VM_STATE_STOPPED, V.VM_STATE_RUNNING,
                          V.VM_STATE_DESTROYED], states)
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm.vm_id), Code.NOT_FOUND, "VM_NOT_FOUND")

    def test_create_starts_the_vm_when_it_is_to_run(self):
        vm = self.create(desired_state=V.DESIRED_STATE_RUNNING)

        self.assertEqual(V.VM_STATE_RUNNING, vm.status.state)
        self.assertEqual("uid:0", vm.status.last_operation.principal)
        self.assertEqual(V.OPERATION_OUTCOME_SUCCEEDED, vm.status.last_operation.outcome)
        self.assertTrue(vm.status.last_operation.operation_id)

    def test_create_pauses_the_vm_when_it_is_to_be_paused(self):
        vm = self.create(desired_state=V.DESIRED_STATE_PAUSED)

        paused = self.wait_state(vm.vm_id, V.VM_STATE_PAUSED)

        self.assertEqual(V.DESIRED_STATE_PAUSED, paused.spec.desired_state)

    def test_create_answers_at_once_when_asked_to(self):
        vm = self.vms.CreateVm(V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING),
            return_when=V.RETURN_WHEN_ACCEPTED), timeout=20)

        self.assertIn(vm.status.state,
                      (V.VM_STATE_CREATED, V.VM_STATE_STARTING, V.VM_STATE_RUNNING))
        self.wait_state(vm.vm_id, V.VM_STATE_RUNNING)

    def test_ready_means_that_the_ready_condition_is_true(self):
        vm = self.vms.CreateVm(V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING),
            return_when=V.RETURN_WHEN_READY), timeout=20)

        conditions = {c.type: c.status for c in vm.status.conditions}
        self.assertEqual(V.CONDITION_STATUS_TRUE, conditions["Ready"])
        self.assertEqual(V.CONDITION_STATUS_TRUE, conditions["VmmRunning"])

    def test_the_spec_stays_as_asked_and_the_choices_stand_in_resolved(self):
        vm = self.running(labels={"app": "db"})

        self.assertEqual(V.BACKEND_UNSPECIFIED, vm.spec.backend)
        self.assertEqual(0, vm.spec.machine.vcpus)
        self.assertEqual(V.BACKEND_IN_MEMORY, vm.status.resolved.backend)
        self.assertEqual(1, vm.status.resolved.vcpus)
        self.assertEqual(128, vm.status.resolved.memory_mib)
        self.assertRegex(vm.status.resolved.instance_id, "^[0-9a-f]{16}$")
        self.assertEqual(1, vm.generation)
        self.assertGreater(vm.revision, 0)
        self.assertRegex(vm.uid, "^[0-9a-f-]{36}$")

    def test_the_same_create_again_answers_the_vm_as_it_is(self):
        vm_id = self.new_id()
        first = self.running(vm_id, labels={"a": "1", "b": "2"})

        again = self.running(vm_id, labels={"b": "2", "a": "1"})

        self.assertEqual(first, again)

    def test_the_same_create_answers_a_vm_that_was_stopped_meanwhile(self):
        vm_id = self.new_id()
        self.running(vm_id)
        stopped = self.verb("stop", vm_id)

        again = self.create(vm_id, desired_state=V.DESIRED_STATE_RUNNING)

        self.assertEqual(stopped, again)

    def test_another_create_with_the_same_id_is_refused(self):
        vm = self.create()

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=vm.vm_id, spec=V.VmSpec(labels={"other": "one"})),
            Code.ALREADY_EXISTS, "VM_ALREADY_EXISTS")

        self.assertEqual("vm '%s' already exists" % vm.vm_id, failure.message)
        self.assertEqual(vm.vm_id, failure.metadata["vm_id"])
        self.assertEqual(vm.vm_id, failure.resource.resource_name)

    def test_a_satisfied_verb_is_ok_and_changes_nothing(self):
        vm = self.running()

        again = self.verb("start", vm.vm_id)

        self.assertEqual(vm.revision, again.revision)

    def test_verbs_that_do_not_fit_are_invalid_transitions(self):
        created, paused = self.create(), self.running()
        self.verb("pause", paused.vm_id)

        for name, vm, message in (
                ("pause", created, "created -> paused"),
                ("resume", created, "created -> running")):
            with self.subTest(name, state=message):
                failure = self.refused_verb(name, Code.FAILED_PRECONDITION, "INVALID_TRANSITION",
                                            vm_id=vm.vm_id)

                self.assertEqual("invalid vm transition for '%s': %s" % (vm.vm_id, message),
                                 failure.message)
                source, goal = message.split(" -> ")
                self.assertEqual(source, failure.metadata["from"])
                self.assertEqual(goal, failure.metadata["to"])
                self.assertTrue(failure.precondition.violations)

    def test_verbs_on_an_absent_vm_say_so(self):
        for name in VERBS:
            with self.subTest(name):
                failure = self.refused_verb(name, Code.NOT_FOUND, "VM_NOT_FOUND", vm_id="nobody")

                self.assertEqual("vm 'nobody' not found", failure.message)
                self.assertEqual("AFTER_READ", failure.metadata["retry"])
                self.assertEqual("nobody", failure.resource.resource_name)

    def test_destroying_an_absent_vm_is_fine_when_allowed(self):
        self.assertEqual(V.Vm(), self.verb("destroy", "nobody", allow_missing=True))

    def test_an_expected_uid_of_another_incarnation_is_a_conflict(self):
        vm = self.running()

        for name in VERBS:
            with self.subTest(name):
                self.refused_verb(name, Code.ABORTED, "CONFLICT", vm_id=vm.vm_id,
                                  expected_uid="another")
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm.vm_id, expected_uid="another"),
                     Code.ABORTED, "CONFLICT")
        self.assertEqual(vm, self.get(vm.vm_id))

    def test_an_expected_revision_or_generation_that_is_not_so_is_a_conflict(self):
        vm = self.running()

        self.refused_verb("stop", Code.ABORTED, "CONFLICT", vm_id=vm.vm_id,
                          expected_revision=vm.revision - 1)
        self.refused_verb("stop", Code.ABORTED, "CONFLICT", vm_id=vm.vm_id,
                          expected_generation=vm.generation + 1)
        stopped = self.verb("stop", vm.vm_id, expected_revision=vm.revision,
                            expected_generation=vm.generation, expected_uid=vm.uid)

        self.assertEqual(V.VM_STATE_STOPPED, stopped.status.state)

    def test_validate_only_changes_nothing(self):
        vm, created = self.running(), self.create()
        absent = self.new_id()
        before = self.revision()

        for name, vm_id in (("stop", vm.vm_id), ("pause", vm.vm_id), ("destroy", vm.vm_id),
                            ("start", created.vm_id)):
            self.verb(name, vm_id, validate_only=True)
        self.vms.CreateVm(V.CreateVmRequest(vm_id=absent, spec=V.VmSpec(), validate_only=True),
                          timeout=20)
        self.refused_verb("pause", Code.FAILED_PRECONDITION, "INVALID_TRANSITION",
                          vm_id=created.vm_id, validate_only=True)

        self.assertEqual(before, self.revision())
        self.assertEqual(vm, self.get(vm.vm_id))
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=absent), Code.NOT_FOUND)

    def test_a_uid_is_never_used_twice(self):
        first = self.create(uid="mine-1")
        self.verb("destroy", first.vm_id)

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=first.vm_id, uid="mine-1", spec=V.VmSpec()), Code.ABORTED)
        successor = self.create(first.vm_id, uid="mine-2")

        self.assertIn("mine-1", failure.message)
        self.assertEqual("mine-2", successor.uid)

    def test_a_late_retry_does_not_hit_the_successor(self):
        first = self.create()
        self.verb("destroy", first.vm_id)
        successor = self.create(first.vm_id)

        self.refused_verb("destroy", Code.ABORTED, "CONFLICT", vm_id=first.vm_id,
                          expected_uid=first.uid)

        self.assertEqual(successor, self.get(first.vm_id))

    def test_a_stop_that_was_asked_for_is_recorded_so(self):
        vm = self.running()

        stopped = self.verb("stop", vm.vm_id)

        self.assertEqual(V.EXIT_REASON_REQUESTED, stopped.status.last_exit.reason)
        self.assertTrue(stopped.status.last_exit.requested)
        self.assertEqual(V.DESIRED_STATE_STOPPED, stopped.spec.desired_state)

    def test_the_console_of_a_vm_without_one_is_unsupported(self):
        vm = self.running()

        failure = self.refused(self.vms.ReadConsole, V.ReadConsoleRequest(vm_id=vm.vm_id),
                               Code.UNIMPLEMENTED, "UNSUPPORTED")

        self.assertIn("in_memory", failure.message)

    def test_a_bad_request_names_every_bad_field(self):
        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id="Not/An/Id", uid="?", tenant="UPPER", spec=V.VmSpec(
                machine=V.Machine(vcpus=33, memory_mib=15),
                boot=V.Boot(kernel_path="relative"),
                drives=[V.Drive(drive_id="BAD", path="x")],
                expire_action=V.EXPIRE_ACTION_STOP)),
            Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        for field in ("vm_id", "uid", "tenant", "spec.machine.vcpus", "spec.machine.memory_mib",
                      "spec.boot.kernel_path", "spec.drives[0].drive_id", "spec.drives[0].path",
                      "spec.expire_action"):
            self.assertIn(field, failure.violations)
        self.assertEqual("FIX_REQUEST", failure.metadata["retry"])
        self.assertEqual("INPUT", failure.metadata.get("cause", "INPUT"))

    def test_a_writable_drive_belongs_to_one_vm(self):
        drive = V.Drive(drive_id="data", path="/tmp/hearth-no-such-disk")
        first = self.running(drives=[drive])

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING,
                                               drives=[drive])), Code.INVALID_ARGUMENT)

        self.assertIn(first.vm_id, failure.violations["spec.drives[0].path"][0])


class Update(DaemonTest):
    def update(self, vm_id, paths, **spec):
        request = V.UpdateVmRequest(vm_id=vm_id, spec=V.VmSpec(**spec))
        request.update_mask.paths.extend(paths)
        return request

    def test_an_update_changes_what_its_mask_names_and_nothing_else(self):
        vm = self.create(labels={"a": "1"}, restart_policy=V.RestartPolicy(max_restarts=3))

        updated = self.vms.UpdateVm(self.update(
            vm.vm_id, ["labels"], labels={"b": "2"},
            restart_policy=V.RestartPolicy(max_restarts=9)), timeout=20)

        self.assertEqual({"b": "2"}, dict(updated.spec.labels))
        self.assertEqual(3, updated.spec.restart_policy.max_restarts)
        self.assertEqual(vm.generation + 1, updated.generation)
        self.assertGreater(updated.revision, vm.revision)

    def test_an_update_without_a_mask_is_refused(self):
        vm = self.create()

        failure = self.refused(self.vms.UpdateVm, self.update(vm.vm_id, [], labels={"b": "2"}),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertIn("update_mask", failure.violations)

    def test_what_cannot_change_is_refused_by_name(self):
        vm = self.create()

        failure = self.refused(self.vms.UpdateVm,
                               self.update(vm.vm_id, ["labels", "machine", "no_such"]),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertEqual(["paths[1]", "paths[2]"],
                         [words.split()[0] for words in failure.violations["update_mask"]])
        self.assertEqual(vm, self.get(vm.vm_id))

    def test_a_vm_expires_by_being_stopped(self):
        vm = self.running()
        request = self.update(vm.vm_id, ["expires_at"])
        request.spec.expires_at.FromSeconds(int(time.time()) + 2)

        self.vms.UpdateVm(request, timeout=20)

        stopped = self.wait_state(vm.vm_id, V.VM_STATE_STOPPED)
        self.assertEqual("expire", stopped.status.last_operation.verb)
        self.assertEqual("hearthd", stopped.status.last_operation.principal)
        self.assertEqual(V.EXIT_REASON_REQUESTED, stopped.status.last_exit.reason)

    def test_a_vm_expires_by_being_destroyed(self):
        spec = V.VmSpec(expire_action=V.EXPIRE_ACTION_DESTROY,
                        desired_state=V.DESIRED_STATE_RUNNING)
        spec.expires_at.FromSeconds(int(time.time()) + 2)
        vm_id = self.new_id()

        self.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=spec), timeout=20)

        gone = self.wait_state(vm_id, V.VM_STATE_DESTROYED)
        self.assertTrue(gone.HasField("delete_time"))


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


class Node(DaemonTest):
    tcp = True

    def uncordon(self, owner):
        return self.node.Uncordon(N.UncordonRequest(owner=owner), timeout=20)

    def test_a_cordon_refuses_new_vms_until_every_owner_has_lifted_it(self):
        vm = self.create()
        for owner in ("upgrade", "operator"):
            self.node.Cordon(N.CordonRequest(owner=owner, reason="because"), timeout=20)
        self.addCleanup(self.uncordon, "upgrade")
        self.addCleanup(self.uncordon, "operator")

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec()), Code.UNAVAILABLE, "CORDONED")
        self.uncordon("upgrade")
        self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec()), Code.UNAVAILABLE, "CORDONED")
        started = self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=20)
        node = self.uncordon("operator")
        self.create()

        self.assertEqual("ELSEWHERE", failure.metadata["retry"])
        self.assertEqual(V.VM_STATE_RUNNING, started.status.state)
        self.assertEqual([], list(node.status.cordons))

    def test_lifting_a_cordon_that_is_none_is_fine(self):
        self.uncordon("nobody")

    def test_a_cordon_needs_an_owner(self):
        failure = self.refused(self.node.Cordon, N.CordonRequest(reason="x"),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertIn("owner", failure.violations)

    def test_a_cordon_that_is_only_checked_is_none(self):
        self.node.Cordon(N.CordonRequest(owner="x", validate_only=True), timeout=20)

        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)
        self.assertEqual([], list(node.status.cordons))

    def test_the_node_says_what_it_is(self):
        self.running(machine=V.Machine(vcpus=2, memory_mib=64))

        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)

        self.assertTrue(node.node_id)
        status = node.status
        with open("/proc/sys/kernel/random/boot_id") as boot_id:
            self.assertEqual(boot_id.read().strip(), status.boot_id)
        self.assertTrue(status.store_id and status.agent_version and status.kernel)
        self.assertEqual("child", status.launcher)
        backends = {info.backend: info for info in status.backends}
        self.assertTrue(backends[V.BACKEND_IN_MEMORY].available)
        self.assertTrue(backends[V.BACKEND_IN_MEMORY].is_default)
        self.assertIn("pause", backends[V.BACKEND_IN_MEMORY].capabilities)
        self.assertIn(V.BACKEND_QEMU, backends)
        conditions = {c.type: c.status for c in status.conditions}
        self.assertEqual({"Ready", "Adopted", "StoreWritable"}, set(conditions))
        self.assertGreaterEqual(status.allocated.vcpus, 2)
        self.assertGreaterEqual(status.allocated.memory_mib, 64)
        self.assertGreater(status.capacity.memory_mib, 0)

    def test_who_watches_the_node_hears_of_a_cordon(self):
        watching = self.node.WatchNode(N.WatchNodeRequest(), timeout=30)
        self.assertEqual([], list(next(watching).status.cordons))

        self.node.Cordon(N.CordonRequest(owner="watched"), timeout=20)
        self.addCleanup(self.uncordon, "watched")

        owners = []
        while owners != ["watched"]:
            owners = [cordon.owner for cordon in next(watching).status.cordons]
        watching.cancel()

    def test_the_doctor_says_what_to_do_about_what_is_missing(self):
        checks = {check.name: check
                  for check in self.node.Doctor(N.DoctorRequest(), timeout=60).checks}

        for name in ("kvm", "qemu", "state_dir"):
            self.assertIn(name, checks)
        for check in checks.values():
            self.assertNotEqual(N.CHECK_STATUS_UNSPECIFIED, check.status)
            self.assertTrue(check.message, check.name)
            if check.status != N.CHECK_STATUS_OK:
                self.assertTrue(check.remedy, check.name)

    def test_over_tcp_the_address_is_the_principal(self):
        client = self.daemon.connect(self.daemon.tcp)

        vm = client.vms.CreateVm(V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING)), timeout=20)

        self.assertIn("127.0.0.1", vm.status.last_operation.principal)
