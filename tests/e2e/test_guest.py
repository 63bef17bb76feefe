# SPDX-License-Identifier: Apache-2.0
"""A real Linux guest on QEMU, booted and looked after through the API.

Boots take seconds under emulation, so VMs are shared between checks where one leaves the VM as it
was for the next.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

import grpc

from harness import (GUEST, Code, DaemonTest, Failure, V, memory_kib, process_alive, wait_until)

BOOT_SECONDS = 120
ARGS = "console=ttyS0 reboot=t panic=1 quiet"
TICK = re.compile(r"tick (\d+)")


class GuestTest(DaemonTest):
    backend = "qemu"

    def boot(self, *words, vm_id=None, **spec):
        """A running VM whose guest has been told @words."""
        vm_id = vm_id or self.new_id()
        self.addCleanup(self.destroy, vm_id)
        spec.setdefault("desired_state", V.DESIRED_STATE_RUNNING)
        return self.create(vm_id, boot=self.boot_spec(*words), timeout=BOOT_SECONDS, **spec)

    def boot_spec(self, *words):
        return V.Boot(kernel_path=str(GUEST / "vmlinuz"), initrd_path=str(GUEST / "initrd"),
                      boot_args=" ".join((ARGS, *words)))

    def destroy(self, vm_id):
        return self.vms.DestroyVm(V.DestroyVmRequest(vm_id=vm_id, allow_missing=True), timeout=60)

    def console(self, vm_id, **fields):
        return "".join(message.text for message in self.vms.ReadConsole(
            V.ReadConsoleRequest(vm_id=vm_id, **fields), timeout=30))

    def follow_to(self, vm_id, wanted):
        """What the console says up to @wanted, as it is written."""
        said = ""
        call = self.vms.ReadConsole(V.ReadConsoleRequest(vm_id=vm_id, follow=True),
                                    timeout=BOOT_SECONDS)
        try:
            for message in call:
                said += message.text
                if wanted in said:
                    return said
        finally:
            call.cancel()
        raise AssertionError("the console ended: " + said)

    def ticks(self, vm_id):
        return [int(tick) for tick in TICK.findall(self.console(vm_id))]

    def wait_tick_after(self, vm_id, tick):
        return wait_until(lambda: max(self.ticks(vm_id), default=-1) > tick, "a later tick", 60)


class EndingGuestTest(GuestTest):
    """A guest with an initrd of its own, which says what is to be known and ends."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("qemu-system-x86_64"):
            raise unittest.SkipTest("there is no qemu-system-x86_64")
        if not (GUEST / "vmlinuz").exists():
            raise unittest.SkipTest("there is no kernel in %s: deploy/make-guest" % GUEST)
        super().setUpClass()

    def run_to_end(self, initrd, init, memory_mib):
        """What a guest says whose process 1 powers it off, and its VM then."""
        vm_id = self.new_id()
        self.vms.CreateVm(V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, machine=V.Machine(memory_mib=memory_mib),
            boot=V.Boot(kernel_path=str(GUEST / "vmlinuz"), initrd_path=str(initrd),
                        boot_args="%s rdinit=%s" % (ARGS, init)))), timeout=BOOT_SECONDS)
        try:
            ended = self.wait_state(vm_id, V.VM_STATE_STOPPED, V.VM_STATE_FAILED,
                                    timeout=2 * BOOT_SECONDS)
        except grpc.RpcError as error:
            raise AssertionError("the guest has not ended: " + self.console(vm_id)) from error
        said = self.console(vm_id)
        self.destroy(vm_id)
        return said.replace("\r", ""), ended


