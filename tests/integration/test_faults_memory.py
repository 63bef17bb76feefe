# SPDX-License-Identifier: Apache-2.0
"""hearthd runs out of memory, threads or processes.

Without memory it ends at once (base/cleanup.h): whoever supervises it starts it again, and nothing of
what it had answered is lost. Without threads and processes it goes on with those it has.
"""

import concurrent.futures
import contextlib
import mmap
import os
import pathlib
import signal
import struct
import tempfile
import time
import unittest

import grpc

from firecracker_host import BOOT_SECONDS, FIRECRACKER, Host
from harness import PROGRAMS, Code, N, V, process_alive, wait_until
from leaks import CGROUPS

PRELOAD = PROGRAMS / "failing-malloc.so"


@unittest.skipUnless(FIRECRACKER, "no firecracker: set FIRECRACKER_BIN")
@unittest.skipUnless(PRELOAD.exists(), "no failing-malloc.so: a build with sanitizers has none")
class NoMemoryTest(Host):
    jail = ("--jailer-mode", "off")

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        control = folder / "control"
        control.write_bytes(bytes(16))
        with open(control, "r+b") as shared:
            cls.control = mmap.mmap(shared.fileno(), 16)
        cls.prefix = ("env", "LD_PRELOAD=%s" % PRELOAD, "FAILING_MALLOC=%s" % control)
        super().setUpClass()

    def fail_at(self, nth):
        """The nth allocation from now on fails."""
        self.control[:16] = struct.pack("qq", nth, 0)

    def has_failed(self):
        return struct.unpack("qq", self.control[:16])[1] > 0

    def has_ended(self):
        """Or is about to: a core dump takes its time."""
        try:
            self.node.GetNode(N.GetNodeRequest(), timeout=20)
        except grpc.RpcError:
            self.daemon.process.wait(60)
        return self.daemon.process.poll() is not None

    def work(self, number, answered):
        """A VM in memory, from its creation to where it is left."""
        client = self.daemon.connect()
        for i in range(1000):
            vm_id = "memory-%d-%d" % (number, i)
            try:
                client.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
                    backend=V.BACKEND_IN_MEMORY, desired_state=V.DESIRED_STATE_RUNNING,
                    labels={"some": "text"})), timeout=10)
                answered[vm_id] = V.VM_STATE_RUNNING
                client.vms.ListVms(V.ListVmsRequest(page_size=100), timeout=10)
                del answered[vm_id]  # anything may be true until it is answered
                client.vms.StopVm(V.StopVmRequest(vm_id=vm_id), timeout=10)
                answered[vm_id] = V.VM_STATE_STOPPED
            except grpc.RpcError:
                return
            if self.has_failed():
                return

    def test_it_ends_and_nothing_that_was_answered_is_lost(self):
        vm = self.boot("exit=loop")
        aborts = 0
        answered = {}
        for number, nth in enumerate((1, 2, 3, 5, 8, 13, 40, 100, 250, 600, 1500, 4000)):
            with self.subTest(nth=nth):
                self.fail_at(nth)
                self.work(number, answered)
                self.assertTrue(self.has_failed())
                # Some of the libraries get by, and say so to whoever asked.
                if self.has_ended():
                    self.assertEqual(-signal.SIGABRT, self.daemon.process.returncode)
                    aborts += 1
                    self.daemon.start()
                for vm_id, state in answered.items():
                    self.assertEqual(state, self.get(vm_id).status.state, vm_id)
                now = self.get(vm.vm_id)
                self.assertEqual(V.VM_STATE_RUNNING, now.status.state)
                self.assertEqual(vm.status.resolved.vmm_pid, now.status.resolved.vmm_pid)
        self.assertGreater(aborts, 4)
        self.grows(vm)

    def test_a_start_in_which_it_ends_is_carried_on(self):
        kernel = self.request("", "").spec.boot.kernel_path
        for nth in (20, 60, 150, 300):
            with self.subTest(nth=nth):
                vm = self.create(self.new_vm_id(), desired_state=V.DESIRED_STATE_STOPPED,
                                 machine=V.Machine(memory_mib=16),
                                 boot=V.Boot(kernel_path=kernel, boot_args="exit=loop"))
                self.fail_at(nth)
                with contextlib.suppress(grpc.RpcError):
                    self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=BOOT_SECONDS)
                self.fail_at(0)
                if self.has_ended():
                    self.daemon.start()
                rest = self.wait_state(vm.vm_id, V.VM_STATE_CREATED, V.VM_STATE_RUNNING,
                                       V.VM_STATE_FAILED)
                if rest.status.state == V.VM_STATE_RUNNING:
                    self.grows(rest)
                self.destroy(vm.vm_id)


