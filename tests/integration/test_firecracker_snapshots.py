# SPDX-License-Identifier: Apache-2.0
"""Snapshots by the real Firecracker, through the API: a guest that looks at every page of its memory
goes on where it was."""

import json
import os
import re
import signal
import unittest

import grpc

from firecracker_host import BOOT_SECONDS, FIRECRACKER, JAILER, Host
from harness import Code, Failure, S, V, wait_until

ROUND = re.compile(r"guest: round (\d+) bad (\d+)\r?\n")
MIB = 8


@unittest.skipUnless(FIRECRACKER and JAILER, "no firecracker and jailer on PATH")
class SnapshotTest(Host):
    jail = ("--jailer-binary", JAILER)

    def take(self, vm, snapshot_id="warm", **fields):
        snapshot = self.daemon.snapshots.CreateSnapshot(
            S.CreateSnapshotRequest(vm_id=vm.vm_id, snapshot_id=snapshot_id, **fields),
            timeout=BOOT_SECONDS)
        self.addCleanup(self.forget, vm.vm_id, snapshot_id)
        return snapshot

    def forget(self, vm_id, snapshot_id):
        self.daemon.snapshots.DeleteSnapshot(S.DeleteSnapshotRequest(
            vm_id=vm_id, snapshot_id=snapshot_id, allow_missing=True), timeout=20)

    def restore(self, vm, snapshot_id="warm", desired=V.DESIRED_STATE_RUNNING,
                memory=V.MEMORY_BACKEND_UNSPECIFIED):
        vm_id = self.new_vm_id()
        return self.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=desired, restore_from=V.RestoreFrom(
                vm_id=vm.vm_id, snapshot_id=snapshot_id, allow_shared_identity=True,
                memory_backend=memory))), timeout=BOOT_SECONDS)

    def rounds(self, vm):
        found = ROUND.findall(self.console(vm))
        self.assertEqual([], [pair for pair in found if pair[1] != "0"])
        return [int(number) for number, _ in found]

    def later_round(self, vm, than):
        return wait_until(lambda: max(self.rounds(vm), default=-1) > than and
                          max(self.rounds(vm)), "a later round of %s" % vm.vm_id, 60)

    def test_a_clone_goes_on_with_every_page(self):
        vm = self.boot("check=%d" % MIB)
        self.later_round(vm, 1)
        self.take(vm, then=S.SNAPSHOT_THEN_PAUSE)
        at = max(self.rounds(vm))

        clones = [self.restore(vm) for _ in range(2)]

        for clone in clones:
            self.assertEqual(V.VM_STATE_RUNNING, clone.status.state)
            self.assertGreaterEqual(min(self.rounds(clone) or [self.later_round(clone, 0)]), at)
            self.later_round(clone, at + 1)
        self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=30)
        self.later_round(vm, at + 1)

    def test_memory_comes_page_by_page_and_from_a_pager_that_dies(self):
        vm = self.boot("check=%d" % MIB)
        self.later_round(vm, 1)
        self.take(vm, then=S.SNAPSHOT_THEN_PAUSE)
        at = max(self.rounds(vm))

        first = self.restore(vm, memory=V.MEMORY_BACKEND_USERFAULTFD)
        state = json.loads((self.daemon.run_dir(first) / "keeper.json").read_text())
        os.kill(state["pager"]["pid"], signal.SIGKILL)
        self.later_round(first, at + 1)
        counted = {metric.name: metric.value for metric in self.metrics(first).metrics}
        self.assertGreater(counted["pager.faults"], 0)
        self.destroy(first.vm_id)

        second = self.restore(vm, memory=V.MEMORY_BACKEND_USERFAULTFD)
        self.later_round(second, at + 1)
        self.daemon.restart()
        self.later_round(second, max(self.rounds(second)))

    def test_disks_and_interfaces_are_the_clones_own(self):
        folder = self.folder()
        path = self.disk(folder, "data")
        vm = self.boot("exit=loop", drives=[V.Drive(drive_id="data", path=path)],
                       network_interfaces=[V.NetworkInterface(interface_id="eth0")])
        self.take(vm)
        clone = self.restore(vm)

        self.assertTrue(clone.spec.drives[0].from_snapshot)
        self.assertFalse(self.has_open(clone, path))
        (disk,) = self.daemon.run_dir(clone).glob("disk-*")
        self.assertTrue(self.has_open(clone, str(disk)))
        self.assertNotEqual(vm.status.resolved.network_interfaces[0].host_device,
                            clone.status.resolved.network_interfaces[0].host_device)
        self.grows(clone)

        again = self.take(clone, "second")
        self.assertEqual({"memory", "state", "disk-data"}, {file.name for file in again.files})
        self.destroy(vm.vm_id)
        self.grows(self.restore(clone, "second"))

    def test_restored_paused_it_stands_still(self):
        vm = self.boot("check=%d" % MIB)
        self.later_round(vm, 0)
        self.take(vm)
        clone = self.restore(vm, desired=V.DESIRED_STATE_PAUSED)

        self.assertEqual(V.VM_STATE_PAUSED, clone.status.state)
        self.assertEqual([], self.rounds(clone))
        self.vms.ResumeVm(V.ResumeVmRequest(vm_id=clone.vm_id), timeout=30)
        self.later_round(clone, 0)

    def test_a_flipped_bit_is_found_before_a_vm_starts(self):
        vm = self.boot("exit=loop")
        self.take(vm)
        memory = self.daemon.state / "snapshots" / vm.vm_id / "warm" / "memory"
        os.chmod(memory, 0o600)
        with open(memory, "r+b") as file:
            file.seek(5 << 20)
            byte = file.read(1)[0]
            file.seek(5 << 20)
            file.write(bytes([byte ^ 16]))

        with self.assertRaises(grpc.RpcError) as caught:
            self.restore(vm)

        failure = Failure(caught.exception)
        self.assertEqual((Code.DATA_LOSS, "SNAPSHOT_FAILED"), (failure.code, failure.reason))
        self.assertEqual("warm", failure.metadata["snapshot_id"])

    def test_what_a_dead_agent_was_taking_is_gone_and_the_vm_goes_on(self):
        vm = self.boot("check=%d" % MIB, memory_mib=128)
        self.later_round(vm, 0)
        call = self.daemon.snapshots.CreateSnapshot.future(
            S.CreateSnapshotRequest(vm_id=vm.vm_id, snapshot_id="lost"), timeout=BOOT_SECONDS)
        wait_until(lambda: [path for path in (self.daemon.state / "snapshots").glob(".*")
                            if path.is_dir()], "it is begun")
        self.daemon.restart()
        call.cancel()

        state = self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, states=[V.VM_STATE_RUNNING]),
                                timeout=BOOT_SECONDS).status.state
        self.assertEqual(V.VM_STATE_RUNNING, state)
        self.later_round(vm, max(self.rounds(vm)))
        listed = self.daemon.snapshots.ListSnapshots(S.ListSnapshotsRequest(), timeout=20)
        self.assertEqual([], list(listed.snapshots))
        self.take(vm)


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH")
class UnjailedTest(Host):
    jail = ("--jailer-mode", "off")

    def test_without_a_jail_there_are_none(self):
        vm = self.boot("exit=loop")

        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.snapshots.CreateSnapshot(
                S.CreateSnapshotRequest(vm_id=vm.vm_id, snapshot_id="warm"), timeout=BOOT_SECONDS)

        self.assertEqual(Code.UNIMPLEMENTED, caught.exception.code())
        self.assertEqual(V.VM_STATE_RUNNING, self.get(vm.vm_id).status.state)
        self.grows(vm)


if __name__ == "__main__":
    unittest.main()
