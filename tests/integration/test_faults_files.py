# SPDX-License-Identifier: Apache-2.0
"""hearthd with too few descriptors: who is there is served, and what runs can be ended."""

import contextlib
import os
import signal
import socket
import unittest

from firecracker_host import BOOT_SECONDS, FIRECRACKER, Host
from harness import Code, N, V, process_alive, wait_until

LIMIT = 240
KEPT = LIMIT // 4  # for stops, destroys and the ends of VMMs


@unittest.skipUnless(FIRECRACKER, "no firecracker: set FIRECRACKER_BIN")
class FewDescriptorsTest(Host):
    jail = ("--jailer-mode", "off")
    prefix = ("bash", "-c", 'ulimit -n %d; exec "$@"' % LIMIT, "bash")

    def used(self):
        return len(os.listdir("/proc/%d/fd" % self.daemon.pid))

    def check(self):
        return self.check_of("open_files")

    def check_of(self, name):
        checks = self.node.Doctor(N.DoctorRequest(), timeout=60).checks
        return next(check for check in checks if check.name == name)

    def crowd(self):
        """Clients who only connect, until no more are let in; they stay until the test ends."""
        clients = self.enterContext(contextlib.ExitStack())
        # What had some for a moment gives them back, and so more are let in.
        wait_until(lambda: self.press(clients) and self.check().status == N.CHECK_STATUS_MISSING,
                   "no descriptors are left")
        return clients

    def press(self, clients):
        refused = 0
        for _ in range(2 * LIMIT):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0.2)
            with contextlib.suppress(socket.timeout, ConnectionError):
                client.connect(str(self.daemon.socket))
                refused += not client.recv(1)  # a server's settings come at once, or the end
            if refused == 3:
                return True
        return False

    def assert_pressed(self):
        self.assertGreaterEqual(self.used(), LIMIT - KEPT - 8)
        check = self.check()
        self.assertEqual(N.CHECK_STATUS_MISSING, check.status, check.message)
        self.assertRegex(check.message, r"\d+ of %d descriptors are in use" % LIMIT)
        self.assertIn("LimitNOFILE", check.remedy)

    def test_clients_who_take_them_all_cost_starts_alone(self):
        stopped, destroyed, killed = (self.boot("exit=loop") for _ in range(3))
        idle = self.create(self.new_vm_id(), desired_state=V.DESIRED_STATE_STOPPED,
                           boot=V.Boot(kernel_path=self.request("", "").spec.boot.kernel_path))
        clients = self.crowd()
        self.assert_pressed()

        refused = self.refused(self.vms.StartVm, V.StartVmRequest(vm_id=idle.vm_id),
                               Code.RESOURCE_EXHAUSTED, "CAPACITY")
        self.assertEqual("open_files", refused.metadata["resource"])
        self.assertEqual(V.VM_STATE_CREATED, self.get(idle.vm_id).status.state)
        self.refused(self.vms.CreateVm, self.request(self.new_vm_id(), "exit=loop"),
                     Code.RESOURCE_EXHAUSTED, "CAPACITY")
        # A verb that is satisfied needs none.
        self.vms.StartVm(V.StartVmRequest(vm_id=stopped.vm_id), timeout=20)
        self.vms.PauseVm(V.PauseVmRequest(vm_id=stopped.vm_id), timeout=20)
        self.metrics(stopped)
        ended = self.vms.StopVm(V.StopVmRequest(vm_id=stopped.vm_id, force=True), timeout=60)
        self.assertEqual(V.VM_STATE_STOPPED, ended.status.state)
        self.destroy(destroyed.vm_id)
        os.kill(killed.status.resolved.vmm_pid, signal.SIGKILL)
        failed = self.wait_state(killed.vm_id, V.VM_STATE_FAILED)
        self.assertEqual(V.EXIT_REASON_VMM_SIGNAL, failed.status.last_exit.reason)
        for vm in stopped, destroyed, killed:
            self.assertFalse(process_alive(vm.status.resolved.vmm_pid))

        clients.close()
        wait_until(lambda: self.used() < LIMIT // 2, "they are free again")
        self.assert_serves()
        started = self.vms.StartVm(V.StartVmRequest(vm_id=idle.vm_id), timeout=BOOT_SECONDS)
        self.assertEqual(V.VM_STATE_RUNNING, started.status.state)
        self.assertNotEqual(N.CHECK_STATUS_MISSING, self.check().status)

    def test_readers_of_consoles_and_watchers_leave_some(self):
        vm = self.boot("exit=loop")
        calls = []

        def read():
            call = self.vms.ReadConsole(V.ReadConsoleRequest(vm_id=vm.vm_id, follow=True),
                                        timeout=120)
            calls.append(call)
            return call
        self.addCleanup(lambda: [call.cancel() for call in calls])
        for _ in range(LIMIT):
            calls.append(self.vms.WatchVms(V.WatchVmsRequest(), timeout=120))
        with self.assertRaises(Exception) as caught:
            for _ in range(LIMIT):
                next(read())
        self.assertEqual(Code.RESOURCE_EXHAUSTED, caught.exception.code())
        self.assertIn("no descriptors are left", caught.exception.details())

        self.assert_pressed()
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, force=True), timeout=60)
        self.destroy(vm.vm_id)

        for call in calls:
            call.cancel()
        wait_until(lambda: self.used() < LIMIT // 2, "they are free again")
        self.boot("exit=loop")

    def test_a_new_agent_takes_over_what_it_finds_though_crowded(self):
        vm = self.boot("exit=loop")
        self.daemon.kill()
        # In the place of clients: the agent begins with descriptors that are taken.
        prefix = self.daemon.prefix
        self.addCleanup(setattr, self.daemon, "prefix", prefix)
        self.daemon.prefix = [*prefix[:2], 'ulimit -n %d; for i in {10..60}; do eval "exec $i<&0";'
                              ' done; exec "$@"' % LIMIT, "bash"]
        self.daemon.start()

        self.assertEqual(V.VM_STATE_RUNNING, self.get(vm.vm_id).status.state)
        self.grows(vm)
        self.daemon.prefix = prefix
        self.daemon.restart()


if __name__ == "__main__":
    unittest.main()