def pids_group():
    """A control group of processes; None where there can be none."""
    for top in CGROUPS / "pids", CGROUPS:
        group = top / ("hearth-test-%d-pids" % os.getpid())
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / "pids.max").exists():
                return group
            group.rmdir()
    return None


@unittest.skipUnless(FIRECRACKER, "no firecracker: set FIRECRACKER_BIN")
class NoProcessesTest(Host):
    jail = ("--jailer-mode", "off")

    @classmethod
    def setUpClass(cls):
        cls.group = pids_group()
        if not cls.group:
            raise unittest.SkipTest("no control group of processes can be made")
        cls.addClassCleanup(cls.remove_group)
        cls.prefix = ("sh", "-c", 'echo $$ >%s/cgroup.procs; exec "$@"' % cls.group, "sh")
        super().setUpClass()

    @classmethod
    def remove_group(cls):
        wait_until(lambda: not (cls.group / "cgroup.procs").read_text(), "all have ended")
        cls.group.rmdir()

    def limit(self, value):
        (self.group / "pids.max").write_text(value)

    def no_more(self):
        """Neither threads nor processes, and as few of them as there can be."""
        self.addCleanup(self.limit, "max")
        time.sleep(12)  # threads that have nothing to do go after ten seconds
        self.limit((self.group / "pids.current").read_text().strip())

    def test_what_needs_none_goes_on(self):
        stopped, destroyed, asked = (self.boot("exit=loop") for _ in range(3))
        self.no_more()

        request = self.request(self.new_vm_id(), "exit=loop")
        failure = self.refused(self.vms.CreateVm, request, Code.RESOURCE_EXHAUSTED, "VMM_FAILED",
                               timeout=BOOT_SECONDS)
        self.assertEqual("EXHAUSTED", failure.metadata["cause"])
        self.assertIn("Resource temporarily unavailable", failure.message)
        self.assertEqual(V.VM_STATE_FAILED, self.get(request.vm_id).status.state)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for _ in pool.map(self.metrics, [asked] * 16):
                pass
            in_memory = list(pool.map(lambda _: self.create(
                backend=V.BACKEND_IN_MEMORY, desired_state=V.DESIRED_STATE_RUNNING), range(32)))
            for vm in pool.map(lambda vm: self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id),
                                                          timeout=60), in_memory):
                self.assertEqual(V.VM_STATE_STOPPED, vm.status.state)
        ended = self.vms.StopVm(V.StopVmRequest(vm_id=stopped.vm_id, force=True), timeout=60)
        self.assertEqual(V.VM_STATE_STOPPED, ended.status.state)
        self.destroy(destroyed.vm_id)
        self.assertFalse(process_alive(destroyed.status.resolved.vmm_pid))
        checks = {check.name: check for check in
                  self.node.Doctor(N.DoctorRequest(), timeout=60).checks}
        self.assertEqual(N.CHECK_STATUS_MISSING, checks["launcher"].status)
        self.assertIn("Resource temporarily unavailable", checks["launcher"].message)

        self.limit("max")
        started = self.vms.StartVm(V.StartVmRequest(vm_id=request.vm_id), timeout=BOOT_SECONDS)
        self.assertEqual(V.VM_STATE_RUNNING, started.status.state)


if __name__ == "__main__":
    unittest.main()
