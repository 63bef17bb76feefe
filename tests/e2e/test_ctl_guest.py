# SPDX-License-Identifier: Apache-2.0
"""hearthctl and a real guest: what it is given, what it tells, and a shell in it at a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
import unittest

from harness import PROGRAMS, V, wait_until
from test_guest import ARGS, BOOT_SECONDS, GUEST, GuestTest

VALUE = bytes(range(256)) + b"\nno newline at the end"


class CtlGuestTest(GuestTest):
    def command(self, *words):
        return [str(PROGRAMS / "hearthctl"), "--address", self.daemon.address, *words]

    def run_ctl(self, *words, code=0, **options):
        """What it prints."""
        options.setdefault("input", b"")
        result = subprocess.run(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                timeout=BOOT_SECONDS, **options)
        self.assertEqual(code, result.returncode, result.stderr)
        return result.stdout

    def create(self, *words):
        """The VM's id, and hearthctl, which waits until it is ready."""
        vm_id = self.new_id()
        self.addCleanup(self.destroy, vm_id)
        process = subprocess.Popen(
            self.command("create", vm_id, "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd", "--args", ARGS,
                         "--start", "--return", "ready", *words),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return vm_id, process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def run_in(self, vm_id, *program):
        return self.run_ctl("exec", vm_id, "--", *program)

    def field(self, vm_id, name):
        """What describe says there."""
        for line in self.run_ctl("describe", vm_id).decode().splitlines():
            if line.startswith(name + ":"):
                return line[len(name) + 1:].strip()
        return None


class Given(CtlGuestTest):
    def test_it_is_ready_once_another_one_has_brought_its_secret(self):
        vm_id, create = self.create("--guest-agent", "required", "--secret", "token", "--secret", "other")
        wait_until(lambda: self.run_ctl("list", "-o", "name").split() == [vm_id.encode()], "it is recorded")
        self.run_ctl("wait", vm_id, "--state", "running")
        self.assertEqual(b"%s has secret token\n" % vm_id.encode(),
                         self.run_ctl("secret", "set", vm_id, "token", "--wait", "60s", input=VALUE))
        wait_until(lambda: self.field(vm_id, "Has secrets") == "token", "it is told")
        self.assertIsNone(create.poll())
        self.run_ctl("secret", "set", vm_id, "other", input=b"")

        self.assertEqual((b"%s running\n" % vm_id.encode(), b""), create.communicate(timeout=30))
        self.assertEqual(0, create.returncode)
        self.assertEqual(VALUE, self.run_in(vm_id, "cat", "/run/hearth/secrets/token"))
        self.assertEqual(b"600 0\n", self.run_in(vm_id, "stat", "-c", "%a %s", "/run/hearth/secrets/other"))
        self.assertRegex(self.field(vm_id, "Guest"), r"^connected, ready, hearth-guest [0-9.]+, boot [0-9a-f-]{36}$")
        self.assertEqual("required", self.field(vm_id, "Guest agent"))
        self.assertEqual("token, other", self.field(vm_id, "Secrets"))
        self.assertEqual("token, other", self.field(vm_id, "Has secrets"))

        self.run_ctl("secret", "remove", vm_id, "token")
        wait_until(lambda: self.field(vm_id, "Has secrets") == "other", "it is missed")
        self.assertEqual(b"other\n", self.run_in(vm_id, "ls", "/run/hearth/secrets"))
        self.run_ctl("env", "set", vm_id, "A=x=y", "B= z")
        self.run_ctl("env", "set", vm_id, "A=1")
        self.assertEqual(b"1 z\n", self.run_in(vm_id, "sh", "-c", 'echo "$A$B"'))
        self.run_ctl("env", "set", vm_id, "--replace", "C=2")
        self.assertEqual(b"2\n", self.run_in(vm_id, "sh", "-c", 'echo "$A$B$C"'))
        self.assertRegex(self.run_ctl("ping", vm_id).decode(), r"^%s answered after [0-9.]+ ms, up \d+ s\n$" % vm_id)

        self.run_ctl("stop", vm_id, "--guest-grace", "30s")
        self.assertRegex(self.run_ctl("describe", vm_id).decode(), r"\n  guest +ended after ")
        self.assertIsNone(self.field(vm_id, "Guest"))


class Terminal(CtlGuestTest):
    def setUp(self):
        super().setUp()
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.before = termios.tcgetattr(self.slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shown(self, end, seconds=30):
        """What the terminal shows, up to @end."""
        data, until = b"", time.monotonic() + seconds
        while end not in data:
            ready = select.select([self.master], [], [], max(0, until - time.monotonic()))[0]
            self.assertTrue(ready, "%s, and never %s" % (data, end))
            data += os.read(self.master, 1000)
        return data

    def type(self, line, end):
        os.write(self.master, line)
        return self.shown(end)

    def test_a_shell_at_a_terminal(self):
        vm_id, create = self.create("--guest-agent", "required")
        self.assertEqual(0, create.wait(BOOT_SECONDS), create.stderr)
        self.resize(31, 97)
        shell = subprocess.Popen(["setsid", "--ctty", *self.command("exec", vm_id, "-it", "--", "sh")],
                                 stdin=self.slave, stdout=self.slave, stderr=self.slave)
        self.addCleanup(self.end, shell)
        self.shown(b"# ")

        self.type(b"stty size\r", b"\n31 97\r\n")
        self.resize(50, 120)
        self.type(b"stty size\r", b"\n50 120\r\n")
        self.type(b"sh -c 'trap \"stty size\" WINCH; echo be''gun; while :; do sleep .1; done'\r", b"begun\r\n")
        self.resize(20, 140)
        self.shown(b"20 140\r\n")
        self.type(b"\x03", b"# ")
        self.type(b"sh -c 'echo be''gun; exec sleep 1000'\r", b"begun\r\n")
        self.type(b"\x03", b"# ")
        self.type(b"echo status $?\r", b"\nstatus 130\r\n")
        self.assertIsNone(shell.poll())
        self.assertNotEqual(self.before, termios.tcgetattr(self.slave))
        os.write(self.master, b"exit 3\r")

        self.assertEqual(3, shell.wait(30))
        self.assertEqual(self.before, termios.tcgetattr(self.slave))


if __name__ == "__main__":
    unittest.main()
