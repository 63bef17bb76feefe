# SPDX-License-Identifier: Apache-2.0
"""Snapshots of real Linux guests on QEMU, and guests that go on from them, several at once."""

import concurrent.futures
import os
import re
import time

import grpc

from harness import Code, Failure, G, S, V, wait_until
from test_guest import BOOT_SECONDS, GuestTest
from world import NetworkTest, rule

UUID = re.compile(r"[0-9a-f-]{36}")


class Snapshots:
    """What both suites do."""

    def ready(self, *words, **spec):
        vm = self.boot(*words, guest_agent=V.GUEST_AGENT_REQUIRED, **spec)
        return self.vms.WaitVm(V.WaitVmRequest(vm_id=vm.vm_id, condition="Ready"),
                               timeout=BOOT_SECONDS)

    def sh(self, vm, script):
        answer = self.daemon.client.guest.Run(
            G.RunRequest(vm_id=vm.vm_id, command=["sh", "-c", script]), timeout=BOOT_SECONDS)
        self.assertEqual(0, answer.exit_code, answer)
        return answer.output.decode()

    def take(self, vm, snapshot_id="warm", **fields):
        taken = self.daemon.snapshots.CreateSnapshot(S.CreateSnapshotRequest(
            vm_id=vm.vm_id, snapshot_id=snapshot_id, **fields), timeout=BOOT_SECONDS)
        self.addCleanup(self.daemon.snapshots.DeleteSnapshot, S.DeleteSnapshotRequest(
            vm_id=vm.vm_id, snapshot_id=snapshot_id, allow_missing=True), timeout=20)
        return taken

    def restore(self, vm, shared=False, desired=V.DESIRED_STATE_RUNNING, overrides=(), **spec):
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)
        return self.create(vm_id, desired_state=desired, timeout=BOOT_SECONDS,
                           restore_from=V.RestoreFrom(vm_id=vm.vm_id, snapshot_id="warm",
                                                      allow_shared_identity=shared,
                                                      network_overrides=overrides), **spec)

    def condition(self, vm, kind):
        return next(condition for condition in self.get(vm.vm_id).status.conditions
                    if condition.type == kind)


class SnapshotTest(Snapshots, GuestTest):
    def test_clones_go_on_as_guests_of_their_own(self):
        vm = self.ready()
        self.sh(vm, "echo kept > /run/mark")
        self.take(vm)
        time.sleep(3)

        with concurrent.futures.ThreadPoolExecutor() as pool:
            clones = list(pool.map(lambda _: self.restore(vm), range(2)))

        says = [self.sh(one, "cat /run/mark; date +%s; cat /proc/sys/kernel/random/uuid")
                for one in (vm, *clones)]
        for said in says:
            mark, seconds, _ = said.split()
            self.assertEqual("kept", mark)
            self.assertAlmostEqual(time.time(), int(seconds), delta=3)
        self.assertEqual(3, len({UUID.search(said).group() for said in says}))
        for clone in clones:
            self.assertEqual(V.CONDITION_STATUS_TRUE,
                             self.condition(clone, "IdentityFresh").status)

    def test_restored_paused_it_stands_still_and_is_fresh_before_it_runs(self):
        vm = self.ready("hearth.tick")
        self.take(vm, then=S.SNAPSHOT_THEN_STOP)
        self.assertEqual(V.VM_STATE_STOPPED, self.get(vm.vm_id).status.state)

        clone = self.restore(vm, desired=V.DESIRED_STATE_PAUSED)
        self.assertEqual(V.VM_STATE_PAUSED, clone.status.state)
        self.assertEqual(V.CONDITION_STATUS_FALSE, self.condition(clone, "IdentityFresh").status)
        time.sleep(2)
        self.assertEqual([], self.ticks(clone.vm_id))

        resumed = self.vms.ResumeVm(V.ResumeVmRequest(vm_id=clone.vm_id), timeout=BOOT_SECONDS)
        self.assertIn("identity", [step.name for step in resumed.status.last_operation.steps])
        self.assertEqual(V.CONDITION_STATUS_TRUE, self.condition(clone, "IdentityFresh").status)
        self.wait_tick_after(clone.vm_id, 0)

    def test_a_snapshot_that_resumes_gives_an_identity_first(self):
        vm = self.ready("hearth.tick")
        self.take(vm, then=S.SNAPSHOT_THEN_STOP)
        clone = self.restore(vm, desired=V.DESIRED_STATE_PAUSED)

        self.take(clone, "second", then=S.SNAPSHOT_THEN_RESUME)

        self.assertEqual(V.VM_STATE_RUNNING, self.get(clone.vm_id).status.state)
        self.assertEqual(V.CONDITION_STATUS_TRUE, self.condition(clone, "IdentityFresh").status)
        self.wait_tick_after(clone.vm_id, 0)

    def test_a_stop_need_not_wait_for_a_snapshot(self):
        vm = self.ready()
        self.take(vm, return_when=V.RETURN_WHEN_ACCEPTED)

        stopped = self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id), timeout=BOOT_SECONDS)

        self.assertEqual(V.VM_STATE_STOPPED, stopped.status.state)
        restarted = self.vms.StartVm(V.StartVmRequest(vm_id=vm.vm_id), timeout=BOOT_SECONDS)
        self.assertEqual(V.VM_STATE_RUNNING, restarted.status.state)

    def test_a_guest_that_cannot_be_made_fresh_does_not_go_on(self):
        vm = self.boot("hearth.mute", guest_agent=V.GUEST_AGENT_OPTIONAL)
        self.follow_to(vm.vm_id, "guest#")
        self.take(vm, then=S.SNAPSHOT_THEN_STOP)

        with self.assertRaises(grpc.RpcError) as caught:
            self.restore(vm)
        self.assertEqual("GUEST_METADATA", Failure(caught.exception).reason)
        failed = [one for one in self.vms.ListVms(V.ListVmsRequest(), timeout=20).vms
                  if one.vm_id != vm.vm_id]
        self.assertEqual({V.VM_STATE_FAILED}, {one.status.state for one in failed})
        self.assertEqual({0}, {one.status.resolved.vmm_pid for one in failed})
        self.assertEqual(V.VM_STATE_RUNNING, self.restore(vm, shared=True).status.state)

    def test_a_flipped_bit_starts_nothing(self):
        vm = self.ready()
        self.take(vm, then=S.SNAPSHOT_THEN_STOP)
        state = self.daemon.state / "snapshots" / vm.vm_id / "warm" / "state"
        os.chmod(state, 0o600)
        with open(state, "r+b") as file:
            file.seek(1 << 20)
            byte = file.read(1)[0]
            file.seek(1 << 20)
            file.write(bytes([byte ^ 1]))

        with self.assertRaises(grpc.RpcError) as caught:
            self.restore(vm)

        self.assertEqual(Code.DATA_LOSS, caught.exception.code())

    def test_an_agent_that_dies_leaves_the_vm_as_it_was(self):
        vm = self.ready("hearth.tick")
        call = self.daemon.snapshots.CreateSnapshot.future(
            S.CreateSnapshotRequest(vm_id=vm.vm_id, snapshot_id="lost"), timeout=BOOT_SECONDS)
        wait_until(lambda: [path for path in (self.daemon.state / "snapshots").glob(".*")
                            if path.is_dir()], "it is begun")
        self.daemon.restart()
        call.cancel()

        self.wait_state(vm.vm_id, V.VM_STATE_RUNNING)
        self.wait_tick_after(vm.vm_id, max(self.ticks(vm.vm_id)))
        listed = self.daemon.snapshots.ListSnapshots(S.ListSnapshotsRequest(), timeout=20)
        self.assertEqual([], [one for one in listed.snapshots if one.vm_id == vm.vm_id])
        self.take(vm)


