# SPDX-License-Identifier: Apache-2.0
"""The store when its disk is full, turns read-only or breaks."""

import os
import pathlib
import signal
import subprocess
import unittest

from harness import Hearthd, N, V, wait_until
from store_host import RUNNING, STOPPED, LeftBehindTest, MountedState, StoreFaultTest


class FullDiskTest(StoreFaultTest):
    """With nothing left, what makes room still works, and all else when there is room again."""

    def life_on_a_full_disk(self, kind):
        mounted = MountedState(self, kind)
        daemon = mounted.daemon.start()
        for i in range(8):
            self.running(daemon, "vm-%d" % i)
        daemon.node.Cordon(N.CordonRequest(owner="old", reason="r"), timeout=20)
        daemon.node.Uncordon(N.UncordonRequest(owner="old"), timeout=20)
        self.assertTrue(self.writable(daemon))

        mounted.fill()
        spare = self.use_up_spare_room(daemon)

        self.refused_for_room(daemon, lambda: self.create(daemon, "new"))
        self.refused_for_room(daemon, lambda: daemon.vms.PauseVm(
            V.PauseVmRequest(vm_id="vm-0"), timeout=20))
        self.assertEqual(RUNNING, self.state(daemon, "vm-0"))
        self.assertFalse(self.writable(daemon))
        self.assertIn("cannot grow", self.condition(daemon).message)
        check = self.check(daemon)
        self.assertIn("cannot grow", check.message)
        self.assertIn("free space", check.remedy)
        self.assertEqual(STOPPED, self.stop(daemon, "vm-0"))
        self.destroy(daemon, "vm-1")
        daemon.node.Cordon(N.CordonRequest(owner="ops", reason="full"), timeout=20)
        daemon.node.Uncordon(N.UncordonRequest(owner="ops"), timeout=20)
        for i in range(min(spare, 200)):
            self.destroy(daemon, "spare-%d" % i)

        daemon.kill()
        daemon.start()
        self.assertEqual(STOPPED, self.state(daemon, "vm-0"))
        self.assertEqual(RUNNING, self.state(daemon, "vm-2"))
        self.assertEqual("VM_NOT_FOUND",
                         self.failure(lambda: self.state(daemon, "vm-1")).reason)
        self.assertEqual(STOPPED, self.stop(daemon, "vm-2"))
        self.destroy(daemon, "vm-0")
        self.assertEqual(0, daemon.terminate())
        mounted.fill()
        daemon.start()
        self.assertEqual(STOPPED, self.state(daemon, "vm-2"))
        self.assertEqual(STOPPED, self.stop(daemon, "vm-3"))
        self.destroy(daemon, "vm-2")

        mounted.free()
        wait_until(lambda: self.writable(daemon), "the store is whole again")
        self.running(daemon, "new")
        self.assertEqual(STOPPED, self.state(daemon, "vm-3"))
        self.assertEqual("the last write succeeded", self.check(daemon).message)
        daemon.restart()
        self.assertEqual(RUNNING, self.state(daemon, "new"))

    def test_stop_and_destroy_work_on_a_full_ext4(self):
        self.life_on_a_full_disk("ext4")

    def test_stop_and_destroy_work_on_a_full_tmpfs(self):
        self.life_on_a_full_disk("tmpfs")

    def test_nobody_else_gets_the_reserve_however_hungry(self):
        mounted = MountedState(self, "ext4")
        daemon = mounted.daemon.start()
        for i in range(200):
            self.create(daemon, "vm-%d" % i)
        mounted.fill()
        self.use_up_spare_room(daemon)
        eater = subprocess.Popen(
            ["sh", "-c", "while :; do head -c 65536 /dev/zero >> '%s/hog'; done" % mounted.path],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(eater.wait)
        self.addCleanup(eater.kill)

        for i in range(200):
            self.destroy(daemon, "vm-%d" % i)
        daemon.restart()
        self.destroy(daemon, "spare-0")

        self.refused_for_room(daemon, lambda: self.create(daemon, "new"))

    def test_a_limit_of_file_sizes_is_a_full_disk(self):
        daemon = Hearthd()
        self.addCleanup(daemon.close)
        daemon.start()
        self.running(daemon, "vm-1")
        self.assertEqual(0, daemon.terminate())
        size = (daemon.state / "hearth.db").stat().st_size
        daemon.prefix = ["prlimit", "--fsize=%d:" % size]
        daemon.start()
        self.use_up_spare_room(daemon)

        self.refused_for_room(daemon, lambda: self.create(daemon, "new"))
        self.assertEqual(STOPPED, self.stop(daemon, "vm-1"))
        self.destroy(daemon, "spare-0")

        subprocess.run(["prlimit", "--pid", str(daemon.pid), "--fsize=unlimited:"], check=True)
        wait_until(lambda: self.writable(daemon), "the store is whole again")
        self.create(daemon, "new")

    def test_thousands_of_destroys_live_on_the_reserve(self):
        mounted = MountedState(self, "tmpfs", mib=96)
        daemon = mounted.daemon.start()
        for i in range(3000):
            self.create(daemon, "vm-%d" % i)
        mounted.fill()
        spare = self.use_up_spare_room(daemon)

        for i in range(spare):
            self.destroy(daemon, "spare-%d" % i)
        for i in range(3000):
            self.destroy(daemon, "vm-%d" % i)

        self.assertEqual(0, len(daemon.vms.ListVms(V.ListVmsRequest(), timeout=20).vms))
        daemon.restart()
        self.assertEqual(0, len(daemon.vms.ListVms(V.ListVmsRequest(), timeout=20).vms))


class ReadOnlyTest(StoreFaultTest):
    def test_one_that_turns_read_only_is_said_and_reads_are_served(self):
        mounted = MountedState(self, "ext4")
        daemon = mounted.daemon.start()
        self.running(daemon, "vm-1")
        mounts = pathlib.Path("/proc/%d/mounts" % mounted.holder.pid).read_text().splitlines()
        device = next(line.split()[0] for line in mounts if line.split()[1] == str(daemon.state))

        pathlib.Path("/sys/fs/ext4/%s/trigger_fs_error" % device.split("/")[-1]).write_text("1")

        failure = self.failure(lambda: self.create(daemon, "new"))
        self.assertEqual("STORE", failure.reason)
        self.assertIn(str(daemon.state), failure.message)
        self.assertEqual(RUNNING, self.state(daemon, "vm-1"))
        self.assertEqual(1, len(daemon.vms.ListVms(V.ListVmsRequest(), timeout=20).vms))
        self.assertFalse(self.writable(daemon))
        self.assertIn("read-only", self.check(daemon).remedy)

    def test_one_that_is_read_only_at_the_start_is_refused_by_name(self):
        mounted = MountedState(self, "ext4")
        daemon = mounted.daemon.start()
        self.running(daemon, "vm-1")
        self.assertEqual(0, daemon.terminate())
        remount = [*daemon.prefix, "mount", "-o", "remount,%s", str(daemon.state)]
        subprocess.run([word.replace("%s", "ro") for word in remount], check=True)

        result = subprocess.run(daemon.command(), stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, timeout=60)

        self.assertNotEqual(0, result.returncode)
        self.assertIn("%s/lock" % daemon.state, result.stderr + result.stdout)
        self.assertIn("Read-only file system", result.stderr + result.stdout)
        subprocess.run([word.replace("%s", "rw") for word in remount], check=True)
        daemon.start()
        self.assertEqual(RUNNING, self.state(daemon, "vm-1"))


class FullHostTest(LeftBehindTest):
    """VMs of Firecracker whose run directories and jails are on the full disk."""

    def test_a_vm_is_stopped_and_destroyed_on_a_full_disk(self):
        # Each jail has a copy of Firecracker, however large that is.
        mounted = MountedState(self, "ext4", mib=128, daemon=self.daemon)
        daemon = self.daemon.start()
        for vm_id in ("stops", "goes", "stays", "left"):
            self.boot(vm_id)
        pid = daemon.vms.GetVm(V.GetVmRequest(vm_id="left"), timeout=20).status.resolved.vmm_pid
        mounted.fill()
        self.use_up_spare_room(daemon)

        self.assertEqual(STOPPED, self.stop(daemon, "stops"))
        self.destroy(daemon, "goes")
        mounted.fill()  # their jails were on it
        self.use_up_spare_room(daemon, "more")
        self.refused_for_room(daemon, lambda: daemon.vms.StartVm(
            V.StartVmRequest(vm_id="stops"), timeout=20))
        os.kill(pid, signal.SIGKILL)
        vm = daemon.vms.WaitVm(V.WaitVmRequest(vm_id="left", states=[V.VM_STATE_FAILED]),
                               timeout=30)
        self.assertEqual(V.EXIT_REASON_VMM_SIGNAL, vm.status.last_exit.reason)
        daemon.restart()
        self.assertEqual(RUNNING, self.state(daemon, "stays"))
        self.assertEqual(STOPPED, self.stop(daemon, "stays"))
        self.destroy(daemon, "stops")
        mounted.free()
        wait_until(lambda: self.writable(daemon), "the store is whole again")
        vm = daemon.vms.StartVm(V.StartVmRequest(vm_id="stays"), timeout=60)
        self.assertEqual(RUNNING, vm.status.state)


if __name__ == "__main__":
    unittest.main()
