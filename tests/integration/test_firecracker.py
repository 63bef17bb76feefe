# SPDX-License-Identifier: Apache-2.0
"""VMs on the real Firecracker, looked after through the API.

Without Firecracker, or for those in a jail without its jailer, these are skipped. Every test runs
jailed and not; nothing may be left after either.
"""

import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import unittest

from google.protobuf import duration_pb2, field_mask_pb2

from firecracker_host import BOOT_SECONDS, FIRECRACKER, JAILER, KERNEL, Host
from harness import Code, DaemonTest, Hearthd, N, V, memory_kib, process_alive, wait_until
from leaks import CGROUPS, groups, remove_groups

CALLERS = 8


class Life:
    """What a VM goes through, jailed or not."""

    def info(self):
        node = self.node.GetNode(N.GetNodeRequest(), timeout=20)
        return next(info for info in node.status.backends
                    if info.backend == V.BACKEND_FIRECRACKER)

    def test_it_is_known_with_what_it_can(self):
        wait_until(lambda: self.info().available, "it was looked at since hearthd was started")

        info = self.info()

        self.assertTrue(info.is_default)
        self.assertEqual("kvm", info.accelerator)
        self.assertIn("pause", info.capabilities)

    def test_a_running_guest_gets_another_disk_and_a_limit(self):
        folder = self.folder()
        old, new = self.disk(folder, "old"), self.disk(folder, "new")
        vm = self.boot("exit=loop", drives=[V.Drive(drive_id="data-1", path=old)])
        limit = V.RateLimiter(ops=V.TokenBucket(size=10, refill_time_ms=100))

        updated = self.vms.UpdateVm(V.UpdateVmRequest(
            vm_id=vm.vm_id, update_mask=field_mask_pb2.FieldMask(paths=["drives"]),
            spec=V.VmSpec(drives=[V.Drive(drive_id="data-1", path=new, rate_limiter=limit)])),
            timeout=30)

        self.assertEqual(new, updated.spec.drives[0].path)
        self.assertEqual("update", updated.status.last_operation.verb)
        self.assertTrue(self.has_open(updated, new))
        self.assertFalse(self.has_open(updated, old))
        self.grows(updated)

    def content(self, number):
        """The largest there may be; what it grows to as it is sent is several times as long."""
        numbers = ",".join([number] * 12000)
        return ('{"a":[%s]}' % numbers).ljust(51200)

    def test_a_running_guest_gets_other_metadata_of_the_largest_size(self):
        metadata = V.Mmds(content=self.content("0.1"))
        vm = self.boot("exit=loop", devices=V.Devices(mmds=metadata), network_interfaces=[
            V.NetworkInterface(interface_id="eth0", mmds=True)])

        updated = self.vms.UpdateVm(V.UpdateVmRequest(
            vm_id=vm.vm_id, update_mask=field_mask_pb2.FieldMask(paths=["devices.mmds"]),
            spec=V.VmSpec(devices=V.Devices(mmds=V.Mmds(content=self.content("0.7"))))),
            timeout=30)

        self.assertEqual(51200, len(updated.spec.devices.mmds.content))
        self.assertIn("0.7", updated.spec.devices.mmds.content)
        self.grows(updated)

    def test_a_life_from_create_to_ctrl_alt_del(self):
        vm = self.boot("exit=button")

        self.assertEqual(V.VM_STATE_RUNNING, vm.status.state)
        self.assertEqual(V.BACKEND_FIRECRACKER, vm.status.resolved.backend)
        self.assertEqual("exit=button", vm.status.resolved.boot_args)
        self.wait_console(vm, "guest: exit=button")
        self.vms.PauseVm(V.PauseVmRequest(vm_id=vm.vm_id), timeout=30)
        self.vms.ResumeVm(V.ResumeVmRequest(vm_id=vm.vm_id), timeout=30)
        self.grows(vm)
        request = V.StopVmRequest(vm_id=vm.vm_id)
        request.power_button_timeout.FromSeconds(60)
        vm = self.vms.StopVm(request, timeout=90)

        self.assertEqual(V.VM_STATE_STOPPED, vm.status.state)
        self.assertEqual([("ctrl_alt_del", V.RUNG_OUTCOME_ENDED)],
                         [(rung.name, rung.outcome) for rung in vm.status.last_exit.rungs])
        self.assertEqual(V.EXIT_REASON_REQUESTED, vm.status.last_exit.reason)
        self.assertIn("guest: off", vm.status.last_exit.console_tail)

    def test_metrics_count_up_and_outlive_hearthd(self):
        vm = self.boot("exit=loop")
        first = self.metrics(vm)

        self.daemon.restart()
        self.grows(vm)
        second = self.metrics(vm)
        cached = self.metrics(vm, cached=True)

        before, after = ({metric.name: metric for metric in answer.metrics}
                         for answer in (first, second))
        self.assertEqual((vm.vm_id, vm.uid), (second.vm_id, second.uid))
        self.assertGreater(second.flushes, first.flushes)
        self.assertGreater(second.time.ToNanoseconds(), first.time.ToNanoseconds())
        self.assertGreater(after["uart.write_count"].value, before["uart.write_count"].value)
        for name, metric in before.items():
            self.assertEqual(metric.kind, after[name].kind, name)
            if metric.kind == V.METRIC_KIND_COUNTER:
                self.assertGreaterEqual(after[name].value, metric.value, name)
        self.assertEqual(V.METRIC_KIND_GAUGE, after["utc_timestamp_ms"].kind)
        # It tells something on its own as well, each minute.
        self.assertIn(cached.flushes, (second.flushes, second.flushes + 1))
        self.assertGreater(second.usage.cpu_usec, 0)
        self.assertGreater(second.usage.memory_bytes, 1 << 20)
        self.assertGreaterEqual(second.usage.memory_peak_bytes, second.usage.memory_bytes)
        diagnosis = self.vms.DiagnoseVm(V.DiagnoseVmRequest(vm_id=vm.vm_id), timeout=20)
        self.assertGreater(diagnosis.usage.memory_bytes, 1 << 20)
        # What it says passes through the keeper.
        wait_until(lambda: self.vms.DiagnoseVm(V.DiagnoseVmRequest(vm_id=vm.vm_id),
                                               timeout=20).vmm_log, "it to have said something")
        self.assertFalse(second.HasField("balloon"))

    def test_metrics_of_a_vm_that_does_not_run_are_unavailable(self):
        vm = self.boot("exit=loop")
        self.metrics(vm)
        self.vms.StopVm(V.StopVmRequest(vm_id=vm.vm_id, force=True), timeout=60)

        failure = self.refused(self.vms.GetVmMetrics, V.GetVmMetricsRequest(vm_id=vm.vm_id),
                               Code.UNAVAILABLE, "METRICS")

        self.assertIn("the vm is stopped: no VMM runs", failure.message)
        self.assertEqual(vm.vm_id, failure.metadata["vm_id"])

    def test_metrics_are_shown_on_the_command_line(self):
        vm = self.boot("exit=loop")

        table = self.ctl("metrics", vm.vm_id, "--filter", "u").stdout
        names = self.ctl("metrics", vm.vm_id, "--cached", "-o", "name",
                         "--filter", "vcpu.exit_io_in").stdout
        whole = json.loads(self.ctl("metrics", vm.vm_id, "-o", "json").stdout)

        self.assertRegex(table, r"(?m)^NAME +KIND +VALUE$")
        self.assertRegex(table, r"(?m)^uart\.write_count +counter +[1-9]\d*$")
        self.assertRegex(table, r"(?m)^usage\.memory_bytes +- +[1-9]\d*$")
        self.assertNotIn("vcpu.", table)
        self.assertEqual(["vcpu.exit_io_in", "vcpu.exit_io_in_agg.max_us",
                          "vcpu.exit_io_in_agg.min_us", "vcpu.exit_io_in_agg.sum_us"],
                         names.split())
        self.assertEqual(vm.uid, whole["uid"])
        self.assertGreater(len(whole["metrics"]), 100)

    def test_what_its_vmm_says_is_read_and_followed_though_it_has_ended(self):
        vm_id = self.new_vm_id()
        self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING,
            boot=V.Boot(kernel_path="/etc/passwd"))), Code.INTERNAL, "VMM_FAILED", BOOT_SECONDS)
        request = V.ReadConsoleRequest(vm_id=vm_id, source=V.CONSOLE_SOURCE_VMM)

        said = "".join(message.text for message in self.vms.ReadConsole(request, timeout=30))
        request.follow = True
        stream = self.vms.ReadConsole(request, timeout=60)
        first = next(stream).text
        self.refused(self.vms.StartVm, V.StartVmRequest(vm_id=vm_id), Code.INTERNAL, "VMM_FAILED",
                     BOOT_SECONDS)
        more = ""
        while "Received Error" not in more:
            more += next(stream).text
        stream.cancel()

        self.assertIn("Received Error. Status code: 400", said)
        self.assertEqual(said, first)
        self.assertIn("[hearth: started ", more)
        self.assertIn(said + more, self.ctl("console", vm_id, "--vmm").stdout)
        self.assertEqual("", self.ctl("console", vm_id).stdout)

    def test_a_panic_is_read_from_the_console(self):
        vm = self.boot("exit=panic")

        vm = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        self.assertEqual(V.EXIT_REASON_GUEST_PANIC, vm.status.last_exit.reason)
        self.assertEqual(0, vm.status.last_exit.exit_code)

    def test_guests_do_not_notice_that_hearthd_is_killed(self):
        running, paused = self.boot("exit=loop"), self.boot("exit=loop")
        self.vms.PauseVm(V.PauseVmRequest(vm_id=paused.vm_id), timeout=30)

        self.daemon.restart()

        self.assertEqual(V.VM_STATE_RUNNING, self.get(running.vm_id).status.state)
        self.assertEqual(V.VM_STATE_PAUSED, self.get(paused.vm_id).status.state)
        self.assertEqual(running.status.resolved.vmm_pid,
                         self.get(running.vm_id).status.resolved.vmm_pid)
        self.grows(running)

    def test_a_killed_firecracker_fails_the_vm_and_destroying_it_leaves_nothing(self):
        vm = self.boot("exit=loop")
        run_dir = self.daemon.run_dir(vm)

        os.kill(vm.status.resolved.vmm_pid, signal.SIGKILL)
        vm = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)
        self.destroy(vm.vm_id)

        self.assertEqual(V.EXIT_REASON_VMM_SIGNAL, vm.status.last_exit.reason)
        self.assertEqual(signal.SIGKILL, vm.status.last_exit.signal)
        self.assertFalse(run_dir.exists())
        self.assertFalse(process_alive(vm.status.resolved.keeper_pid))

    def test_a_running_vm_is_destroyed_with_its_processes(self):
        vm = self.boot("exit=loop")

        self.destroy(vm.vm_id)

        wait_until(lambda: not process_alive(vm.status.resolved.vmm_pid), "it ends")
        wait_until(lambda: not process_alive(vm.status.resolved.keeper_pid), "the keeper ends")

    def test_what_firecracker_refuses_is_told_in_its_words(self):
        vm_id = self.new_vm_id()

        failure = self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING,
            boot=V.Boot(kernel_path="/etc/passwd"))), Code.INTERNAL, "VMM_FAILED", BOOT_SECONDS)

        self.assertIn("PUT /actions: 400: ", failure.message)

    def test_a_killed_keeper_fails_the_vm_and_takes_firecracker_with_it(self):
        vm = self.boot("exit=loop")

        os.kill(vm.status.resolved.keeper_pid, signal.SIGKILL)
        failed = self.wait_state(vm.vm_id, V.VM_STATE_FAILED)

        self.assertEqual(V.EXIT_REASON_KEEPER_LOST, failed.status.last_exit.reason)
        self.assertFalse(process_alive(vm.status.resolved.vmm_pid))

    def test_a_guest_has_the_memory_it_was_given(self):
        vm = self.boot("touch=8 exit=loop")

        self.wait_console(vm, "guest: touched 8 MiB")

        self.assertGreaterEqual(memory_kib(vm.status.resolved.vmm_pid), 8 * 1024)

    def test_a_guest_is_reached_on_its_vsock_and_echoes(self):
        vm = self.boot("exit=loop", devices=V.Devices(vsock=V.Vsock(guest_cid=7)))
        self.wait_console(vm, "guest: vsock ready")

        with socket.socket(socket.AF_UNIX) as guest:
            guest.settimeout(30)
            guest.connect(vm.status.resolved.vsock_path)
            guest.sendall(b"CONNECT 5555\n")
            stream = guest.makefile("rb")
            self.assertRegex(stream.readline(), rb"^OK \d+\n$")
            for words in (b"hello\n", bytes(range(256)) * 8 + b"\n", b"and again\n"):
                guest.sendall(words)
                self.assertEqual(words, stream.read(len(words)))

    def test_a_balloon_takes_memory_from_the_guest_and_gives_it_back(self):
        balloon = V.Balloon(amount_mib=1, stats_interval=duration_pb2.Duration(seconds=1))
        vm = self.boot("exit=loop", devices=V.Devices(balloon=balloon))
        self.wait_console(vm, "guest: balloon of 256 pages")

        for amount in (4, 2):
            balloon.amount_mib = amount
            updated = self.vms.UpdateVm(V.UpdateVmRequest(
                vm_id=vm.vm_id, update_mask=field_mask_pb2.FieldMask(paths=["devices.balloon"]),
                spec=V.VmSpec(devices=V.Devices(balloon=balloon))), timeout=30)

            self.assertEqual(amount, updated.spec.devices.balloon.amount_mib)
            self.wait_console(vm, "guest: balloon of %d pages" % (256 * amount))
        # tests/guest/balloon.c tells this for what is free.
        wait_until(lambda: self.balloon_of(vm).free_bytes == 12345 * 1024, "statistics")
        self.assertEqual((2, 2), (self.balloon_of(vm).target_mib, self.balloon_of(vm).actual_mib))

    def test_fifty_vms_are_created_by_eight_callers_and_destroyed(self):
        ids = [self.new_vm_id() for _ in range(50)]

        with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
            vms = list(pool.map(lambda vm_id: self.vms.CreateVm(
                self.request(vm_id, "exit=loop"), timeout=BOOT_SECONDS), ids))
            states = [self.get(vm_id).status.state for vm_id in ids]
            list(pool.map(self.destroy, ids))

        self.assertEqual([V.VM_STATE_RUNNING] * len(ids), states)
        self.assertEqual(len(ids), len({vm.status.resolved.vmm_pid for vm in vms}))
        self.assertFalse({vm.vm_id for vm in self.listed()} & set(ids))
        self.leaks.check()

    def listed(self):
        return self.vms.ListVms(V.ListVmsRequest(page_size=1000), timeout=20).vms

    def cut_creates(self, ids, known):
        """Kills hearthd when it knows so many of the VMs, and starts it again; those it knows."""
        calls = [self.vms.CreateVm.future(self.request(vm_id, "exit=loop"), timeout=BOOT_SECONDS)
                 for vm_id in ids]
        wait_until(lambda: len({vm.vm_id for vm in self.listed()} & set(ids)) >= known,
                   "%d are known" % known)
        self.daemon.restart()
        ended = [call.exception() for call in calls]
        self.assertTrue(all(error is None or error.code() == Code.UNAVAILABLE for error in ended))
        return [vm.vm_id for vm in self.listed() if vm.vm_id in ids]

    def test_what_was_being_created_when_hearthd_was_killed_runs_after_it_is_back(self):
        for known in 1, CALLERS // 2, CALLERS:
            with self.subTest(known=known):
                ids = [self.new_vm_id() for _ in range(CALLERS)]

                there = self.cut_creates(ids, known)
                vms = [self.wait_state(vm_id, V.VM_STATE_RUNNING, V.VM_STATE_FAILED)
                       for vm_id in there]
                alive = [process_alive(vm.status.resolved.vmm_pid) for vm in vms]
                for vm_id in ids:
                    self.destroy(vm_id)

                self.assertGreaterEqual(len(there), known)
                self.assertEqual([V.VM_STATE_RUNNING] * len(vms), [vm.status.state for vm in vms])
                self.assertEqual([True] * len(vms), alive)
                self.leaks.check()


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH or in FIRECRACKER_BIN")
class FirecrackerTest(Life, Host):
    jail = ("--jailer-mode", "off")