class NetworkSnapshotTest(Snapshots, NetworkTest):
    def test_a_clone_has_an_address_of_its_own(self):
        policy = V.EgressPolicy(rules=[rule("192.0.2.0/24", 80)])
        vm = self.ready(network_interfaces=[V.NetworkInterface(interface_id="eth0")], egress=policy)
        self.take(vm)
        clone = self.restore(vm, egress=policy)

        first, second = (one.status.resolved.network_interfaces[0] for one in (vm, clone))
        self.assertNotEqual(first.ipv4_address, second.ipv4_address)
        self.assertEqual("", second.inner_ipv4_address)
        self.assertEqual(first.guest_mac, second.inner_mac)
        for one, interface in (vm, first), (clone, second):
            self.assertIn(interface.ipv4_address, self.sh(one, "ip address show dev eth0"))
            self.assertEqual("yes\n", self.reach(one))

    def test_a_clone_is_given_the_address_that_was_asked_for(self):
        vm = self.ready(network_interfaces=[V.NetworkInterface(interface_id="eth0")])
        self.take(vm)
        first = vm.status.resolved.network_interfaces[0].ipv4_address
        asked = first.rpartition(".")[0] + ".77"
        overrides = [V.NetworkOverride(interface_id="eth0", ipv4_address=asked)]

        clone = self.restore(vm, overrides=overrides)

        self.assertEqual(asked, clone.status.resolved.network_interfaces[0].ipv4_address)
        self.assertIn(asked, self.sh(clone, "ip address show dev eth0"))
        self.assertNotIn(first, self.sh(clone, "ip address show dev eth0"))
        with self.assertRaises(grpc.RpcError) as caught:
            self.restore(vm, overrides=overrides)
        self.assertEqual("NETWORK_CONFIG", Failure(caught.exception).reason)

    def test_one_that_shares_its_identity_is_reached_by_translation(self):
        policy = V.EgressPolicy(rules=[rule("192.0.2.0/24", 80)])
        vm = self.ready(network_interfaces=[V.NetworkInterface(interface_id="eth0")], egress=policy)
        self.take(vm)
        clone = self.restore(vm, shared=True, egress=policy)

        first, second = (one.status.resolved.network_interfaces[0] for one in (vm, clone))
        self.assertEqual(first.ipv4_address, second.inner_ipv4_address)
        self.assertNotEqual(first.ipv4_address, second.ipv4_address)
        for one in vm, clone:
            self.assertIn(first.ipv4_address, self.sh(one, "ip address show dev eth0"))
            self.assertEqual("yes\n", self.reach(one))

    def reach(self, vm):
        return self.sh(
            vm, "echo hello | nc -w 5 192.0.2.10 80 | grep -q hello && echo yes || echo no")
