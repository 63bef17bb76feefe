# SPDX-License-Identifier: Apache-2.0
"""Memory of the real Firecracker, page by page: hearth-keeper, hearth-pager, and a guest that looks.

A snapshot is made by Firecracker's own API and restored under a keeper, with no agent around. The guest
looks at every page of what it had, in rounds, and says how many were wrong. Skipped without Firecracker;
what is jailed, without its jailer.
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from firecracker_host import FIRECRACKER, JAILER, KERNEL
from harness import PROGRAMS, process_alive, wait_until
from leaks import CGROUPS

MEMORY_MIB = 48
CHECKED_MIB = 40
MIB = 1 << 20
USER = 1900000011
BALLOON_MIB = 16
LIMIT_MIB = 20
WAIT_SECONDS = 120
KILLED_RESTORES = 4
KILLS = 2  # the third within a minute is the end
ROUND = re.compile(r"guest: round (\d+) bad (\d+)\r?\n")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=WAIT_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def call(path, method, what, **body):
    """Of Firecracker's API; an answer other than 2xx is an AssertionError."""
    connection = UnixConnection(path)
    with contextlib.closing(connection):
        connection.request(method, what, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    assert answer.status // 100 == 2, "%s: %d %s" % (what, answer.status, text)


def rounds(text):
    return [(int(number), int(bad)) for number, bad in ROUND.findall(text)]


def is_removed(group):
    """Who has ended is in it for a moment yet."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


class Snapshot:
    """A guest amidst its rounds, in a folder: state, memory."""

    def __init__(self, folder):
        self.state, self.memory = folder / "state", folder / "memory"
        api, said = folder / "api.sock", folder / "said"
        with open(said, "w") as out:
            process = subprocess.Popen([FIRECRACKER, "--api-sock", str(api)], stdout=out,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            wait_until(api.is_socket, "Firecracker's socket")
            call(api, "PUT", "/machine-config", vcpu_count=1, mem_size_mib=MEMORY_MIB)
            call(api, "PUT", "/boot-source", kernel_image_path=str(KERNEL),
                 boot_args="check=%d" % CHECKED_MIB)
            call(api, "PUT", "/balloon", amount_mib=0, deflate_on_oom=False)
            call(api, "PUT", "/actions", action_type="InstanceStart")
            wait_until(lambda: len(rounds(said.read_text())) >= 2, "two rounds", WAIT_SECONDS)
            call(api, "PATCH", "/vm", state="Paused")
            call(api, "PUT", "/snapshot/create", snapshot_type="Full",
                 snapshot_path=str(self.state), mem_file_path=str(self.memory))
        finally:
            process.kill()
            process.wait()
        self.rounds = len(rounds(said.read_text()))
        self.memory.chmod(0o600)


class Run:
    """A VM restored under a keeper."""

    def __init__(self, test, memory, *options):
        self.folder = pathlib.Path(test.enterContext(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)
        self.run_dir = self.folder / "run"
        self.run_dir.mkdir(mode=0o700)
        self.memory, self.options = memory, options
        self.root, self.seen_root = self.run_dir, str(self.run_dir)

    def vmm(self):
        return ["--", FIRECRACKER, "--api-sock", str(self.root / "api.sock")]

    def start(self, snapshot):
        subprocess.run([str(PROGRAMS / "hearth-keeper"), "--run-dir", str(self.run_dir),
                        "--console-max", "65536", "--pager", str(PROGRAMS / "hearth-pager"),
                        "--pager-memory", str(self.memory),
                        "--pager-socket", str(self.root / "pager.sock"), *self.options,
                        *self.more(snapshot), *self.vmm()],
                       check=True, timeout=WAIT_SECONDS)

    def more(self, snapshot):
        self.seen_state = str(snapshot.state)
        return []

    def load(self):
        api = self.root / "api.sock"
        wait_until(api.is_socket, "Firecracker's socket")
        call(api, "PUT", "/snapshot/load", snapshot_path=self.seen_state, resume_vm=True,
             mem_backend={"backend_type": "Uffd",
                          "backend_path": os.path.join(self.seen_root, "pager.sock")})

    def processes(self):
        return json.loads((self.run_dir / "keeper.json").read_text())

    def pid(self, name):
        return self.processes()[name]["pid"]

    def rounds(self):
        log = self.run_dir / "vmm.log"
        return rounds(log.read_text(errors="replace")) if log.exists() else []

    def wait_rounds(self, count=2):
        wait_until(lambda: len(self.rounds()) >= count, "%d rounds" % count, WAIT_SECONDS)
        return self.rounds()

    def kill_pager(self, last=False):
        pid = self.pid("pager")
        os.kill(pid, signal.SIGKILL)
        if not last:
            wait_until(lambda: self.pid("pager") != pid, "another pager")

    def exit(self):
        wait_until((self.run_dir / "exit.json").exists, "the VMM's end", WAIT_SECONDS)
        return json.loads((self.run_dir / "exit.json").read_text())

    def end(self):
        if not (self.run_dir / "keeper.json").exists():
            return
        pids = [process["pid"] for process in self.processes().values()
                if isinstance(process, dict)]
        for name in ("vmm", "keeper"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid(name), signal.SIGKILL)
        wait_until(lambda: not any(process_alive(pid) for pid in pids), "the end of them all")


class JailedRun(Run):
    """The same in Firecracker's jailer, where nothing of the memory file is."""

    def __init__(self, test, memory, *options):
        super().__init__(test, memory, *options)
        self.id = "pager-%d" % os.getpid()
        self.base = self.folder / "jail"
        self.root = self.base / pathlib.Path(FIRECRACKER).resolve().name / self.id / "root"
        self.root.mkdir(parents=True)
        self.seen_root = "/"

    def more(self, snapshot):
        self.seen_state = "/state"
        return ["--jail", str(self.root), "--uid", str(USER), "--file-ro",
                "state=%s" % snapshot.state]

    def vmm(self):
        return ["--", JAILER, "--id", self.id, "--exec-file", str(
            pathlib.Path(FIRECRACKER).resolve()), "--uid", str(USER), "--gid", str(USER),
            "--chroot-base-dir", str(self.base), "--new-pid-ns", "--", "--api-sock", "/api.sock"]


@unittest.skipUnless(FIRECRACKER, "there is no Firecracker")
class Restored(unittest.TestCase):
    """A snapshot, and VMs restored from it."""

    run_type = Run
    group_option = "--vmm-enter"

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.folder.chmod(0o755)  # a jail's user gets the state by a mount
        for device in "/dev/kvm", "/dev/userfaultfd":
            if not os.access(device, os.R_OK | os.W_OK):
                raise unittest.SkipTest("no use of %s" % device)
        cls.snapshot = Snapshot(cls.folder)

    def start(self, *options, memory=None):
        run = self.run_type(self, memory or self.snapshot.memory, *options)
        self.addCleanup(run.end)
        run.start(self.snapshot)
        return run

    def restore(self, *options, memory=None):
        run = self.start(*options, memory=memory)
        run.load()
        return run

    def check(self, run):
        """The first of two rounds began before the snapshot."""
        found = run.wait_rounds()
        self.assertEqual({0}, {bad for _, bad in found}, found)
        self.assertEqual(self.snapshot.rounds, found[0][0])

    def counter(self, run, name):
        """By its place in runtime/pager/state.h; they come behind the regions."""
        names = re.findall(r"^\tX\((\w+)\)", (
            pathlib.Path(__file__).parents[2] / "runtime/pager/counters.h").read_text(), re.M)
        offset = 8 + 8 + 32 + 16 + 32 * 24 + 8 * names.index(name)
        data = (run.run_dir / "pager.state").read_bytes()
        return int.from_bytes(data[offset:offset + 8], "little")

    def group(self, controller):
        hierarchy = CGROUPS / controller if (CGROUPS / controller).is_dir() else CGROUPS
        group = hierarchy / ("hearth-test-pager-%d" % os.getpid())
        group.mkdir()
        self.addCleanup(wait_until, lambda: is_removed(group), "an empty %s" % group)
        return group


class Plain(Restored):
    def test_a_guest_finds_every_page_as_the_snapshot_has_it(self):
        run = self.restore("--pager-window", "4")

        self.check(run)

        self.assertGreater(self.counter(run, "pages_copied"), CHECKED_MIB * MIB // 4096 // 2)
        self.assertFalse((run.run_dir / "exit.json").exists())

    def test_pagers_killed_at_any_moment_cost_no_page(self):
        midway = 0
        for number in range(KILLED_RESTORES):
            with self.subTest(restore=number):
                run = self.restore("--pager-window", "4" if number % 2 else "64")

                for _ in range(KILLS):
                    time.sleep(random.uniform(0, 0.05))
                    midway += len(run.rounds()) < 2
                    run.kill_pager()

                self.check(run)
                self.assertEqual(KILLS, self.counter(run, "takeovers"))
                run.end()
        self.assertGreater(midway, 0, "all were killed when there was nothing left to do")

    def test_a_pager_killed_before_the_vmm_came_is_replaced(self):
        run = self.start()

        run.kill_pager()
        wait_until(lambda: (run.root / "pager.sock").is_socket(), "the next one's socket")
        time.sleep(0.1)  # it is made before it is listened at
        run.load()

        self.check(run)

    def test_the_third_death_within_a_minute_is_the_vmms_end(self):
        run = self.restore()
        vmm = run.pid("vmm")

        for number in range(KILLS + 1):
            run.kill_pager(last=number == KILLS)

        end = run.exit()
        self.assertEqual(("pager", signal.SIGKILL), (end["evidence"], end["signal"]))
        self.assertIn("3 pagers died", end["message"])
        self.assertFalse(process_alive(vmm))

    def test_memory_that_cannot_be_read_is_the_vmms_end_and_said(self):
        memory = self.folder / "short"
        shutil.copy(self.snapshot.memory, memory)
        run = self.start("--pager-window", "4", memory=memory)

        os.truncate(memory, 8 * MIB)
        run.load()

        end = run.exit()
        self.assertEqual("pager", end["evidence"], end)
        self.assertIn("the file has become shorter", end["message"])

    def test_what_goes_to_the_balloon_comes_back_as_zeros(self):
        """The guest knows what it has given, and goes on to use it."""
        run = self.restore()
        pages = BALLOON_MIB * MIB // 4096

        call(run.root / "api.sock", "PATCH", "/balloon", amount_mib=BALLOON_MIB)
        time.sleep(random.uniform(0, 0.1))
        run.kill_pager()

        log = run.run_dir / "vmm.log"
        wait_until(lambda: "balloon of %d pages" % pages in log.read_text(errors="replace"),
                   "the balloon to be full", WAIT_SECONDS)
        found = run.wait_rounds(len(run.rounds()) + 2)
        self.assertEqual({0}, {bad for _, bad in found}, found)
        self.assertGreaterEqual(self.counter(run, "pages_removed"), pages)

    def test_what_one_run_used_is_there_before_the_next_asks(self):
        record = self.folder / ("set-%s" % type(self).__name__)
        run = self.restore("--pager-record", str(record), "--pager-record-for", "600")
        run.wait_rounds()
        os.kill(run.pid("vmm"), signal.SIGKILL)
        run.exit()
        wait_until(record.exists, "the working set")

        run = self.restore("--pager-working-set", str(record))

        self.check(run)
        self.assertGreater(self.counter(run, "pages_installed"), 1000)
        self.assertLess(self.counter(run, "pages_copied"), 3000)

    def test_it_is_in_the_vms_control_group(self):
        group = self.group("pids")
        run = self.restore(self.group_option, str(group))
        self.addCleanup(run.end)

        first = run.pid("pager")
        run.kill_pager()

        inside = (group / "cgroup.procs").read_text().split()
        self.assertIn(str(run.pid("pager")), inside)
        self.assertNotEqual(first, run.pid("pager"))
        self.assertNotIn(str(run.pid("keeper")), inside)

    def test_it_ends_with_the_keeper(self):
        run = self.restore()
        pager = run.pid("pager")

        os.kill(run.pid("keeper"), signal.SIGKILL)

        wait_until(lambda: not process_alive(pager), "the pager's end")


@unittest.skipUnless(FIRECRACKER and JAILER, "there is no Firecracker with a jailer")
class Jailed(Plain):
    run_type = JailedRun
    group_option = "--pager-enter"


class OutOfMemory(Restored):
    def limited(self):
        """A group with too little, and the file that counts those whom the kernel has killed."""
        group = self.group("memory")
        if (group / "memory.limit_in_bytes").exists():
            (group / "memory.limit_in_bytes").write_text(str(LIMIT_MIB * MIB))
            return group, group / "memory.oom_control"
        if not (group / "memory.max").exists():
            self.skipTest("no control groups of memory here")
        (group / "memory.max").write_text(str(LIMIT_MIB * MIB))
        return group, group / "memory.events"

    def test_a_vm_that_is_out_of_memory_ends_for_that_and_not_for_its_pager(self):
        group, events = self.limited()
        run = self.restore(self.group_option, str(group), "--memory-events", str(events))
        self.addCleanup(run.end)

        end = run.exit()

        self.assertEqual(("memory", signal.SIGKILL), (end["evidence"], end["signal"]), end)
