# SPDX-License-Identifier: Apache-2.0
"""What cannot be undone: the VM is POISONED, only destroy is allowed, and the rest goes on.

The causes are an administrator's: something is mounted where hearthd has to remove, or made
immutable.
"""

import shutil
import subprocess
import unittest

from firecracker_host import BOOT_SECONDS, FIRECRACKER, JAILER, Host
from harness import Code, N, V, process_alive


class Poisoned:
    """Jailed or not."""

    def hold(self, folder):
        """Until let_go(), @folder cannot be removed."""
        target = folder / "busy"
        target.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(target)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(target)], capture_output=True)
        return target

    def let_go(self, target):
        subprocess.run(["umount", str(target)], check=True)

    def doctor(self):
        checks = self.node.Doctor(N.DoctorRequest(), timeout=60).checks
        return next(check for check in checks if check.name == "vms")

    def assert_poisoned(self, vm, path):
        now = self.get(vm.vm_id)
        self.assertEqual(V.VM_STATE_POISONED, now.status.state)
        self.assertIn(str(path), now.status.last_operation.error.message)
        for call, request in ((self.vms.StartVm, V.StartVmRequest), (self.vms.StopVm, V.StopVmRequest),
                              (self.vms.PauseVm, V.PauseVmRequest),
                              (self.vms.ResumeVm, V.ResumeVmRequest),
                              (self.vms.UpdateVm, V.UpdateVmRequest)):
            more = {"update_mask": {"paths": ["labels"]}} if call == self.vms.UpdateVm else {}
            self.refused(call, request(vm_id=vm.vm_id, **more), Code.INTERNAL, "STATE_POISONED")
        told = self.vms.DiagnoseVm(V.DiagnoseVmRequest(vm_id=vm.vm_id), timeout=30)
        self.assertEqual(V.VM_STATE_POISONED, told.vm.status.state)
        self.assertIn(str(path), told.vm.status.last_operation.error.message)
        self.assertIn(str(path), " ".join(event.message for event in told.events))
        check = self.doctor()
        self.assertEqual(N.CHECK_STATUS_DEGRADED, check.status)
        self.assertIn(vm.vm_id + ": Poisoned", check.message)

    def assert_others_go_on(self):
        other = self.boot("exit=loop")
        self.grows(other)
        self.destroy(other.vm_id)

    def test_a_destroy_that_fails_is_tried_again(self):
        vm = self.boot("exit=loop")
        folder = self.daemon.run_dir(vm)
        held = self.hold(folder)

        self.refused(self.vms.DestroyVm, V.DestroyVmRequest(vm_id=vm.vm_id), Code.INTERNAL,
                     "VMM_FAILED", timeout=60)

        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))
        self.assert_poisoned(vm, folder)
        self.assert_others_go_on()
        self.refused(self.vms.DestroyVm, V.DestroyVmRequest(vm_id=vm.vm_id), Code.INTERNAL,
                     "VMM_FAILED", timeout=60)
        self.daemon.restart()
        self.assert_poisoned(vm, folder)
        self.let_go(held)
        self.destroy(vm.vm_id)
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm.vm_id), Code.NOT_FOUND)
        self.assertFalse(folder.exists())
        self.assertEqual(N.CHECK_STATUS_OK, self.doctor().status)


@unittest.skipUnless(FIRECRACKER, "no firecracker: set FIRECRACKER_BIN")
class PlainTest(Poisoned, Host):
    jail = ("--jailer-mode", "off")


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer: set FIRECRACKER_BIN, JAILER_BIN")
class JailedTest(Poisoned, Host):
    jail = ("--jailer-binary", JAILER)

    def test_a_jail_that_cannot_be_removed_poisons_its_vm_alone(self):
        vm = self.boot("exit=loop")
        root = self.daemon.state / "jail/firecracker" / vm.status.resolved.instance_id / "root"
        held = self.hold(root)

        self.refused(self.vms.StopVm, V.StopVmRequest(vm_id=vm.vm_id, force=True), Code.INTERNAL,
                     "JAILER", timeout=60)

        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))
        self.assert_poisoned(vm, vm.status.resolved.instance_id)
        self.assert_others_go_on()
        self.let_go(held)
        self.destroy(vm.vm_id)
        self.assertFalse(root.exists())

    def test_a_start_whose_undoing_fails_poisons(self):
        vm = self.boot("exit=loop")
        root = self.daemon.state / "jail/firecracker" / vm.status.resolved.instance_id / "root"
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, force=True), timeout=60)
        root.mkdir(parents=True)
        if not shutil.which("chattr"):
            self.skipTest("no chattr")
        immutable = root / "left"
        immutable.write_text("")
        if subprocess.run(["chattr", "+i", str(immutable)], capture_output=True).returncode:
            self.skipTest("this file system has no immutable files")
        self.addCleanup(subprocess.run, ["chattr", "-i", str(immutable)], capture_output=True)

        failure = self.refused(self.vms.StartVm, V.StartVmRequest(vm_id=vm.vm_id), Code.INTERNAL,
                               "JAILER", timeout=BOOT_SECONDS)

        # Nothing had been done yet that would have to be undone.
        self.assertIn("Operation not permitted", failure.message)
        self.assertEqual(V.VM_STATE_FAILED, self.get(vm.vm_id).status.state)
        self.refused(self.vms.DestroyVm, V.DestroyVmRequest(vm_id=vm.vm_id), Code.INTERNAL,
                     "JAILER", timeout=60)
        self.assert_poisoned(vm, vm.status.resolved.instance_id)
        subprocess.run(["chattr", "-i", str(immutable)], check=True)
        self.destroy(vm.vm_id)


if __name__ == "__main__":
    unittest.main()
