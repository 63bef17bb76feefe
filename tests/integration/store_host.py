# SPDX-License-Identifier: Apache-2.0
"""What tests of the store share: a state directory on a disk of its own, and VMs left behind."""

import contextlib
import os
import pathlib
import subprocess
import unittest

import grpc

from firecracker_host import FIRECRACKER, JAILER, KERNEL
from harness import Code, Failure, Hearthd, N, V
from leaks import remove_groups

RUNNING, STOPPED = V.VM_STATE_RUNNING, V.VM_STATE_STOPPED


class MountedState:
    """A hearthd whose state directory is a file system of its own, in a mount namespace that goes
    with the test."""

    def __init__(self, case, kind, mib=64, daemon=None):
        self.daemon = daemon or Hearthd()
        case.addCleanup(self.daemon.close)
        self.image = self.daemon.folder / "disk.img"
        self.daemon.state.mkdir()
        mount = "mount -t tmpfs -o size=%dm tmpfs '%s'" % (mib, self.daemon.state)
        makers = {"ext4": (["mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard"], "errors=remount-ro"),
                  "xfs": (["mkfs.xfs", "-q"], "nouuid")}
        if kind in makers:
            make, options = makers[kind]
            with open(self.image, "wb") as image:
                image.truncate(mib << 20)
            subprocess.run([*make, str(self.image)], check=True, stdin=subprocess.DEVNULL)
            mount = "mount -o loop,%s '%s' '%s'" % (options, self.image, self.daemon.state)
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-ec", mount + "; echo mounted; exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        case.addCleanup(self.release)
        assert self.holder.stdout.readline() == "mounted\n", "cannot mount " + kind
        self.daemon.prefix = ["nsenter", "-m", "-t", str(self.holder.pid)]
        self.path = pathlib.Path("/proc/%d/root%s" % (self.holder.pid, self.daemon.state))

    def release(self):
        self.daemon.close()
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def fill(self):
        """To the last byte."""
        with open(self.path / "hog", "ab", buffering=0) as hog:
            for size in (1 << 20, 1 << 12, 1 << 9, 1):
                with contextlib.suppress(OSError):
                    while True:
                        hog.write(b"x" * size)
            with contextlib.suppress(OSError):
                os.fsync(hog.fileno())

    def free(self):
        (self.path / "hog").unlink()


class StoreFaultTest(unittest.TestCase):
    def create(self, daemon, vm_id, timeout=20, **spec):
        return daemon.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(**spec)),
                                   timeout=timeout)

    def running(self, daemon, vm_id):
        return self.create(daemon, vm_id, desired_state=V.DESIRED_STATE_RUNNING)

    def state(self, daemon, vm_id):
        return daemon.vms.GetVm(V.GetVmRequest(vm_id=vm_id), timeout=20).status.state

    def stop(self, daemon, vm_id):
        return daemon.vms.StopVm(V.StopVmRequest(vm_id=vm_id, force=True),
                                 timeout=20).status.state

    def destroy(self, daemon, vm_id):
        return daemon.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm_id), timeout=20)

    def failure(self, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        return Failure(caught.exception)

    def condition(self, daemon, kind="StoreWritable"):
        node = daemon.node.GetNode(N.GetNodeRequest(), timeout=20)
        return next(c for c in node.status.conditions if c.type == kind)

    def check(self, daemon, name="store"):
        answer = daemon.node.Doctor(N.DoctorRequest(), timeout=60)
        return next(check for check in answer.checks if check.name == name)

    def writable(self, daemon):
        return self.condition(daemon).status == V.CONDITION_STATUS_TRUE

    def refused_for_room(self, daemon, call):
        failure = self.failure(call)
        self.assertEqual(Code.RESOURCE_EXHAUSTED, failure.code, failure)
        self.assertEqual("STORE", failure.reason)
        self.assertEqual("EXHAUSTED", failure.metadata["cause"])
        self.assertIn("MiB are needed", failure.message)
        self.assertIn(str(daemon.state), failure.message)

    def use_up_spare_room(self, daemon, name="spare"):
        """A little is left over for creates between two enlargements: until it is gone."""
        for i in range(5000):
            try:
                self.create(daemon, "%s-%d" % (name, i), backend=V.BACKEND_IN_MEMORY)
            except grpc.RpcError:
                return i
        raise AssertionError("5000 creates fitted on a full disk")


@unittest.skipUnless(FIRECRACKER and JAILER, "Firecracker and its jailer are not installed")
class LeftBehindTest(StoreFaultTest):
    """VMs of Firecracker that an agent has left, for the next one."""

    def setUp(self):
        self.cgroup = "hearth-test-%d-rebuild" % os.getpid()
        self.addCleanup(remove_groups, self.cgroup)
        self.daemon = Hearthd("--jailer-cgroup", self.cgroup, "--capacity-cpu-percent", "0",
                              "--capacity-reserved-disk-mib", "0",
                              backend="firecracker")
        self.addCleanup(self.daemon.close)
        self.database = self.daemon.state / "hearth.db"

    def boot(self, vm_id):
        return self.daemon.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            machine=V.Machine(memory_mib=16), desired_state=V.DESIRED_STATE_RUNNING,
            boot=V.Boot(kernel_path=str(KERNEL), boot_args="exit=loop"),
            labels={"name": vm_id})), timeout=60)

    def populate(self):
        """Answers the VMs that run, as they are."""
        daemon = self.daemon.start()
        self.create(daemon, "memory", backend=V.BACKEND_IN_MEMORY)
        vms = {vm_id: self.boot(vm_id) for vm_id in ("runs", "paused", "stopped")}
        vms["paused"] = daemon.vms.PauseVm(V.PauseVmRequest(vm_id="paused"), timeout=20)
        self.stop(daemon, "stopped")
        daemon.node.Cordon(N.CordonRequest(owner="ops", reason="r"), timeout=20)
        return vms
