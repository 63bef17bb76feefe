# SPDX-License-Identifier: Apache-2.0
"""What a hearthd must not leave on the host once its VMs are destroyed."""

import contextlib
import os
import pathlib
import re
import socket
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
TAP = re.compile(r"h[0-9a-f]{12}-\d+")


def _text(path):
    """Of a file that may be gone by now."""
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_bytes().decode(errors="replace")
    return ""


def _pids():
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def taps():
    return {link for _, link in socket.if_nameindex() if TAP.fullmatch(link)}


def groups(name):
    """The control group of every hierarchy, of version 1 or 2."""
    return [top / name for top in (CGROUPS, *CGROUPS.iterdir()) if (top / name).is_dir()]


def remove_groups(name):
    """A hearthd leaves its own, empty, for the next one; a test's has no next one."""
    for group in (*groups(name), *groups(name + "-keepers")):
        group.rmdir()


class Leaks:
    """Of one hearthd, whose jails' groups are below cgroup; to be made before it has VMs."""

    def __init__(self, daemon, cgroup):
        self.daemon = daemon
        self.folder = str(daemon.folder)
        self.cgroup = cgroup
        self.taps_before = taps()

    def processes(self):
        """By command line, by root, and by control group: in a jail the first two say little."""
        for pid in _pids():
            root = ""
            with contextlib.suppress(OSError):
                root = os.readlink("/proc/%d/root" % pid)
            command = _text("/proc/%d/cmdline" % pid)
            if pid != self.daemon.pid and (
                    self.folder in command or self.folder in root
                    or "/%s/" % self.cgroup in _text("/proc/%d/cgroup" % pid)):
                yield "%d %s" % (pid, command.replace("\0", " "))

    def mounts(self):
        """In every process's namespace."""
        for pid in _pids():
            for line in _text("/proc/%d/mountinfo" % pid).splitlines():
                if self.folder in line:
                    yield "of %d: %s" % (pid, line)

    def cgroups(self):
        for group in groups(self.cgroup):
            yield from (path for path in group.iterdir() if path.is_dir())

    def links(self):
        return taps() - self.taps_before

    def files(self):
        state = self.daemon.state
        for folder in state / "vms", *state.glob("jail/*"):
            if folder.is_dir():
                yield from folder.iterdir()

    KINDS = (
        ("process", processes),
        ("mount", mounts),
        ("control group", cgroups),
        ("network link", links),
        ("file", files),
    )

    def left(self):
        return ["%s: %s" % (kind, thing) for kind, find in self.KINDS for thing in find(self)]

    def check(self, seconds=10):
        """Nothing is left, or soon will not be: a keeper ends after its VM."""
        end = time.monotonic() + seconds
        while left := self.left():
            if time.monotonic() > end:
                raise AssertionError("left behind:\n" + "\n".join(left))
            time.sleep(0.05)
