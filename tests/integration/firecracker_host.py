# SPDX-License-Identifier: Apache-2.0
"""A hearthd whose VMs run on the real Firecracker, with tests/guest as the guest.

Firecracker is in no package: FIRECRACKER_BIN names it, or it is on PATH. So it is with its jailer and
JAILER_BIN.
"""

import os
import pathlib
import shutil
import tempfile
import unittest

from harness import PROGRAMS, DaemonTest, N, V, wait_until
from leaks import Leaks, remove_groups

FIRECRACKER = os.environ.get("FIRECRACKER_BIN") or shutil.which("firecracker")
JAILER = os.environ.get("JAILER_BIN") or shutil.which("jailer")
KERNEL = PROGRAMS.parent / "guest/guest64.elf"
BOOT_SECONDS = 60


class Host(DaemonTest):
    """A hearthd with Firecracker, and the look at the host after its last VM."""

    backend = "firecracker"
    jail = ()

    @classmethod
    def flags_of(cls, cgroup):
        return ("--firecracker-binary", FIRECRACKER, *cls.jail, "--jailer-cgroup", cgroup,
                "--capacity-cpu-percent", "0")

    @classmethod
    def setUpClass(cls):
        cls.cgroup = "hearth-test-%d-%s" % (os.getpid(), cls.__name__.lower())
        cls.flags = cls.flags_of(cls.cgroup)
        cls.addClassCleanup(remove_groups, cls.cgroup)
        super().setUpClass()
        cls.leaks = Leaks(cls.daemon, cls.cgroup)
        checks = cls.daemon.node.Doctor(N.DoctorRequest(), timeout=60).checks
        check = next(check for check in checks if check.name == "firecracker")
        if check.status != N.CHECK_STATUS_OK:
            raise unittest.SkipTest(check.message)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.destroy_all()
        cls.leaks.check()
        super().tearDownClass()

    def request(self, vm_id, args, memory_mib=16, **spec):
        """Of a VM that is to run."""
        return V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            machine=V.Machine(memory_mib=memory_mib), desired_state=V.DESIRED_STATE_RUNNING,
            boot=V.Boot(kernel_path=str(KERNEL), boot_args=args), **spec))

    def new_vm_id(self):
        """Of a VM that will not outlive the test."""
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)
        return vm_id

    def boot(self, args, **spec):
        vm_id = self.new_vm_id()
        return self.vms.CreateVm(self.request(vm_id, args, **spec), timeout=BOOT_SECONDS)

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

    def metrics(self, vm, **more):
        return self.vms.GetVmMetrics(V.GetVmMetricsRequest(vm_id=vm.vm_id, **more), timeout=30)

    def folder(self):
        return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def disk(self, folder, name, size=65536):
        path = folder / name
        path.write_bytes(bytes(size))
        return str(path)

    def balloon_of(self, vm):
        return self.vms.GetVmMetrics(V.GetVmMetricsRequest(vm_id=vm.vm_id), timeout=30).balloon

    def has_open(self, vm, path):
        fds = pathlib.Path("/proc/%d/fd" % vm.status.resolved.vmm_pid)
        # By file: in a jail it goes by another name.
        return any(os.path.samefile(fd, path) for fd in fds.iterdir() if fd.exists())
