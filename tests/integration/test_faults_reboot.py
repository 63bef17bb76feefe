# SPDX-License-Identifier: Apache-2.0
"""The host was rebooted: all that ran is told so, and restarted a few at a time.

A reboot is one for an agent if the host's boot id is another than the store has: so it is the store
that is changed here, while nobody has it open, and what a reboot ends is ended.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
import unittest

import grpc
from google.protobuf import duration_pb2

from firecracker_host import FIRECRACKER, JAILER, Host
from harness import Hearthd, V, wait_until

EARLIER_BOOT = "00000000-0000-4000-8000-000000000000"
MAX_RESTARTS = 8  # limits.max_restarts, built in


def restarts(mode=V.RESTART_MODE_ALWAYS, backoff_ms=10):
    wait = duration_pb2.Duration()
    wait.FromMilliseconds(backoff_ms)
    return V.RestartPolicy(mode=mode, initial_backoff=wait)


def forget_boot(daemon):
    """The store of @daemon, which does not run, is of an earlier boot."""
    with contextlib.closing(sqlite3.connect(daemon.state / "hearth.db")) as store, store:
        changed = store.execute("UPDATE meta SET value = ? WHERE key = 'boot_id'", (EARLIER_BOOT,))
        assert changed.rowcount == 1, "the store has no boot id"


class Watch:
    """What a client sees of all VMs from now on, revision by revision."""

    def __init__(self, client, from_revision, store_id):
        self.states = {}
        self.most_starting = 0
        self.started = []  # vm_ids, in the order of their starts
        self.client = client
        self.ended = False
        self.request = V.WatchVmsRequest(store_id=store_id, from_revision=from_revision)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while not self.ended:  # it may have come before the store was open
            self.call = self.client.vms.WatchVms(self.request, timeout=300)
            with contextlib.suppress(grpc.RpcError):
                for message in self.call:
                    for event in message.events:
                        self.see(event)
            time.sleep(0.005)

    def see(self, event):
        vm_id, state = event.vm.vm_id, event.vm.status.state
        self.request.from_revision = event.revision
        if state == V.VM_STATE_STARTING and self.states.get(vm_id) != state:
            self.started.append(vm_id)
        self.states[vm_id] = state
        starting = sum(state == V.VM_STATE_STARTING for state in self.states.values())
        self.most_starting = max(self.most_starting, starting)

    def end(self):
        self.ended = True
        self.call.cancel()
        self.thread.join()


class RebootTest(unittest.TestCase):
    """VMs in memory, of which there can be many."""

    COUNT = 1000

    def setUp(self):
        self.daemon = Hearthd()
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def create(self, vm_id, **spec):
        return self.daemon.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(**spec)),
                                        timeout=60)

    def list(self):
        vms, token = {}, ""
        while True:
            page = self.daemon.vms.ListVms(V.ListVmsRequest(page_size=1000, page_token=token),
                                           timeout=20)
            vms.update((vm.vm_id, vm) for vm in page.vms)
            token = page.next_page_token
            if not token:
                return vms

    def reboot(self):
        """Answers a watch of all that comes after."""
        page = self.daemon.vms.ListVms(V.ListVmsRequest(page_size=1), timeout=20)
        self.daemon.kill()
        forget_boot(self.daemon)
        self.daemon.start(wait=False)
        watch = Watch(self.daemon.client, page.revision, page.store_id)
        self.addCleanup(watch.end)
        self.daemon.wait_adopted()
        return watch

    def test_each_is_as_its_policy_has_it(self):
        self.create("never", desired_state=V.DESIRED_STATE_RUNNING)
        self.create("always", desired_state=V.DESIRED_STATE_RUNNING, restart_policy=restarts())
        self.create("failure", desired_state=V.DESIRED_STATE_RUNNING,
                    restart_policy=restarts(V.RESTART_MODE_ON_FAILURE))
        self.create("paused", desired_state=V.DESIRED_STATE_PAUSED, restart_policy=restarts())
        self.create("stopped", desired_state=V.DESIRED_STATE_STOPPED, restart_policy=restarts())
        before = self.list()

        self.reboot()

        ends = {"never": V.VM_STATE_FAILED, "always": V.VM_STATE_RUNNING,
                "failure": V.VM_STATE_RUNNING, "paused": V.VM_STATE_PAUSED,
                "stopped": V.VM_STATE_CREATED}
        for vm_id, state in ends.items():
            with self.subTest(vm_id):
                vm = self.daemon.vms.WaitVm(V.WaitVmRequest(vm_id=vm_id, states=[state]), timeout=30)
                if vm_id != "stopped":
                    self.assertEqual(V.EXIT_REASON_HOST_REBOOT, vm.status.last_exit.reason)
                    self.assertFalse(vm.status.last_exit.requested)
                self.assertEqual(before[vm_id].uid, vm.uid)
                self.assertEqual(before[vm_id].spec, vm.spec)
                self.assertEqual(before[vm_id].status.resolved.instance_id,
                                 vm.status.resolved.instance_id)

    def test_a_thousand_start_again_a_few_at_a_time_in_their_order(self):
        for i in range(self.COUNT):
            self.create("vm-%d" % i, desired_state=V.DESIRED_STATE_RUNNING,
                        restart_policy=restarts())

        watch = self.reboot()

        def all_run():
            vms = self.list().values()
            return all(vm.status.state == V.VM_STATE_RUNNING and vm.status.restart_count == 1
                       for vm in vms)
        wait_until(all_run, "all run again", 120)
        wait_until(lambda: len(watch.started) == self.COUNT, "the watch has seen all starts")
        self.assertGreater(watch.most_starting, 1)
        self.assertLessEqual(watch.most_starting, MAX_RESTARTS)
        self.assertEqual(self.COUNT, len(set(watch.started)))

    def test_what_waits_for_its_turn_can_be_stopped_and_destroyed(self):
        for i in range(200):
            self.create("vm-%d" % i, desired_state=V.DESIRED_STATE_RUNNING,
                        restart_policy=restarts(backoff_ms=2000))

        self.reboot()

        waits = {V.VM_STATE_BACKOFF}
        wait_until(lambda: {vm.status.state for vm in self.list().values()} == waits,
                   "all wait for their moment")
        stopped = self.daemon.vms.StopVm(V.StopVmRequest(vm_id="vm-198"), timeout=20)
        self.daemon.vms.DestroyVm(V.DestroyVmRequest(vm_id="vm-199"), timeout=20)
        self.assertEqual(V.VM_STATE_STOPPED, stopped.status.state)
        wait_until(lambda: sum(vm.status.state == V.VM_STATE_RUNNING
                               for vm in self.list().values()) == 198, "the others run")
        self.assertEqual(V.VM_STATE_STOPPED, self.list()["vm-198"].status.state)

    def test_an_agent_that_dies_in_the_midst_is_followed_by_one_that_goes_on(self):
        for i in range(300):
            self.create("vm-%d" % i, desired_state=V.DESIRED_STATE_RUNNING,
                        restart_policy=restarts())
        watch = self.reboot()
        wait_until(lambda: len(watch.started) > 20, "some have been started")
        self.daemon.kill()
        watch.end()

        self.daemon.start()

        wait_until(lambda: all(vm.status.state == V.VM_STATE_RUNNING
                               for vm in self.list().values()), "all run again", 60)


class FirecrackerRebootTest(Host):
    """VMs with processes, two restarts at a time."""

    jail = ("--jailer-mode", "off")
    COUNT = 20

    @classmethod
    def setUpClass(cls):
        if not FIRECRACKER:
            raise unittest.SkipTest("no firecracker: set FIRECRACKER_BIN")
        super().setUpClass()

    @classmethod
    def flags_of(cls, cgroup):
        flags = list(super().flags_of(cgroup))
        return (*flags, "--limits-max-restarts", "2")

    @classmethod
    def end_all(cls):
        """What a reboot ends, and takes away."""
        cls.daemon.kill()
        for process in list(cls.leaks.processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.split()[0]), signal.SIGKILL)
        wait_until(lambda: not list(cls.leaks.processes()), "all processes have ended")

    def reboot(self):
        page = self.vms.ListVms(V.ListVmsRequest(page_size=1), timeout=20)
        self.end_all()
        for i, run_dir in enumerate(sorted((self.daemon.state / "vms").iterdir())):
            if i % 2:
                shutil.rmtree(run_dir)  # on a disk that a reboot empties
                continue
            keeper = run_dir / "keeper.json"
            keeper.write_text(json.dumps({**json.loads(keeper.read_text()),
                                          "boot_id": EARLIER_BOOT}))
        forget_boot(self.daemon)
        self.daemon.start(wait=False)
        watch = Watch(self.daemon.client, page.revision, page.store_id)
        self.addCleanup(watch.end)
        return watch

    def test_callers_do_not_wait_for_restarts(self):
        ids = [self.new_vm_id() for _ in range(self.COUNT)]
        for vm_id in ids:
            self.vms.CreateVm(self.request(vm_id, "exit=loop", restart_policy=restarts()),
                              timeout=60)
        resolved = {vm_id: self.get(vm_id).status.resolved for vm_id in ids}

        watch = self.reboot()
        wait_until(lambda: watch.started, "the first restart")
        waiting = [vm_id for vm_id in ids if watch.states.get(vm_id) != V.VM_STATE_RUNNING]
        self.boot("exit=loop")
        self.destroy(waiting[-1])
        self.vms.StopVm(V.StopVmRequest(vm_id=waiting[-2]), timeout=60)
        before_the_last = len(set(watch.started))

        left = set(ids) - {waiting[-1], waiting[-2]}
        for vm_id in left:
            vm = self.wait_state(vm_id, V.VM_STATE_RUNNING)
            self.assertEqual(V.EXIT_REASON_HOST_REBOOT, vm.status.last_exit.reason)
            self.assertEqual(resolved[vm_id].jail_uid, vm.status.resolved.jail_uid)
            self.assertEqual(resolved[vm_id].instance_id, vm.status.resolved.instance_id)
            self.grows(vm)
        self.assertLess(before_the_last, self.COUNT, "no restart was left to wait for")
        # A start of our own is no restart.
        self.assertLessEqual(watch.most_starting, 2 + 1)


@unittest.skipUnless(JAILER, "no jailer: set JAILER_BIN")
class JailedRebootTest(FirecrackerRebootTest):
    """The same with jails, whose directories lie on disk."""

    jail = ("--jailer-binary", JAILER)


if __name__ == "__main__":
    unittest.main()
