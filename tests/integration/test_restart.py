# SPDX-License-Identifier: Apache-2.0
"""hearthd ends, by will or by force, and comes again."""

import random
import socket
import subprocess
import threading
import time
import unittest

import grpc

from harness import Code, Failure, Hearthd, N, V, process_alive, wait_until

REST = {V.VM_STATE_CREATED, V.VM_STATE_RUNNING, V.VM_STATE_PAUSED, V.VM_STATE_STOPPED,
        V.VM_STATE_FAILED, V.VM_STATE_BACKOFF}


# A QEMU that says which it is, and does not end when it is tried.
STUCK = """#!/bin/sh
[ "$1" != --version ] || { echo QEMU emulator version 7.2.0; exit; }
echo $$ > "%s"
exec sleep 1000
"""


class TriedTest(unittest.TestCase):
    """hearthd's end while it tries a VMM, which it would give up after ten seconds."""

    def setUp(self):
        self.daemon = Hearthd("--qemu-binary", "placeholder", "--firecracker-binary", "/none")
        self.addCleanup(self.daemon.close)
        qemu, self.pid_file = (self.daemon.folder / name for name in ("qemu", "pid"))
        qemu.write_text(STUCK % self.pid_file)
        qemu.chmod(0o755)
        self.daemon.flags[self.daemon.flags.index("placeholder")] = str(qemu)
        self.daemon.start()
        self.pid = int(wait_until(lambda: self.pid_file.exists() and self.pid_file.read_text(),
                                  "it is tried"))

    def test_a_stop_does_not_wait_for_it(self):
        self.assertEqual(0, self.daemon.terminate(timeout=8))
        self.assertFalse(process_alive(self.pid))

    def test_it_ends_with_a_killed_agent(self):
        self.daemon.kill()

        wait_until(lambda: not process_alive(self.pid), "it has ended")


class RestartTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Hearthd()
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def create(self, vm_id, **spec):
        return self.daemon.vms.CreateVm(
            V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(**spec)), timeout=20)

    def list(self):
        return self.daemon.vms.ListVms(V.ListVmsRequest(page_size=1000), timeout=20)

    def test_vms_are_as_they_were_after_a_kill(self):
        for i in range(10):
            self.create("kept-%d" % i, labels={"i": str(i)}, desired_state=i % 4)
        before = self.list()

        self.daemon.restart()

        after = self.list()
        self.assertEqual(before.store_id, after.store_id)
        self.assertGreaterEqual(after.revision, before.revision)
        self.assertEqual([(vm.vm_id, vm.uid, vm.generation, vm.spec, vm.status.state)
                          for vm in before.vms],
                         [(vm.vm_id, vm.uid, vm.generation, vm.spec, vm.status.state)
                          for vm in after.vms])

    def test_the_same_create_is_no_second_one_after_a_restart(self):
        first = self.create("once", labels={"a": "b"})

        self.daemon.restart()

        again = self.create("once", labels={"a": "b"})
        self.assertEqual(first.uid, again.uid)
        with self.assertRaises(grpc.RpcError) as caught:
            self.create("once", labels={"a": "c"})
        self.assertEqual("VM_ALREADY_EXISTS", Failure(caught.exception).reason)

    def test_cordons_and_tombstones_outlive_the_agent(self):
        self.daemon.vms.CreateVm(V.CreateVmRequest(vm_id="x", uid="used", spec=V.VmSpec()),
                                 timeout=20)
        self.daemon.vms.DestroyVm(V.DestroyVmRequest(vm_id="x"), timeout=20)
        self.daemon.node.Cordon(N.CordonRequest(owner="me", reason="why"), timeout=20)

        self.daemon.restart()

        cordons = self.daemon.node.GetNode(N.GetNodeRequest(), timeout=20).status.cordons
        self.assertEqual([("me", "why")], [(c.owner, c.reason) for c in cordons])
        self.daemon.node.Uncordon(N.UncordonRequest(owner="me"), timeout=20)
        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.vms.CreateVm(V.CreateVmRequest(vm_id="x", uid="used", spec=V.VmSpec()),
                                     timeout=20)
        self.assertEqual(Code.ABORTED, caught.exception.code())
        events = self.daemon.vms.ListVmEvents(V.ListVmEventsRequest(vm_id="x"), timeout=20).events
        self.assertEqual(V.EVENT_TYPE_DELETED, events[-1].type)

    def test_a_second_agent_on_the_same_state_directory_is_refused(self):
        second = subprocess.run(
            [*self.daemon.command()[:3], "--backend", "in_memory",
             "--listen", "unix:%s" % (self.daemon.folder / "second.sock")],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

        self.assertNotEqual(0, second.returncode)
        self.assertIn(str(self.daemon.state), second.stderr + second.stdout)
        self.list()

    def test_a_second_agent_does_not_steal_the_socket(self):
        second = subprocess.run(
            [self.daemon.command()[0], "--state-dir", str(self.daemon.folder / "other"),
             "--backend", "in_memory", "--listen", self.daemon.address],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

        self.assertNotEqual(0, second.returncode)
        self.assertIn(str(self.daemon.socket), second.stderr + second.stdout)
        self.daemon.connect().node.GetNode(N.GetNodeRequest(), timeout=20)

    def test_a_stale_socket_is_replaced_and_another_file_is_not(self):
        self.daemon.kill()
        self.assertTrue(self.daemon.socket.exists())
        self.daemon.start()
        self.daemon.terminate()
        self.daemon.socket.write_text("precious")

        result = subprocess.run(self.daemon.command(), stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=60)

        self.assertNotEqual(0, result.returncode)
        self.assertEqual("precious", self.daemon.socket.read_text())

    def test_only_its_owner_may_connect(self):
        self.assertEqual(0o600, self.daemon.socket.stat().st_mode & 0o777)

    def test_sigterm_ends_it_well_though_clients_hang_on(self):
        idle = socket.socket(socket.AF_UNIX)
        self.addCleanup(idle.close)
        idle.connect(str(self.daemon.socket))
        self.create("waited-for")
        waiting = self.daemon.vms.WaitVm.future(V.WaitVmRequest(
            vm_id="waited-for", states=[V.VM_STATE_RUNNING]), timeout=60)
        time.sleep(0.5)  # the wait is under way

        code = self.daemon.terminate()

        self.assertEqual(0, code)
        with self.assertRaises(grpc.RpcError) as caught:
            waiting.result()
        self.assertEqual(Code.UNAVAILABLE, caught.exception.code())

    def test_idle_clients_do_not_hold_up_its_end(self):
        self.daemon.kill()
        self.daemon.flags += ["--drain-timeout", "3600"]
        self.daemon.start()  # connects, asks, and stays connected

        code = self.daemon.terminate(timeout=120)

        self.assertEqual(0, code)

    def test_a_bad_flag_or_file_is_refused_by_name(self):
        wrong = self.daemon.folder / "wrong.yaml"
        wrong.write_text("limits:\n  max_vms: many\n")
        for arguments, word in ((["--no-such-flag"], "no-such-flag"),
                                (["--limits-max-vms", "0"], "limits.max_vms"),
                                (["--backend", "vax"], "backend"),
                                (["--config", "/no/such/file"], "/no/such/file"),
                                (["--config", str(wrong)], "max_vms")):
            with self.subTest(arguments):
                result = subprocess.run([self.daemon.command()[0], *arguments], text=True,
                                        stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
                self.assertNotEqual(0, result.returncode)
                self.assertIn(word, result.stderr)


class KilledAtWork(unittest.TestCase):
    """kill -9 at any moment loses nothing that was answered and leaves nothing half done."""

    def setUp(self):
        self.daemon = Hearthd()
        self.addCleanup(self.daemon.close)
        self.answered = {}
        self.lock = threading.Lock()

    def work(self, client, worker, stop):
        chance = random.Random(worker)
        number = 0
        while not stop.is_set():
            vm_id = "w%d-%d-%d" % (self.round, worker, number)
            number += 1
            try:
                client.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
                    desired_state=V.DESIRED_STATE_RUNNING)), timeout=10)
                self.note(vm_id, V.VM_STATE_RUNNING)
                if chance.random() < 0.5:
                    self.note(vm_id, None)  # anything may be true until it is answered
                    client.vms.StopVm(V.StopVmRequest(vm_id=vm_id), timeout=10)
                    self.note(vm_id, V.VM_STATE_STOPPED)
                if chance.random() < 0.3:
                    self.note(vm_id, None)
                    client.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm_id), timeout=10)
                    self.note(vm_id, V.VM_STATE_DESTROYED)
            except grpc.RpcError:
                return

    def note(self, vm_id, state):
        with self.lock:
            self.answered[vm_id] = state

    def test_what_was_answered_is_so_after_each_of_five_kills(self):
        for self.round in range(5):
            self.daemon.start()
            clients = [self.daemon.connect() for _ in range(4)]
            stop = threading.Event()
            threads = [threading.Thread(target=self.work, args=(client, i, stop))
                       for i, client in enumerate(clients)]
            for thread in threads:
                thread.start()
            stop.wait(0.4 + 0.37 * self.round)
            self.daemon.kill()
            stop.set()
            for thread in threads:
                thread.join()

        self.daemon.start()

        self.assertGreater(len(self.answered), 20)
        there = {}
        token = ""
        while True:
            page = self.daemon.vms.ListVms(V.ListVmsRequest(page_size=1000, page_token=token),
                                           timeout=20)
            there.update((vm.vm_id, vm.status.state) for vm in page.vms)
            token = page.next_page_token
            if not token:
                break
        for vm_id, state in self.answered.items():
            if state == V.VM_STATE_DESTROYED:
                self.assertNotIn(vm_id, there)
            elif state is not None:
                self.assertEqual(V.VmState.Name(state), V.VmState.Name(there.get(vm_id, 0)), vm_id)
        self.assertEqual(set(), set(there.values()) - REST)
