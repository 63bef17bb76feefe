# SPDX-License-Identifier: Apache-2.0
"""Drives that are made of templates, as real Linux guests see them."""

import hashlib
import os
import subprocess

import grpc

from harness import Code, Failure, G, Hearthd, I, N, V
from store_host import MountedState
from test_guest import BOOT_SECONDS, GuestTest

MIB = 1 << 20


def make_file_system(path, mib, text):
    """An ext4 with one file, "word", that says @text."""
    folder = path.parent / (path.name + ".content")
    folder.mkdir()
    (folder / "word").write_text(text)
    with open(path, "wb") as image:
        image.truncate(mib * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-d", str(folder), str(path)], check=True,
                   stdin=subprocess.DEVNULL)


class DisksTest(GuestTest):
    def setUp(self):
        super().setUp()
        self.image = self.daemon.folder / (self.new_id() + ".img")
        make_file_system(self.image, 16, "as in the template")
        self.template_id = self.new_id()
        list(self.daemon.images.ImportTemplate(
            I.ImportTemplateRequest(template_id=self.template_id, path=str(self.image)),
            timeout=60))

    def boot_on(self, template_id, **drive):
        vm = self.boot(guest_agent=V.GUEST_AGENT_REQUIRED,
                       drives=[V.Drive(drive_id="data", template_id=template_id, **drive)])
        return self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, condition="Ready"),
                               timeout=BOOT_SECONDS)

    def sh(self, vm, script):
        answer = self.daemon.client.guest.Run(
            G.RunRequest(vm_id=vm.vm_id, command=["sh", "-c", script]), timeout=BOOT_SECONDS)
        self.assertEqual(0, answer.exit_code, answer)
        return answer.output.decode()

    def mount(self, vm):
        self.sh(vm, "mkdir -p /data && mount -t ext4 /dev/vda /data")

    def test_each_has_its_own_copy_and_keeps_it(self):
        one, other = (self.boot_on(self.template_id) for _ in range(2))
        for vm in one, other:
            self.mount(vm)
        self.assertEqual("as in the template", self.sh(one, "cat /data/word"))

        self.sh(one, "echo mine > /data/word; sync; umount /data")
        self.assertEqual("as in the template", self.sh(other, "cat /data/word"))

        self.vms.StopVm(V.StopVmRequest(vm_id=one.vm_id), timeout=60)
        self.daemon.restart()
        self.vms.StartVm(V.StartVmRequest(vm_id=one.vm_id, return_when=V.RETURN_WHEN_READY),
                         timeout=BOOT_SECONDS)
        self.mount(one)
        self.assertEqual("mine\n", self.sh(one, "cat /data/word"))
        digest = hashlib.sha256(self.image.read_bytes()).hexdigest()
        self.assertEqual(digest, self.daemon.images.GetTemplate(
            I.GetTemplateRequest(template_id=self.template_id), timeout=20).sha256)
        run_dir = self.daemon.run_dir(one)
        self.destroy(one.vm_id)
        self.assertFalse(run_dir.exists())

    def test_a_file_system_fills_a_larger_disk(self):
        vm = self.boot_on(self.template_id, size_mib=64)
        self.mount(vm)

        blocks = int(self.sh(vm, "df -k /data | tail -1 | awk '{print $2}'"))

        self.assertGreater(blocks, 48 * 1024)
        self.assertEqual("as in the template", self.sh(vm, "cat /data/word"))

    def test_one_that_is_gone_is_not_made_again(self):
        vm = self.boot_on(self.template_id)
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=60)
        (disk,) = self.daemon.run_dir(vm).glob("disk-*")
        disk.unlink()

        with self.assertRaises(grpc.RpcError) as caught:
            self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=60)

        failure = Failure(caught.exception)
        self.assertEqual((Code.NOT_FOUND, "ROOTFS"), (failure.code, failure.reason))
        image_ready = [condition for condition in self.get(vm.vm_id).status.conditions
                       if condition.type == "ImageReady"]
        self.assertEqual(V.CONDITION_STATUS_FALSE, image_ready[0].status)

    def test_a_drive_that_is_taken_away_goes_with_the_next_start(self):
        vm = self.create(boot=self.boot_spec(), desired_state=V.DESIRED_STATE_RUNNING,
                         drives=[V.Drive(drive_id="data", template_id=self.template_id)],
                         timeout=BOOT_SECONDS)
        self.addCleanup(self.destroy, vm.vm_id)
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, terminate_timeout={"seconds": 0}),
                        timeout=60)
        request = V.UpdateVmRequest(vm_id=vm.vm_id, spec=V.VmSpec())
        request.update_mask.paths.append("drives")
        self.vms.UpdateVm(request, timeout=20)

        self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=BOOT_SECONDS)

        self.assertEqual([], list(self.daemon.run_dir(vm).glob("disk-*")))
        self.assertEqual([], list(self.get(vm.vm_id).status.resolved.disks))

    def test_what_a_drive_is_made_of_cannot_change(self):
        vm = self.create(drives=[V.Drive(drive_id="data", template_id=self.template_id)],
                         boot=self.boot_spec())
        self.addCleanup(self.destroy, vm.vm_id)
        request = V.UpdateVmRequest(vm_id=vm.vm_id, spec=V.VmSpec(drives=[
            V.Drive(drive_id="data", template_id=self.template_id, size_mib=64)]))
        request.update_mask.paths.append("drives")

        with self.assertRaises(grpc.RpcError) as caught:
            self.vms.UpdateVm(request, timeout=20)

        self.assertIn("spec.drives[0].template_id", Failure(caught.exception).violations)


class ReflinkTest(GuestTest):
    def test_on_xfs_a_copy_takes_nothing(self):
        mounted = MountedState(self, "xfs", mib=512, daemon=Hearthd(backend="qemu"))
        daemon = mounted.daemon
        daemon.start()
        image = daemon.folder / "large.img"
        image.write_bytes(os.urandom(64 * MIB))
        list(daemon.images.ImportTemplate(
            I.ImportTemplateRequest(template_id="large", path=str(image)), timeout=60))
        state = "/proc/%d/root%s" % (daemon.pid, daemon.state)
        before = os.statvfs(state).f_bavail

        for number in range(8):
            daemon.vms.CreateVm(V.CreateVmRequest(
                vm_id="vm-%d" % number, spec=V.VmSpec(
                    boot=self.boot_spec(), desired_state=V.DESIRED_STATE_PAUSED,
                    drives=[V.Drive(drive_id="data", template_id="large")])), timeout=BOOT_SECONDS)

        used = (before - os.statvfs(state).f_bavail) * os.statvfs(state).f_bsize
        self.assertLess(used, 32 * MIB)
        checks = {check.name: check for check in
                  daemon.node.Doctor(N.DoctorRequest(), timeout=60).checks}
        self.assertEqual(N.CHECK_STATUS_OK, checks["templates"].status, checks["templates"])
