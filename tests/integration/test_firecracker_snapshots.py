# SPDX-License-Identifier: Apache-2.0
"""Snapshots by the real Firecracker, through the API: a guest that looks at every page of its memory
goes on where it was."""

import concurrent.futures
import json
import os
import re
import signal
import time
import unittest

import grpc

from firecracker_host import BOOT_SECONDS, FIRECRACKER, JAILER, Host
from harness import Code, Failure, S, V, wait_until

ROUND = re.compile(r"guest: round (\d+) bad (\d+)\r?\n")
MIB = 8
APART = 10  # rounds between two snapshots


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

    def boot_tracked(self, args):
        request = self.request(self.new_vm_id(), args)
        request.spec.machine.track_dirty_pages = True
        return self.vms.CreateVm(request, timeout=BOOT_SECONDS)

    def last_round(self, vm):
        """Of a VM that stands still: what it said arrives a little later."""
        def settled():
            before = self.rounds(vm)
            time.sleep(0.3)
            return before == self.rounds(vm) and before
        return max(wait_until(settled, "the console to fall silent"))

    def allocated(self, vm, snapshot_id):
        path = self.daemon.state / "snapshots" / vm.vm_id / snapshot_id / "memory"
        return path.stat().st_blocks * 512

    def test_diffs_are_restored_with_every_page_of_all_they_are_laid_over(self):
        vm = self.boot_tracked("check=2")
        at = {}
        for name, parent in (("full", ""), ("one", "full"), ("two", "one")):
            self.later_round(vm, max(self.rounds(vm), default=0) + APART)
            taken = self.take(vm, name, parent_snapshot_id=parent, then=S.SNAPSHOT_THEN_PAUSE)
            self.assertEqual(parent, taken.parent_snapshot_id)
            at[name] = self.last_round(vm)
            self.assertEqual(name, self.get(vm.vm_id).status.resolved.diff_base)
            self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=30)
        self.assertLess(self.allocated(vm, "one"), self.allocated(vm, "full") // 2)
        failure = self.refused_deletion(vm, "full")
        self.assertEqual("IN_USE", failure.reason)

        for name, memory in (("two", V.MEMORY_BACKEND_FILE), ("one", V.MEMORY_BACKEND_USERFAULTFD),
                             ("full", V.MEMORY_BACKEND_UNSPECIFIED)):
            clone = self.restore(vm, name, memory=memory)
            first = min(self.rounds(clone) or [self.later_round(clone, 0)])
            # The first lines may have been half said: those of no other snapshot.
            self.assertIn(first, range(at[name] + 1, at[name] + APART))
            self.later_round(clone, first + 1)
            self.destroy(clone.vm_id)
            self.assertEqual("", self.daemon.snapshots.GetSnapshot(S.GetSnapshotRequest(
                vm_id=vm.vm_id, snapshot_id=name), timeout=20).parent_snapshot_id)
        self.forget(vm.vm_id, "full")
        self.later_round(self.restore(vm, "two"), at["two"] + 1)

    def refused_deletion(self, vm, snapshot_id):
        with self.assertRaises(grpc.RpcError) as caught:
            self.forget(vm.vm_id, snapshot_id)
        return Failure(caught.exception)

    def test_many_go_on_from_one_diff_at_once(self):
        vm = self.boot_tracked("check=2")
        self.later_round(vm, 0)
        self.take(vm, "full")
        self.later_round(vm, max(self.rounds(vm)))
        self.take(vm, "warm", parent_snapshot_id="full", then=S.SNAPSHOT_THEN_PAUSE)
        at = max(self.rounds(vm))

        with concurrent.futures.ThreadPoolExecutor() as pool:
            clones = list(pool.map(lambda _: self.restore(vm), range(6)))

        for clone in clones:
            self.later_round(clone, at + 1)

    def test_a_diff_is_laid_over_the_last_one_of_its_run_or_nothing(self):
        plain = self.boot("exit=loop")
        self.take(plain, "full")
        self.assertIn("parent_snapshot_id", self.refused_over(plain, "full").violations)
        vm = self.boot_tracked("check=1")
        self.assertIn("parent_snapshot_id", self.refused_over(vm, "full").violations)
        self.take(vm, "full")
        self.take(vm, "second")
        self.assertIn("must be 'second'", str(self.refused_over(vm, "full").violations))
        self.daemon.restart()
        self.take(vm, "third", parent_snapshot_id="second")

        call = self.daemon.snapshots.CreateSnapshot.future(S.CreateSnapshotRequest(
            vm_id=vm.vm_id, snapshot_id="lost", parent_snapshot_id="third"), timeout=BOOT_SECONDS)
        wait_until(lambda: [path for path in (self.daemon.state / "snapshots").glob(".*")
                            if path.is_dir()], "it is begun")
        self.daemon.restart()
        call.cancel()
        self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, states=[V.VM_STATE_RUNNING]),
                        timeout=BOOT_SECONDS)
        self.assertIn("must be empty", str(self.refused_over(vm, "third").violations))

        clone = self.restore(vm, "third")
        self.assertEqual("", clone.status.resolved.diff_base)
        self.take(clone, "full")
        self.take(clone, "diff", parent_snapshot_id="full")
        self.later_round(self.restore(clone, "diff"), 0)

    def refused_over(self, vm, parent):
        with self.assertRaises(grpc.RpcError) as caught:
            self.take(vm, "refused", parent_snapshot_id=parent)
        return Failure(caught.exception)

    def test_a_bit_flipped_in_a_layer_is_found_before_a_vm_starts(self):
        vm = self.boot_tracked("exit=loop")
        self.take(vm, "full")
        self.take(vm, "warm", parent_snapshot_id="full")
        self.flip(vm, "full", 5 << 20)

        with self.assertRaises(grpc.RpcError) as caught:
            self.restore(vm)

        self.assertEqual(Code.DATA_LOSS, caught.exception.code())
        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.snapshots.FlattenSnapshot(S.FlattenSnapshotRequest(
                vm_id=vm.vm_id, snapshot_id="warm"), timeout=60)
        self.assertEqual(Code.DATA_LOSS, caught.exception.code())

    def flip(self, vm, snapshot_id, at):
        memory = self.daemon.state / "snapshots" / vm.vm_id / snapshot_id / "memory"
        os.chmod(memory, 0o600)
        with open(memory, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 16]))

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
        self.flip(vm, "warm", 5 << 20)

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
