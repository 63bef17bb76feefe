# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: servers, clients, measures of processes, tables."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("HEARTH_CACHE", pathlib.Path.home() / ".cache/hearth"))
PROGRAMS = pathlib.Path(os.environ.get("HEARTH_PROGRAMS", ROOT / "build/gcc/bin"))
TOOLS = pathlib.Path(os.environ.get("HEARTH_BENCH", CACHE / "bench")) / "bin"
TICKS = os.sysconf("SC_CLK_TCK")

median = statistics.median


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """Of all its threads, in user and kernel mode; a tick is 10 ms."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kib(pid):
    """Resident; the part that no other process has mapped; the part of that which is no file's, and
    so does not depend on who else happens to have the same libraries mapped."""
    figures = {}
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        for line in rollup.readlines()[1:]:
            name, value = line.split()[:2]
            figures[name.rstrip(":")] = int(value)
    return {"rss": figures["Rss"], "private": figures["Private_Dirty"] + figures["Private_Clean"],
            "dirty": figures["Private_Dirty"]}


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("never came true: " + what)
        time.sleep(0.05)


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def serving(name, command, port, log=subprocess.DEVNULL):
    """A server as a process of ours, until the block ends."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or accepts(port), name + " listens")
        if process.poll() is not None:
            raise RuntimeError("%s ended with %d" % (name, process.returncode))
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Hearthd:
    """A hearthd with a state directory of its own on the disk of TMPDIR."""

    def __init__(self, *flags, backend="in_memory"):
        self.port = free_port()
        self.address = "127.0.0.1:%d" % self.port
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="hearth-bench."))
        self.command = [PROGRAMS / "hearthd", "--state-dir", self.state / "state", "--backend",
                        backend, "--listen", self.address, "--limits-max-vms", "100000",
                        "--capacity-cpu-percent", "0", *flags]

    @contextlib.contextmanager
    def running(self):
        try:
            with open(self.state / "log", "wb") as log:
                with serving("hearthd", self.command, self.port, log) as pid:
                    wait_for(self.is_ready, "hearthd is ready")
                    yield pid
        finally:
            shutil.rmtree(self.state, ignore_errors=True)

    def is_ready(self):
        return subprocess.run([str(PROGRAMS / "hearthctl"), "--address", self.address, "health"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0


def load_command(server, verb, **flags):
    return [str(TOOLS / "load"), verb, "-address", server.address,
            *("-%s=%s" % item for item in flags.items())]


def load(server, verb, **flags):
    """Runs the load client; its figures."""
    command = load_command(server, verb, **flags)
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def show(command):
    print("$ " + " ".join(str(word) for word in command), flush=True)


def table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(flush=True)


def verdict(is_met):
    return "met" if is_met else "MISSED"


def fsync_ms(folder, count=100):
    """Of appending 4 KiB and fsync(), as a database's log does: the disk's limit."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(count):
            os.write(file.fileno(), b"x" * 4096)
            begun = time.monotonic()
            os.fdatasync(file.fileno())
            took.append(1000 * (time.monotonic() - begun))
    took.sort()
    return took[count // 2], took[count * 99 // 100]