@unittest.skipUnless(FIRECRACKER, "no firecracker on PATH or in FIRECRACKER_BIN")
@unittest.skipUnless(JAILER, "no jailer on PATH or in JAILER_BIN")
class JailedFirecrackerTest(Life, Host):
    jail = ("--jailer-binary", JAILER)

    def status_of(self, vm, key):
        """A line of its VMM's, as words."""
        with open("/proc/%d/status" % vm.status.resolved.vmm_pid) as status:
            return next(line.split()[1:] for line in status if line.startswith(key + ":"))

    def test_each_vm_runs_as_a_user_of_its_own(self):
        vms = [self.boot("exit=loop") for _ in range(2)]

        uids = [vm.status.resolved.jail_uid for vm in vms]
        self.assertEqual(2, len(set(uids)))
        self.assertNotIn(0, uids)
        for vm, uid in zip(vms, uids):
            self.assertEqual([str(uid)] * 4, self.status_of(vm, "Uid"))
            self.assertEqual([str(uid)] * 4, self.status_of(vm, "Gid"))

    def test_its_processes_and_files_are_those_of_its_jail(self):
        vm = self.boot("exit=loop")

        root = os.stat("/proc/%d/root" % vm.status.resolved.vmm_pid)
        jail = os.stat(vm.status.resolved.jail_path)
        self.assertEqual((jail.st_dev, jail.st_ino), (root.st_dev, root.st_ino))
        self.assertEqual([str(vm.status.resolved.vmm_pid), "1"], self.status_of(vm, "NSpid"))

    def test_what_a_killed_hearthd_left_of_its_probe_goes_at_the_next_start(self):
        """A file stands for the jailer's: what is in a jail is removed, whatever it is."""
        probe = "probe-0badcafe"
        jail = self.daemon.state / "jail/firecracker" / probe / "root"
        jail.mkdir(parents=True)
        (jail / "file").touch()
        for group in groups(self.cgroup):
            (group / probe).mkdir()

        self.daemon.restart()

        self.leaks.check()

    def limits_set(self, group):
        """As the kernel has them, of control groups version 1 or 2."""
        def words(path):
            return (CGROUPS / path).read_text().split()

        if (CGROUPS / "memory").is_dir():
            cpu = "cpu/%s/cpu.cfs_" % group
            quota, period = words(cpu + "quota_us") + words(cpu + "period_us")
            memory, = words("memory/%s/memory.limit_in_bytes" % group)
            pids, = words("pids/%s/pids.max" % group)
        else:
            quota, period = words("%s/cpu.max" % group)
            memory, = words("%s/memory.max" % group)
            pids, = words("%s/pids.max" % group)
        return V.Limits(cpu_millis=1000 * int(quota) // int(period),
                        memory_mib=int(memory) // 2**20, pids=int(pids))

    def assert_limited(self, vm, limits):
        resolved = vm.status.resolved
        groups = pathlib.Path("/proc/%d/cgroup" % resolved.vmm_pid).read_text().splitlines()
        groups = [line.split(":", 2)[2] for line in groups]

        self.assertTrue(resolved.cgroup.startswith(self.cgroup + "/"), resolved.cgroup)
        self.assertIn("/" + resolved.cgroup, groups)
        self.assertEqual(limits, resolved.limits)
        self.assertEqual(limits, self.limits_set(resolved.cgroup))

    def test_limits_follow_from_the_machine_where_none_are_asked_for(self):
        vm = self.boot("exit=loop")

        self.assert_limited(vm, V.Limits(cpu_millis=1000, memory_mib=16 + 128, pids=64 + 2))

    def test_limits_asked_for_are_set(self):
        limits = V.Limits(cpu_millis=250, memory_mib=48, pids=20)

        vm = self.boot("touch=8 exit=loop", limits=limits)

        self.assert_limited(vm, limits)
        self.wait_console(vm, "guest: touched 8 MiB")

    def test_a_guest_deaf_to_ctrl_alt_del_is_killed_as_there_is_no_other_way(self):
        vm = self.boot("exit=loop")
        request = V.StopVmRequest(vm_id=vm.vm_id)
        request.power_button_timeout.FromMilliseconds(200)

        vm = self.vms.StopVm(request, timeout=60)

        self.assertEqual([("ctrl_alt_del", V.RUNG_OUTCOME_TIMED_OUT),
                          ("terminate", V.RUNG_OUTCOME_SKIPPED),
                          ("kill", V.RUNG_OUTCOME_ENDED)],
                         [(rung.name, rung.outcome) for rung in vm.status.last_exit.rungs])
        self.assertIn("not applicable", vm.status.last_exit.rungs[1].message)

    def test_two_vms_share_a_disk_that_only_root_may_read_and_leave_it_as_it_was(self):
        path = self.disk(self.folder(), "shared", 2**20)
        os.chmod(path, 0o600)
        before = os.stat(path)
        drive = V.Drive(drive_id="shared", path=path, read_only=True)

        vms = [self.boot("exit=loop", drives=[drive]) for _ in range(2)]

        after = os.stat(path)
        self.assertEqual([True, True], [self.has_open(vm, path) for vm in vms])
        self.assertEqual([V.VM_STATE_RUNNING] * 2,
                         [self.get(vm.vm_id).status.state for vm in vms])
        self.assertEqual((0, 0, before.st_mode, before.st_mtime_ns),
                         (after.st_uid, after.st_gid, after.st_mode, after.st_mtime_ns))

    def test_files_outside_the_image_directories_are_refused_by_any_path(self):
        allowed, outside = self.folder(), self.folder()
        good, bad = self.disk(allowed, "good"), self.disk(outside, "bad")
        (allowed / "link").symlink_to(bad)
        cgroup = self.cgroup + "-images"
        daemon = Hearthd(*self.flags_of(cgroup), "--image-dirs",
                         "%s:%s" % (allowed, KERNEL.parent), backend="firecracker")
        self.addCleanup(remove_groups, cgroup)
        self.addCleanup(daemon.close)
        daemon.start()

        for path in bad, str(allowed / "link"), "%s/../%s/bad" % (allowed, outside.name):
            with self.subTest(path=path):
                failure = self.refused(daemon.vms.CreateVm, self.request(
                    self.new_id(), "exit=loop", drives=[V.Drive(drive_id="data", path=path)]),
                    Code.INVALID_ARGUMENT, timeout=BOOT_SECONDS)
                self.assertEqual(["spec.drives[0].path"], list(failure.violations))
        vm = daemon.vms.CreateVm(self.request(
            self.new_id(), "exit=loop", drives=[V.Drive(drive_id="data", path=good)]),
            timeout=BOOT_SECONDS)
        self.assertEqual(V.VM_STATE_RUNNING, vm.status.state)


class WithoutFirecrackerTest(DaemonTest):
    backend = "firecracker"
    flags = ("--firecracker-binary", "/nowhere/firecracker")

    def test_a_vm_on_it_is_unsupported_and_the_doctor_says_why(self):
        self.refused(self.vms.CreateVm, V.CreateVmRequest(vm_id=self.new_id(), spec=V.VmSpec(
            boot=V.Boot(kernel_path="/etc/passwd"))), Code.UNIMPLEMENTED, "UNSUPPORTED")

        checks = self.node.Doctor(N.DoctorRequest(), timeout=60).checks
        check = next(check for check in checks if check.name == "firecracker")
        self.assertEqual(N.CHECK_STATUS_MISSING, check.status)
        self.assertIn("/nowhere/firecracker is not installed", check.message)