class Life(GuestTest):
    """One guest, from its boot to its power button, in the order of the names."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        self = cls()
        cls.vm_id = self.new_id()
        cls.vm = cls.daemon.vms.CreateVm(V.CreateVmRequest(vm_id=cls.vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, boot=self.boot_spec("hearth.tick"))),
            timeout=BOOT_SECONDS)
        self.follow_to(cls.vm_id, "tick 1\r\n")

    def test_1_it_boots_to_the_prompt(self):
        said = self.console(self.vm_id)

        self.assertIn("hearth guest, Linux", said)
        self.assertIn("guest# ", said)
        self.assertEqual(V.VM_STATE_RUNNING, self.vm.status.state)
        resolved = self.vm.status.resolved
        self.assertTrue(process_alive(resolved.vmm_pid))
        self.assertTrue(process_alive(resolved.keeper_pid))
        self.assertIn(resolved.accelerator, ("tcg", "kvm"))
        self.assertIn(ARGS, resolved.boot_args)
        self.assertTrue(resolved.vmm_version)

    def test_2_the_tail_of_the_console_is_its_end(self):
        whole, tail = self.console(self.vm_id), self.console(self.vm_id, tail_bytes=40)

        self.assertLessEqual(len(tail.encode()), 40 + len("tick 1000\r\n"))
        self.assertIn("tick", tail)
        self.assertIn("hearth guest", whole)

    def test_3_nothing_ticks_while_it_is_paused(self):
        paused = self.vms.PauseVm(V.PauseVmRequest(vm_id=self.vm_id), timeout=30)
        before = max(self.ticks(self.vm_id))
        time.sleep(3)

        after = max(self.ticks(self.vm_id))
        resumed = self.vms.ResumeVm(V.ResumeVmRequest(vm_id=self.vm_id), timeout=30)
        self.wait_tick_after(self.vm_id, after)

        self.assertLessEqual(after - before, 1)  # what was under way when it was paused
        conditions = {c.type: c.status for c in paused.status.conditions}
        self.assertEqual(V.CONDITION_STATUS_FALSE, conditions["VmmRunning"])
        self.assertEqual(V.VM_STATE_RUNNING, resumed.status.state)

    def test_4_it_does_not_notice_that_hearthd_is_killed(self):
        before = self.get(self.vm_id)
        tick = max(self.ticks(self.vm_id))

        self.daemon.kill()
        time.sleep(2)
        self.daemon.start()

        after = self.get(self.vm_id)
        self.assertEqual(V.VM_STATE_RUNNING, after.status.state)
        self.assertEqual(before.uid, after.uid)
        self.assertEqual(before.status.resolved.vmm_pid, after.status.resolved.vmm_pid)
        self.assertEqual(before.status.resolved.keeper_pid, after.status.resolved.keeper_pid)
        self.wait_tick_after(self.vm_id, tick + 2)
        ticks = self.ticks(self.vm_id)
        self.assertEqual(list(range(len(ticks))), ticks)  # none lost, none twice

    def test_5_a_paused_guest_is_still_paused_after_a_kill(self):
        self.vms.PauseVm(V.PauseVmRequest(vm_id=self.vm_id), timeout=30)

        self.daemon.restart()

        self.assertEqual(V.VM_STATE_PAUSED, self.get(self.vm_id).status.state)
        self.vms.ResumeVm(V.ResumeVmRequest(vm_id=self.vm_id), timeout=30)
        self.wait_tick_after(self.vm_id, max(self.ticks(self.vm_id)))

    def test_6_the_keeper_is_small(self):
        pid = self.get(self.vm_id).status.resolved.keeper_pid
        private = 0
        with open("/proc/%d/smaps_rollup" % pid) as rollup:
            for line in rollup:
                if line.startswith("Private_"):
                    private += int(line.split()[1])

        self.assertLess(private, 512)
        self.assertGreater(memory_kib(pid), 0)

    def test_7_its_power_button_ends_it(self):
        pids = self.get(self.vm_id).status.resolved
        pids = (pids.vmm_pid, pids.keeper_pid)

        stopped = self.vms.StopVm(V.StopVmRequest(
            vm_id=self.vm_id, power_button_timeout={"seconds": 60}), timeout=90)

        self.assertEqual(V.VM_STATE_STOPPED, stopped.status.state)
        end = stopped.status.last_exit
        self.assertEqual(V.EXIT_REASON_REQUESTED, end.reason)
        self.assertTrue(end.requested)
        self.assertEqual([("power_button", V.RUNG_OUTCOME_ENDED)],
                         [(rung.name, rung.outcome) for rung in end.rungs][:1])
        self.assertIn("power button", end.console_tail)
        for pid in pids:
            wait_until(lambda pid=pid: not process_alive(pid), "its processes are gone")

    def test_8_it_starts_again_and_the_console_goes_on(self):
        started = self.vms.StartVm(V.StartVmRequest(vm_id=self.vm_id), timeout=BOOT_SECONDS)
        self.follow_to(self.vm_id, "power button")

        wait_until(lambda: self.console(self.vm_id).count("hearth guest, Linux") == 2,
                   "it has booted twice", BOOT_SECONDS)

        self.assertEqual(V.VM_STATE_RUNNING, started.status.state)

    def test_9_destroyed_it_leaves_nothing(self):
        vm = self.get(self.vm_id)
        run_dir = self.daemon.run_dir(vm)
        self.assertTrue(run_dir.is_dir())

        gone = self.destroy(self.vm_id)

        self.assertEqual(V.VM_STATE_DESTROYED, gone.status.state)
        self.assertFalse(run_dir.exists())
        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))
        self.assertFalse(process_alive(vm.status.resolved.keeper_pid))


class Ends(GuestTest):
    def test_the_guests_own_ends_are_told_apart(self):
        ends = {"poweroff": (V.EXIT_REASON_GUEST_SHUTDOWN, V.VM_STATE_STOPPED),
                "reboot": (V.EXIT_REASON_GUEST_REBOOT, V.VM_STATE_STOPPED),
                "panic": (V.EXIT_REASON_GUEST_PANIC, V.VM_STATE_FAILED)}
        vms = {end: self.boot("hearth.exit=" + end) for end in ends}

        for end, (reason, _) in ends.items():
            with self.subTest(end):
                vm = self.wait_state(vms[end].vm_id, V.VM_STATE_STOPPED, V.VM_STATE_FAILED,
                                     timeout=BOOT_SECONDS)

                self.assertEqual(V.ExitReason.Name(reason),
                                 V.ExitReason.Name(vm.status.last_exit.reason))
                self.assertFalse(vm.status.last_exit.requested)
                self.assertEqual((0, 0), (vm.status.last_exit.exit_code,
                                          vm.status.last_exit.signal))
                if end == "panic":
                    self.assertIn("Rebooting in", vm.status.last_exit.console_tail)
                else:
                    self.assertIn("hearth-guest: " + end, vm.status.last_exit.console_tail)

    def test_a_killed_qemu_fails_the_vm_with_its_signal(self):
        vm = self.boot()

        os.kill(vm.status.resolved.vmm_pid, signal.SIGKILL)
        killed = time.time()
        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        end = failed.status.last_exit
        self.assertEqual(V.EXIT_REASON_VMM_SIGNAL, end.reason)
        self.assertEqual((-1, 9, False), (end.exit_code, end.signal, end.requested))
        events = self.vms.ListVmEvents(V.ListVmEventsRequest(vm_id=vm.vm_id), timeout=20).events
        noticed = [event for event in events if event.state == V.VM_STATE_FAILED][0]
        self.assertLess(noticed.time.ToNanoseconds() / 1e9 - killed, 1.0)

    def test_a_killed_qemu_is_restarted_when_its_policy_says_so(self):
        vm = self.boot("hearth.tick", restart_policy=V.RestartPolicy(
            mode=V.RESTART_MODE_ON_FAILURE, initial_backoff={"nanos": 200_000_000}))

        os.kill(vm.status.resolved.vmm_pid, signal.SIGKILL)
        self.wait_state(vm.vm_id, V.VM_STATE_BACKOFF, V.VM_STATE_STARTING)
        self.wait_state(vm.vm_id, V.VM_STATE_RUNNING)

        again = self.get(vm.vm_id)
        self.assertEqual(1, again.status.restart_count)
        self.assertNotEqual(vm.status.resolved.vmm_pid, again.status.resolved.vmm_pid)
        self.assertEqual(V.EXIT_REASON_VMM_SIGNAL, again.status.last_exit.reason)
        self.follow_to(vm.vm_id, "tick 0")

    def test_a_killed_keeper_takes_its_qemu_along(self):
        vm = self.boot()

        os.kill(vm.status.resolved.keeper_pid, signal.SIGKILL)
        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        self.assertEqual(V.EXIT_REASON_KEEPER_LOST, failed.status.last_exit.reason)
        wait_until(lambda: not process_alive(vm.status.resolved.vmm_pid), "QEMU is gone")

    def test_a_guest_that_ended_while_hearthd_was_dead_is_told_with_its_reason(self):
        vm = self.boot("hearth.exit=poweroff", "hearth.after=2")
        self.follow_to(vm.vm_id, "guest# ")

        self.daemon.kill()
        wait_until(lambda: not process_alive(vm.status.resolved.vmm_pid), "it ended", 60)
        self.daemon.start()

        ended = self.get(vm.vm_id)
        self.assertEqual(V.VM_STATE_STOPPED, ended.status.state)
        self.assertEqual(V.EXIT_REASON_GUEST_SHUTDOWN, ended.status.last_exit.reason)

    def test_a_guest_deaf_to_its_power_button_falls_down_the_ladder(self):
        vm = self.boot("hearth.deaf")
        self.follow_to(vm.vm_id, "guest# ")

        stopped = self.vms.StopVm(V.StopVmRequest(
            vm_id=vm.vm_id, power_button_timeout={"seconds": 1}), timeout=60)

        rungs = {rung.name: rung.outcome for rung in stopped.status.last_exit.rungs}
        self.assertEqual(V.RUNG_OUTCOME_TIMED_OUT, rungs["power_button"])
        self.assertEqual(V.RUNG_OUTCOME_ENDED, rungs["terminate"])
        self.assertEqual(V.EXIT_REASON_REQUESTED, stopped.status.last_exit.reason)

    def test_force_kills_at_once(self):
        vm = self.boot()

        stopped = self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, force=True), timeout=30)

        rungs = {rung.name: rung.outcome for rung in stopped.status.last_exit.rungs}
        self.assertEqual(V.RUNG_OUTCOME_ENDED, rungs["kill"])
        self.assertEqual(V.RUNG_OUTCOME_SKIPPED, rungs["power_button"])
        self.assertEqual(9, stopped.status.last_exit.signal)

    def test_a_cancelled_start_goes_on_without_its_caller(self):
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)
        self.create(vm_id, boot=self.boot_spec())
        starting = self.vms.StartVm.future(V.StartVmRequest(vm_id=vm_id), timeout=60)
        self.wait_state(vm_id, V.VM_STATE_STARTING, V.VM_STATE_RUNNING)

        starting.cancel()

        self.wait_state(vm_id, V.VM_STATE_RUNNING)

    def test_destroy_wins_over_everything(self):
        vm_id = self.new_id()
        self.create(vm_id, boot=self.boot_spec())
        starting = self.vms.StartVm.future(V.StartVmRequest(vm_id=vm_id), timeout=60)
        wait_until(lambda: self.get(vm_id).status.state != V.VM_STATE_CREATED, "it starts")

        gone = self.destroy(vm_id)

        self.assertEqual(V.VM_STATE_DESTROYED, gone.status.state)
        with self.subTest("the start that lost"):
            try:
                starting.result()
            except grpc.RpcError as error:
                self.assertIn(error.code(), (Code.FAILED_PRECONDITION, Code.ABORTED,
                                             Code.NOT_FOUND), Failure(error))
        self.assertEqual([], qemus_of(vm_id))

    def test_kills_of_hearthd_in_the_middle_of_a_start_leave_one_qemu_or_none(self):
        for delay in (0.02, 0.08, 0.2):
            vm_id = self.new_id()
            self.create(vm_id, boot=self.boot_spec())
            self.vms.StartVm.future(V.StartVmRequest(vm_id=vm_id), timeout=60)
            time.sleep(delay)

            self.daemon.restart()

            vm = wait_until(lambda: self.at_rest(vm_id), "it is at rest")
            running = qemus_of(vm_id)
            if vm.status.state == V.VM_STATE_RUNNING:
                self.assertEqual([vm.status.resolved.vmm_pid], running)
            else:
                self.assertEqual([], running, V.VmState.Name(vm.status.state))
            self.destroy(vm_id)
            self.assertEqual([], qemus_of(vm_id))

    def at_rest(self, vm_id):
        vm = self.get(vm_id)
        busy = (V.VM_STATE_STARTING, V.VM_STATE_STOPPING, V.VM_STATE_DESTROYING)
        return None if vm.status.state in busy else vm


def qemus_of(vm_id):
    """Pids of the VMMs that run @vm_id; ids are unique on the machine."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if command.startswith(b"qemu-system") and b"guest=%s," % vm_id.encode() in command:
                found.append(int(entry.name))
    return found


