# SPDX-License-Identifier: Apache-2.0
"""A VM's life through the API, with the in-memory backend; and what QEMU says of itself in one."""

import os
import shutil
import signal
import time
import unittest

from harness import PROGRAMS, Code, DaemonTest, V, wait_until

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

    def test_what_no_vmm_says_is_unsupported(self):
        vm = self.running()

        failure = self.refused(self.vms.ReadConsole, V.ReadConsoleRequest(
            vm_id=vm.vm_id, source=V.CONSOLE_SOURCE_VMM), Code.UNIMPLEMENTED, "UNSUPPORTED")

        self.assertIn("console (in_memory)", failure.message)

    def test_a_console_source_that_is_none_is_named(self):
        vm = self.running()

        failure = self.refused(self.vms.ReadConsole, V.ReadConsoleRequest(
            vm_id=vm.vm_id, source=7), Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertEqual({"source"}, set(failure.violations))

    def test_metrics_of_a_vm_that_counts_nothing_are_unsupported(self):
        vm = self.running()

        failure = self.refused(self.vms.GetVmMetrics, V.GetVmMetricsRequest(vm_id=vm.vm_id),
                               Code.UNIMPLEMENTED, "UNSUPPORTED")

        self.assertIn("metrics (in_memory)", failure.message)
        self.assertEqual(vm.vm_id, failure.metadata["vm_id"])

    def test_metrics_are_asked_of_the_vm_that_is_meant(self):
        vm = self.running()

        self.refused(self.vms.GetVmMetrics, V.GetVmMetricsRequest(vm_id="absent"),
                     Code.NOT_FOUND, "VM_NOT_FOUND")
        self.refused(self.vms.GetVmMetrics, V.GetVmMetricsRequest(
            vm_id=vm.vm_id, expected_uid="another"), Code.ABORTED, "CONFLICT")
        failure = self.refused(self.vms.GetVmMetrics, V.GetVmMetricsRequest(vm_id="Not/An/Id"),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertIn("vm_id", failure.violations)

    def test_a_bad_request_names_every_bad_field(self):
        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id="Not/An/Id", uid="?", tenant="UPPER", return_when=77, spec=V.VmSpec(
                backend=99, machine=V.Machine(vcpus=33, memory_mib=15),
                boot=V.Boot(kernel_path="relative"),
                drives=[V.Drive(drive_id="BAD", path="x")],
                expire_action=V.EXPIRE_ACTION_STOP)),
            Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        for field in ("vm_id", "uid", "tenant", "spec.machine.vcpus", "spec.machine.memory_mib",
                      "spec.boot.kernel_path", "spec.drives[0].drive_id", "spec.drives[0].path",
                      "spec.expire_action", "return_when", "spec.backend"):
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

    def with_devices(self, mib, **more):
        return {"drives": [V.Drive(drive_id="data", path="/nonexistent/" + self.new_id())],
                "network_interfaces": [V.NetworkInterface(interface_id="eth0", mmds=True)],
                "devices": V.Devices(balloon=V.Balloon(amount_mib=mib), mmds=V.Mmds(**more))}

    def test_devices_of_a_running_vm_change_in_one_operation(self):
        vm = self.running(**self.with_devices(8))

        updated = self.vms.UpdateVm(self.update(
            vm.vm_id, ["devices.balloon", "devices.mmds", "labels"], labels={"b": "2"},
            devices=V.Devices(balloon=V.Balloon(amount_mib=9), mmds=V.Mmds(content='{"a": 1}'))),
            timeout=20)

        self.assertEqual(V.VM_STATE_RUNNING, updated.status.state)
        self.assertEqual(9, updated.spec.devices.balloon.amount_mib)
        self.assertEqual('{"a": 1}', updated.spec.devices.mmds.content)
        self.assertEqual({"b": "2"}, dict(updated.spec.labels))
        self.assertEqual("data", updated.spec.drives[0].drive_id)
        self.assertEqual(vm.generation + 1, updated.generation)
        self.assertEqual(updated.generation, updated.status.observed_generation)
        self.assertEqual("update", updated.status.last_operation.verb)
        self.assertFalse(updated.status.HasField("operation"))
        events = self.vms.ListVmEvents(V.ListVmEventsRequest(vm_id=vm.vm_id), timeout=20).events
        self.assertEqual(["UpdateAccepted", "Updated"], [event.reason for event in events[-2:]])

    def test_what_a_running_vm_cannot_change_is_refused_by_name(self):
        vm = self.running(**self.with_devices(8))
        spec = self.with_devices(8)
        spec["drives"] = [V.Drive(drive_id="data", path=vm.spec.drives[0].path, read_only=True)]
        spec["network_interfaces"][0].mtu = 1400
        spec["devices"].balloon.stats_interval.FromSeconds(1)
        spec["devices"].mmds.ipv4_address = "169.254.1.1"
        mask = ["drives", "network_interfaces", "devices.balloon", "devices.mmds"]

        failure = self.refused(self.vms.UpdateVm, self.update(vm.vm_id, mask, **spec),
                               Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertEqual({"spec.drives[0].read_only", "spec.network_interfaces[0].mtu",
                          "spec.devices.balloon.stats_interval",
                          "spec.devices.mmds.ipv4_address"}, set(failure.violations))
        self.assertEqual(vm, self.get(vm.vm_id))
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=20)
        self.vms.UpdateVm(self.update(vm.vm_id, mask, **spec), timeout=20)
        self.assertEqual(1400, self.get(vm.vm_id).spec.network_interfaces[0].mtu)

    def test_a_running_vms_new_disk_must_be_nobody_elses(self):
        vm = self.running(**self.with_devices(8))
        other = self.running(**self.with_devices(8))

        taken = self.refused(self.vms.UpdateVm, self.update(
            vm.vm_id, ["drives"], drives=other.spec.drives),
            Code.INVALID_ARGUMENT, "INVALID_REQUEST")

        self.assertEqual(["vm '%s' writes to it" % other.vm_id],
                         taken.violations["spec.drives[0].path"])

    def test_validating_an_update_of_a_running_vm_changes_nothing(self):
        vm = self.running(**self.with_devices(8))
        request = self.update(vm.vm_id, ["devices.balloon"],
                              devices=V.Devices(balloon=V.Balloon(amount_mib=9)))
        request.validate_only = True

        shown = self.vms.UpdateVm(request, timeout=20)

        self.assertEqual(9, shown.spec.devices.balloon.amount_mib)
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


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "no qemu-system-x86_64 on PATH")
class VmmLog(DaemonTest):
    backend = "qemu"
    flags = ("--qemu-accelerator", "tcg")

    def console(self, vm, **fields):
        return "".join(message.text for message in self.vms.ReadConsole(
            V.ReadConsoleRequest(vm_id=vm.vm_id, **fields), timeout=60))

    def test_what_qemu_says_is_followed_and_read_when_it_has_ended(self):
        boot = V.Boot(kernel_path=str(PROGRAMS.parent / "guest/guest.elf"), boot_args="exit=loop")
        vm = self.running(boot=boot, machine=V.Machine(memory_mib=16))
        words = "terminating on signal 15"
        wait_until(lambda: "tick 0" in self.console(vm), "the guest ticks", 60)
        stream = self.vms.ReadConsole(V.ReadConsoleRequest(
            vm_id=vm.vm_id, source=V.CONSOLE_SOURCE_VMM, follow=True), timeout=60)

        os.kill(vm.status.resolved.vmm_pid, signal.SIGTERM)
        followed = ""
        while words not in followed:
            followed += next(stream).text
        stream.cancel()
        self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        said = self.console(vm, source=V.CONSOLE_SOURCE_VMM)
        serial = self.console(vm, source=V.CONSOLE_SOURCE_SERIAL)
        self.assertIn(words, said)
        self.assertNotIn("tick", said)
        self.assertEqual(said[-5:], self.console(vm, source=V.CONSOLE_SOURCE_VMM, tail_bytes=5))
        self.assertEqual(said, self.ctl("console", vm.vm_id, "--vmm").stdout)
        self.assertIn("tick 0", serial)
        self.assertNotIn(words, serial)
        self.assertEqual(serial, self.console(vm))
        # It may have ended in the midst of a line, and even of the line's end.
        self.assertEqual(serial.replace("\r\n", "\n").rstrip(), self.ctl("console", vm.vm_id).stdout.rstrip())
