# SPDX-License-Identifier: Apache-2.0
"""SnapshotService as a foreign client sees it, of VMs in memory."""

import os
import subprocess
import unittest

import grpc

from harness import GRPCURL, Code, DaemonTest, Failure, S, V


class SnapshotTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.snapshots = self.daemon.snapshots

    def take(self, vm_id, snapshot_id="one", **fields):
        return self.snapshots.CreateSnapshot(S.CreateSnapshotRequest(
            vm_id=vm_id, snapshot_id=snapshot_id, **fields), timeout=20)

    def get_snapshot(self, vm_id, snapshot_id="one"):
        return self.snapshots.GetSnapshot(S.GetSnapshotRequest(
            vm_id=vm_id, snapshot_id=snapshot_id), timeout=20)

    def delete(self, vm_id, snapshot_id="one", **fields):
        return self.snapshots.DeleteSnapshot(S.DeleteSnapshotRequest(
            vm_id=vm_id, snapshot_id=snapshot_id, **fields), timeout=20)

    def restore(self, vm_id, snapshot_id="one", tenant="", overrides=(), **spec):
        from_snapshot = V.RestoreFrom(vm_id=vm_id, snapshot_id=snapshot_id,
                                      allow_shared_identity=True, network_overrides=overrides)
        return self.create(restore_from=from_snapshot, tenant=tenant, **spec)

    def fails(self, call, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **fields)
        return Failure(caught.exception)

    def test_it_says_what_it_is_and_outlives_its_vm(self):
        vm = self.running(machine=V.Machine(memory_mib=256), tenant="us")
        taken = self.take(vm.vm_id, labels={"of": "today"})

        self.assertEqual(S.SNAPSHOT_STATE_READY, taken.state)
        self.assertEqual((vm.vm_id, vm.uid, "one", "us", 256), (
            taken.vm_id, taken.uid, taken.snapshot_id, taken.tenant, taken.spec.machine.memory_mib))
        self.assertEqual({"of": "today"}, dict(taken.labels))
        self.assertEqual(["state"], [file.name for file in taken.files])
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm.vm_id), timeout=20)
        self.daemon.restart()
        self.snapshots = self.daemon.snapshots
        self.assertEqual(taken, self.get_snapshot(vm.vm_id))
        listed = self.snapshots.ListSnapshots(S.ListSnapshotsRequest(tenant="us"), timeout=20)
        self.assertIn(taken, listed.snapshots)
        others = self.snapshots.ListSnapshots(S.ListSnapshotsRequest(tenant="them"), timeout=20)
        self.assertNotIn(taken, others.snapshots)

    def test_what_becomes_of_the_vm(self):
        vm = self.running()
        for then, state in ((S.SNAPSHOT_THEN_PAUSE, V.VM_STATE_PAUSED),
                            (S.SNAPSHOT_THEN_RESUME, V.VM_STATE_RUNNING),
                            (S.SNAPSHOT_THEN_STOP, V.VM_STATE_STOPPED)):
            self.take(vm.vm_id, "then-%d" % then, then=then)
            self.assertEqual(state, self.get(vm.vm_id).status.state)
        failure = self.fails(self.take, vm.vm_id, "late")
        self.assertEqual((Code.FAILED_PRECONDITION, "INVALID_TRANSITION"),
                         (failure.code, failure.reason))

    def test_again_it_is_the_same_and_another_is_refused(self):
        vm = self.running()
        first = self.take(vm.vm_id)

        self.assertEqual(first, self.take(vm.vm_id))
        failure = self.fails(self.take, vm.vm_id, labels={"a": "b"})

        self.assertEqual((Code.ALREADY_EXISTS, "SNAPSHOT_ALREADY_EXISTS"),
                         (failure.code, failure.reason))
        self.assertEqual("snapshot 'one' already exists for vm '%s'" % vm.vm_id, failure.message)
        self.assertEqual("one", failure.metadata["snapshot_id"])

    def test_what_is_missing_says_so_in_its_words(self):
        failure = self.fails(self.get_snapshot, "nobody")
        self.assertEqual((Code.NOT_FOUND, "snapshot 'one' not found for vm 'nobody'"),
                         (failure.code, failure.message))
        self.assertEqual(Code.NOT_FOUND, self.fails(self.delete, "nobody").code)
        self.delete("nobody", allow_missing=True)
        self.assertEqual("VM_NOT_FOUND", self.fails(self.take, "nobody").reason)
        failure = self.fails(self.take, "-", "Bad")
        self.assertEqual({"vm_id", "snapshot_id"}, set(failure.violations))
        failure = self.fails(self.take, "nobody", labels={"no key": "", "long": "x" * 300})
        self.assertEqual({"labels", "labels[long]"}, set(failure.violations))

    def test_a_watch_tells_what_there_is_and_what_changes(self):
        vm, other = self.running(tenant="us"), self.running(tenant="them")
        self.take(vm.vm_id, "first")
        self.take(other.vm_id, "unseen")
        watch = self.snapshots.WatchSnapshots(S.WatchSnapshotsRequest(tenant="us"), timeout=20)
        self.addCleanup(watch.cancel)
        told = self.told(watch)

        first = next(told)
        self.assertEqual([("first", V.EVENT_TYPE_INITIAL, S.SNAPSHOT_STATE_READY)], first[0])
        self.assertTrue(first[1])
        taken = self.take(vm.vm_id, "second")
        self.until(told, ("second", None, S.SNAPSHOT_STATE_READY))
        clone = self.restore(vm.vm_id, "second", tenant="us")
        users = self.until(told, ("second", V.EVENT_TYPE_MODIFIED, S.SNAPSHOT_STATE_READY))
        self.assertEqual(1, users.users)
        self.assertEqual(taken.files, users.files)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=clone.vm_id), timeout=20)
        self.delete(vm.vm_id, "second")
        gone = self.until(told, ("second", V.EVENT_TYPE_DELETED, S.SNAPSHOT_STATE_UNSPECIFIED))
        self.assertEqual((vm.vm_id, 0), (gone.vm_id, len(gone.files)))

    def test_a_watch_of_many_tells_all_of_them_in_order(self):
        vm = self.running()
        names = ["s%03d" % i for i in range(150)]
        for name in names:
            self.take(vm.vm_id, name)

        watch = self.snapshots.WatchSnapshots(S.WatchSnapshotsRequest(vm_id=vm.vm_id), timeout=20)
        self.addCleanup(watch.cancel)
        seen, done = [], False
        while not done:
            answer = next(watch)
            self.assertLessEqual(len(answer.events), 64)
            seen += [event.snapshot.snapshot_id for event in answer.events]
            done = answer.initial_done

        self.assertEqual(names, seen)
        self.assertEqual(Code.INVALID_ARGUMENT, self.fails(
            lambda: next(self.snapshots.WatchSnapshots(S.WatchSnapshotsRequest(vm_id="No"),
                                                       timeout=20))).code)

    def told(self, watch):
        """Message by message: what each event says in short, and whether all initial ones are told."""
        for answer in watch:
            self.last = {event.snapshot.snapshot_id: event.snapshot for event in answer.events}
            yield ([(event.snapshot.snapshot_id, event.type, event.snapshot.state)
                    for event in answer.events], answer.initial_done)

    def until(self, told, wanted):
        """The snapshot of the first event that is as wanted, where None is whatever it is."""
        for events, _ in told:
            self.assertNotIn("unseen", [event[0] for event in events])
            for event in events:
                if all(want in (None, have) for want, have in zip(wanted, event)):
                    return self.last[event[0]]
        self.fail("never told: %s" % (wanted,))

    def test_a_vm_goes_on_from_it(self):
        vm = self.running(machine=V.Machine(memory_mib=64, vcpus=2), labels={"old": "1"})
        self.take(vm.vm_id)

        clone = self.restore(vm.vm_id, desired_state=V.DESIRED_STATE_PAUSED, labels={"new": "1"})

        self.assertEqual(V.VM_STATE_PAUSED, clone.status.state)
        self.assertEqual((64, 2), (clone.spec.machine.memory_mib, clone.spec.machine.vcpus))
        self.assertEqual({"new": "1"}, dict(clone.spec.labels))
        self.assertTrue(clone.status.resolved.restored)
        failure = self.fails(self.delete, vm.vm_id)
        self.assertEqual((Code.FAILED_PRECONDITION, "IN_USE"), (failure.code, failure.reason))
        self.assertEqual(1, self.get_snapshot(vm.vm_id).users)
        self.vms.DestroyVm(V.DestroyVmRequest(vm_id=clone.vm_id), timeout=20)
        self.delete(vm.vm_id)

    def test_what_cannot_go_on_from_it_is_told_why(self):
        vm = self.running(tenant="us")
        self.take(vm.vm_id)

        failure = self.fails(self.restore, vm.vm_id, tenant="us", machine=V.Machine(vcpus=1),
                             boot=V.Boot(boot_args="x"), devices=V.Devices())
        self.assertLessEqual({"spec.machine", "spec.boot", "spec.devices"},
                             set(failure.violations))
        failure = self.fails(self.restore, vm.vm_id, tenant="them")
        self.assertIn("spec.restore_from", failure.violations)
        failure = self.fails(self.restore, vm.vm_id, tenant="us", backend=V.BACKEND_QEMU)
        self.assertIn("spec.backend", failure.violations)
        failure = self.fails(self.restore, vm.vm_id, tenant="us", overrides=[
            V.NetworkOverride(interface_id="eth7", ipv4_address="10.0.0.9")])
        self.assertEqual({"spec.restore_from.network_overrides[0].interface_id":
                          ["the snapshot has no interface 'eth7'"]}, failure.violations)
        failure = self.fails(self.create, tenant="us", restore_from=V.RestoreFrom(
            vm_id=vm.vm_id, snapshot_id="one"))
        self.assertIn("spec.restore_from.allow_shared_identity", failure.violations)
        failure = self.fails(self.create, tenant="us", restore_from=V.RestoreFrom(
            vm_id=vm.vm_id, snapshot_id="one", allow_shared_identity=True,
            memory_backend=V.MEMORY_BACKEND_USERFAULTFD))
        self.assertEqual(Code.UNIMPLEMENTED, failure.code)

    def test_a_bit_that_flips_is_found(self):
        vm = self.running()
        self.take(vm.vm_id)
        state = self.daemon.state / "snapshots" / vm.vm_id / "one" / "state"
        os.chmod(state, 0o600)
        data = bytearray(state.read_bytes())
        data[3] ^= 1
        state.write_bytes(data)

        failure = self.fails(self.restore, vm.vm_id, desired_state=V.DESIRED_STATE_RUNNING)
        self.assertEqual((Code.DATA_LOSS, "SNAPSHOT_FAILED"), (failure.code, failure.reason))
        failure = self.fails(self.snapshots.VerifySnapshot, S.VerifySnapshotRequest(
            vm_id=vm.vm_id, snapshot_id="one"), timeout=20)
        self.assertEqual(Code.DATA_LOSS, failure.code)
        self.assertEqual(S.SNAPSHOT_STATE_FAILED, self.get_snapshot(vm.vm_id).state)

    def test_grpcurl_and_hearthctl_do_it_all(self):
        vm = self.running()
        said = subprocess.run(
            [str(GRPCURL), "-plaintext", "-unix", "-d",
             '{"vm_id": "%s", "snapshot_id": "one"}' % vm.vm_id, str(self.daemon.socket),
             "hearth.v1.SnapshotService/CreateSnapshot"],
            check=True, capture_output=True, text=True, timeout=60).stdout
        self.assertIn("SNAPSHOT_STATE_READY", said)

        self.assertIn("ready", self.ctl("snapshot", "create", vm.vm_id, "two", "--then", "pause",
                                        "--label", "a=b").stdout)
        self.assertIn("two", self.ctl("snapshot", "list", vm.vm_id).stdout)
        self.assertIn("a=b", self.ctl("snapshot", "get", vm.vm_id, "two").stdout)
        self.ctl("snapshot", "verify", vm.vm_id, "two")
        watched = self.ctl("snapshot", "watch", vm.vm_id, "--timeout", "1s", check=False)
        self.assertRegex(watched.stdout, r"(?m)^initial +%s +two +ready" % vm.vm_id)
        clone = self.new_id()
        self.ctl("create", clone, "--restore", vm.vm_id + "/two", "--shared-identity", "--start")
        self.assertEqual(V.VM_STATE_RUNNING, self.get(clone).status.state)
        self.ctl("destroy", clone)
        self.assertIn("deleted", self.ctl("snapshot", "delete", vm.vm_id, "two").stdout)


if __name__ == "__main__":
    unittest.main()
