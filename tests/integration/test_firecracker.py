# SPDX-License-Identifier: Apache-2.0
"""VMs on the real Firecracker, looked after through the API, with tests/guest as the guest.

Firecracker is in no package: FIRECRACKER_BIN names it, or it is on PATH, or these are skipped.
"""

import os
import pathlib
import shutil
import signal
import tempfile
import unittest

from google.protobuf import field_mask_pb2

from harness import PROGRAMS, Code, DaemonTest, N, V, process_alive, wait_until

FIRECRACKER = os.environ.get("FIRECRACKER_BIN") or shutil.which("firecracker")
BOOT_SECONDS = 60


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH or in FIRECRACKER_BIN")
class FirecrackerTest(DaemonTest):
    backend = "firecracker"
    flags = ("--firecracker-binary", FIRECRACKER or "")

    def setUp(self):
        super().setUp()
        checks = self.node.Doctor(N.DoctorRequest(), timeout=60).checks
        check = next(check for check in checks if check.name == "firecracker")
        if check.status != N.CHECK_STATUS_OK:
            self.skipTest(check.message)

    def boot(self, args, **spec):
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)
        return self.create(vm_id, timeout=BOOT_SECONDS, machine=V.Machine(memory_mib=16),
                           desired_state=V.DESIRED_STATE_RUNNING, **spec,
                           boot=V.Boot(kernel_path=str(PROGRAMS.parent / "guest/guest64.elf"),
                                       boot_args=args))

    def destroy(self, vm_id):
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm_id, allow_missing=True), timeout=60)

    def console(self, vm):
        return "".join(message.text for message in self.vms.ReadConsole(
            V.ReadConsoleRequest(vm_id=vm.vm_id), timeout=30))

    def wait_console(self, vm, text):
        return wait_until(lambda: text in self.console(vm), "'%s' on the console" % text)

    def grows(self, vm):
        size = len(self.console(vm))
        return wait_until(lambda: len(self.console(vm)) > size, "more on the console")

    def test_it_is_known_with_what_it_can(self):
        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)

        info = next(info for info in node.status.backends if info.backend == V.BACKEND_FIRECRACKER)
        self.assertTrue(info.available, info.message)
        self.assertTrue(info.is_default)
        self.assertEqual("kvm", info.accelerator)
        self.assertIn("pause", info.capabilities)

    def disk(self, folder, name):
        path = pathlib.Path(folder) / name
        path.write_bytes(bytes(65536))
        return str(path)

    def has_open(self, vm, path):
        fds = pathlib.Path("/proc/%d/fd" % vm.status.resolved.vmm_pid)
        # By file: in a jail it goes by another name.
        return any(os.path.samefile(fd, path) for fd in fds.iterdir() if fd.exists())

    def test_a_running_guest_gets_another_disk_and_a_limit(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        old, new = self.disk(folder, "old"), self.disk(folder, "new")
        vm = self.boot("exit=loop", drives=[V.Drive(drive_id="data-1", path=old)])
        limit = V.RateLimiter(ops=V.TokenBucket(size=10, refill_time_ms=100))

        updated = self.vms.UpdateVm(V.UpdateVmRequest(
            vm_id=vm.vm_id, update_mask=field_mask_pb2.FieldMask(paths=["drives"]),
            spec=V.VmSpec(drives=[V.Drive(drive_id="data-1", path=new, rate_limiter=limit)])),
            timeout=30)

        self.assertEqual(new, updated.spec.drives[0].path)
        self.assertEqual("update", updated.status.last_operation.verb)
        self.assertTrue(self.has_open(updated, new))
        self.assertFalse(self.has_open(updated, old))
        self.grows(updated)

    def test_a_life_from_create_to_ctrl_alt_del(self):
        vm = self.boot("exit=button")

        self.assertEqual(V.VM_STATE_RUNNING, vm.status.state)
        self.assertEqual(V.BACKEND_FIRECRACKER, vm.status.resolved.backend)
        self.assertEqual("exit=button", vm.status.resolved.boot_args)
        self.wait_console(vm, "guest: exit=button")
        self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=30)
        self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=30)
        self.grows(vm)
        request = V.StopVmRequest(vm_id=vm.vm_id)
        request.power_button_timeout.FromSeconds(60)
        vm = self.vms.StopVm(request, timeout=90)

        self.assertEqual(V.VM_STATE_STOPPED, vm.status.state)
        self.assertEqual([("ctrl_alt_del", V.RUNG_OUTCOME_ENDED)],
                         [(rung.name, rung.outcome) for rung in vm.status.last_exit.rungs])
        self.assertEqual(V.EXIT_REASON_REQUESTED, vm.status.last_exit.reason)
        self.assertIn("guest: off", vm.status.last_exit.console_tail)

    def test_a_panic_is_read_from_the_console(self):
        vm = self.boot("exit=panic")

        vm = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        self.assertEqual(V.EXIT_REASON_GUEST_PANIC, vm.status.last_exit.reason)
        self.assertEqual(0, vm.status.last_exit.exit_code)

    def test_guests_do_not_notice_that_hearthd_is_killed(self):
        running, paused = self.boot("exit=loop"), self.boot("exit=loop")
        self.vms.PauseVm(V.PauseVmRequest(vm_id=paused.vm_id), timeout=30)

        self.daemon.restart()

        self.assertEqual(V.VM_STATE_RUNNING, self.get(running.vm_id).status.state)
        self.assertEqual(V.VM_STATE_PAUSED, self.get(paused.vm_id).status.state)
        self.assertEqual(running.status.resolved.vmm_pid,
                         self.get(running.vm_id).status.resolved.vmm_pid)
        self.grows(running)

    def test_a_killed_firecracker_fails_the_vm_and_destroying_it_leaves_nothing(self):
        vm = self.boot("exit=loop")
        run_dir = self.daemon.run_dir(vm)

        os.kill(vm.status.resolved.vmm_pid, signal.SIGKILL)
        vm = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)
        self.destroy(vm.vm_id)

        self.assertEqual(V.EXIT_REASON_VMM_SIGNAL, vm.status.last_exit.reason)
        self.assertEqual(signal.SIGKILL, vm.status.last_exit.signal)
        self.assertFalse(run_dir.exists())
        self.assertFalse(process_alive(vm.status.resolved.keeper_pid))

    def test_a_running_vm_is_destroyed_with_its_processes(self):
        vm = self.boot("exit=loop")

        self.destroy(vm.vm_id)

        wait_until(lambda: not process_alive(vm.status.resolved.vmm_pid), "it ends")
        wait_until(lambda: not process_alive(vm.status.resolved.keeper_pid), "the keeper ends")

    def test_what_firecracker_refuses_is_told_in_its_words(self):
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING,
            boot=V.Boot(kernel_path="/etc/passwd"))), Code.INTERNAL, "VMM_FAILED", BOOT_SECONDS)

        self.assertIn("PUT /actions: 400: ", failure.message)


class WithoutFirecrackerTest(DaemonTest):
    backend = "firecracker"
    flags = ("--firecracker-binary", "/nowhere/firecracker")

    def test_a_vm_on_it_is_unsupported_and_the_doctor_says_why(self):
        self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec(
            boot=V.Boot(kernel_path="/etc/passwd"))), Code.UNIMPLEMENTED, "UNSUPPORTED")

        checks = self.node.Doctor(N.DoctorRequest(), timeout=60).checks
        check = next(check for check in checks if check.name == "firecracker")
        self.assertEqual(N.CHECK_STATUS_MISSING, check.status)
        self.assertIn("/nowhere/firecracker is not installed", check.message)