class Inputs(GuestTest):
    def refused_boot(self, code, **boot):
        vm_id = self.new_id()
        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, boot=V.Boot(**boot))), code)
        self.refused(self.vms.GetVm, V.GetVmRequest(vm_id=vm_id), Code.NOT_FOUND, "VM_NOT_FOUND")
        return failure

    def test_a_missing_kernel_is_refused_by_name(self):
        failure = self.refused_boot(Code.INVALID_ARGUMENT, kernel_path="/no/such/kernel")

        self.assertIn("spec.boot.kernel_path", failure.violations)
        self.assertIn("/no/such/kernel", repr(failure))

    def test_a_directory_is_no_kernel(self):
        failure = self.refused_boot(Code.INVALID_ARGUMENT, kernel_path="/tmp")

        self.assertIn("spec.boot.kernel_path", failure.violations)

    def test_no_kernel_at_all_is_refused(self):
        failure = self.refused_boot(Code.INVALID_ARGUMENT)

        self.assertTrue(any("kernel" in field or "boot" in field for field in failure.violations),
                        failure)

    def test_every_missing_file_is_named_at_once(self):
        failure = self.refused_boot(Code.INVALID_ARGUMENT, kernel_path="/no/kernel",
                                    initrd_path="/no/initrd")

        self.assertEqual({"spec.boot.kernel_path", "spec.boot.initrd_path"},
                         set(failure.violations))

    def test_a_file_that_is_no_kernel_fails_with_qemus_own_words(self):
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, boot=V.Boot(kernel_path="/bin/busybox"))),
            Code.INTERNAL, "VMM_FAILED")

        self.assertRegex(failure.message, "(?i)kernel|elf")
        self.assertEqual(V.VM_STATE_FAILED, self.get(vm_id).status.state)
        self.assertEqual([], qemus_of(vm_id))

    def test_drives_appear_in_order_and_the_first_may_be_the_root(self):
        disks = [self.daemon.folder / name for name in ("one", "two")]
        for disk in disks:
            disk.write_bytes(bytes(1024 * 1024))
        vm = self.boot(drives=[
            V.Drive(drive_id="one", path=str(disks[0]), is_root=True),
            V.Drive(drive_id="two", path=str(disks[1]), read_only=True)])

        said = self.follow_to(vm.vm_id, "guest# ")

        self.assertIn("drive: vda", said)
        self.assertIn("drive: vdb", said)
        self.assertIn("root=/dev/vda rw", vm.status.resolved.boot_args)

    def test_a_writable_disk_in_use_is_refused(self):
        disk = self.daemon.folder / "shared"
        disk.write_bytes(bytes(1024 * 1024))
        drive = V.Drive(drive_id="d", path=str(disk))
        first = self.boot(drives=[drive])

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(
            vm_id=self.new_id(), spec=V.VmSpec(desired_state=V.DESIRED_STATE_RUNNING,
                                               boot=self.boot_spec(), drives=[drive])),
            Code.INVALID_ARGUMENT)

        self.assertIn(first.vm_id, repr(failure))


class Flood(GuestTest):
    flags = ("--console-max-bytes", "65536", "--console-rate-bytes", "8192")

    def test_a_guest_that_writes_without_end_fills_no_disk_and_the_gap_is_said(self):
        vm = self.boot("hearth.flood")
        self.follow_to(vm.vm_id, "writes without end")
        run_dir = self.daemon.run_dir(vm)
        biggest = 0

        for _ in range(80):
            time.sleep(0.1)
            sizes = subprocess.run(["du", "-sb", str(run_dir)], capture_output=True, text=True)
            biggest = max(biggest, int(sizes.stdout.split()[0]))

        messages = list(self.vms.ReadConsole(V.ReadConsoleRequest(vm_id=vm.vm_id), timeout=30))
        kept = sum(len(message.text) for message in messages)
        self.assertLess(biggest, 3 * 65536)
        self.assertGreater(kept, 8192)
        self.assertLessEqual(kept, 65536)
        self.assertTrue(any(message.gap or "bytes of console output dropped" in message.text
                            for message in messages))


