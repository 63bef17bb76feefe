# SPDX-License-Identifier: Apache-2.0
"""Every message of runtime/guest/protocol.h, said to hearth-guest in a real guest, without hearthd."""

import base64
import hashlib
import itertools
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from guest_host import BOOT_SECONDS, CREDIT, DATA_MAX, QemuGuest
from harness import wait_until

MAC, OWN_MAC = "52:54:00:12:34:56", "02:00:00:0a:0b:0c"
NEVER = "sleep 1000"


def b64(data):
    return base64.b64encode(data).decode()


# Members that are right, and what is wrong in place of one; None is as good as none.
TOO_MUCH = b64(bytes(DATA_MAX + 1))
WRONG = {
    "set_env": ({"env": {}}, {
        "env": (None, [], {"1A": "x"}, {"": "x"}, {"A=B": "x"}, {"A": 1}, {"A": "\0"}),
        "replace": ("yes", 1)}),
    "set_secret": ({"name": "a", "data": ""}, {
        "name": (None, 1, "", ".a", "../a", "a/b", "a" * 65),
        "data": (None, 1, "A", "A===", "AAA\n", TOO_MUCH),
        "remove": (1, "yes")}),
    "exec": ({"argv": ["true"]}, {
        "argv": (None, [], "sh", [""], ["sh", 1], ["sh", "\0"]),
        "env": ([], {"1A": "x"}),
        "cwd": (1,),
        "user": ("", -1, 2**32, []),
        "tty": ("yes",),
        "stdin": (1,),
        "rows": (0, 10001),
        "cols": ("80",),
        "timeout_ms": (0, -1, 1.5, 10**30)}),
    "reseed": ({}, {"data": (None, "?", TOO_MUCH)}),
    "set_clock": ({}, {"time_ns": (None, 0, "now", 2**63)}),
    "set_network": ({"interface": "eth0"}, {
        "interface": (None, "", "e" * 16),
        "mac": (1, "02:00:00:0a:0b", "02:00:00:0a:0b:0g"),
        "mtu": (0, 65536),
        "ipv4": ("10.0.0.1", "10.0.0.1/0", "10.0.0.1/33", "10.0.0.1/8x", "fd00::1/64"),
        "gateway4": ("10.0.0", "fd00::1"),
        "ipv6": ("fd00::1", "fd00::1/129", "10.0.0.1/8"),
        "gateway6": ("10.0.0.1",)}),
    "freeze": ({}, {"timeout_ms": (0, 60001)}),
}


def setUpModule():
    GuestThatIsDeaf.begin()


class MessagesTest(unittest.TestCase):
    """One guest for all, and a session for each."""

    words = ()
    nonces = ("nonce-%d" % n for n in itertools.count(1))

    @classmethod
    def setUpClass(cls):
        cls.boot(cls.addClassCleanup)

    @classmethod
    def boot(cls, add_cleanup):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="hearth-messages."))
        add_cleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.guest = QemuGuest(cls.folder, *cls.words, devices=cls.devices())
        add_cleanup(cls.guest.kill)
        cls.host = cls.guest.connect()
        add_cleanup(lambda: cls.host.close())

    @classmethod
    def devices(cls):
        return ()

    def setUp(self):
        self.host.greet(next(self.nonces))

    def done(self, op, **members):
        self.assertEqual({}, self.host.call(op, **members), op)

    def refused(self, code, words, op, **members):
        answer = self.host.call(op, **members)
        self.assertEqual(code, answer.get("error"), answer)
        self.assertTrue(answer["message"].startswith(words), answer)

    def wait_end(self):
        """What the kernel says last."""
        self.guest.process.wait(BOOT_SECONDS)
        return re.findall(r"reboot: (.*)", self.guest.console.read_text())[-1].strip()


class GuestMessages(MessagesTest):
    @classmethod
    def devices(cls):
        disk = cls.folder / "disk"
        with disk.open("wb") as image:
            image.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", disk], check=True)
        return ("-drive", "id=disk,if=none,format=raw,file=%s" % disk,
                "-device", "virtio-blk-device,drive=disk",
                "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net,mac=" + MAC)

    # Sessions

    def test_a_hello_says_who_answers(self):
        hello = self.host.greet("n" * 64)

        self.assertEqual(("n" * 64, 1), (hello["hello"], hello["version"]))
        self.assertTrue(hello["agent"])
        self.assertEqual(self.host.sh("cat /proc/sys/kernel/random/boot_id").strip(), hello["boot_id"])

    def test_a_hello_that_is_none_is_ignored(self):
        for hello in ("", "n" * 65, 1, None, ["n"]):
            self.host.send(hello=hello, version=1)

        self.assertIn("uptime_ms", self.host.call("ping"))

    def test_the_way_is_found_again_after_what_are_no_lines(self):
        for garbage in (b"\n\n", b"[1]\n", b"{}\n", b"\xff\xfe\x00\n", b'{"id": 1, "op": "pi', b"x" * 100000,
                        b'{"hello": "cut', b'{"id": 1, "op": "ping"} more\n', b'{"a": ' * 100):
            self.host.send_bytes(garbage + b"\n")
            self.host.greet(next(self.nonces))

        self.assertIn("uptime_ms", self.host.call("ping"))

    def test_of_the_session_before_only_the_programs_go_on(self):
        self.host.start("sh", "-c", "read x; echo b; sleep 0.5; echo > /tmp-gone-on", stdin=True)
        self.host.send(stream=1, data=b64(b"x\n"))
        self.host.ask("exec", argv=["sh", "-c", "echo > /tmp-begun"])

        self.host.greet(next(self.nonces))

        self.assertEqual("new\n", self.host.sh("echo new"))  # the same number as the first one before
        wait_until(lambda: self.host.run("ls", "/tmp-gone-on", "/tmp-begun").exit == 0, "both go on")
        self.assertEqual([], [number for number in self.host.answers if number > self.host.last_id])

    def test_a_host_that_goes_ends_its_session(self):
        self.host.start("sh", "-c", "head -c 1000000 /dev/zero; echo nobody listens > /dev/console")
        self.host.close()
        wait_until(lambda: "nobody listens" in self.guest.console.read_text(), "it goes on")
        type(self).host = self.guest.connect()

        self.host.ask("ping")

        self.assertTrue(self.host.is_silent(1))
        self.host.greet(next(self.nonces))
        self.assertIn("uptime_ms", self.host.call("ping"))

    # Requests

    def test_ping(self):
        first, second = (self.host.call("ping")["uptime_ms"] for _ in range(2))

        self.assertGreater(first, 0)
        self.assertGreaterEqual(second, first)

    def test_what_is_no_request_is_refused(self):
        self.refused("UNKNOWN_OP", "fly", "fly")
        self.refused("UNKNOWN_OP", "", "")
        self.refused("BAD_REQUEST", "op", None)
        self.refused("BAD_REQUEST", "op", 1)

    def test_a_wrong_member_is_named(self):
        for op, (right, wrong) in WRONG.items():
            for name, values in wrong.items():
                for value in values:
                    answer = self.host.call(op, **{**right, name: value})
                    self.assertEqual(("BAD_REQUEST", name), (answer.get("error"), answer.get("message")),
                                     (op, value))
        self.assertEqual("", self.host.sh("ls /run/hearth/secrets 2> /dev/null || true"))

    def test_set_env_is_of_later_programs_and_of_shells(self):
        self.done("set_env", env={"A": "it's\n$x", "B": "b"}, replace=True)
        self.done("set_env", env={"B": "c"})

        self.assertEqual("it's\n$x c -\n", self.host.sh('echo "$A" $B ${C--}'))
        self.assertEqual("own c\n", self.host.sh("echo $A $B", env={"A": "own"}))
        self.assertEqual("it's\n$x c\n", self.host.sh('unset A B; . /run/hearth/env; echo "$A" $B'))
        self.assertEqual("600 0\n", self.host.sh("stat -c '%a %u' /run/hearth/env"))
        self.done("set_env", env={}, replace=True)
        self.assertEqual("0\n", self.host.sh("stat -c %s /run/hearth/env; echo -n $A"))

    def test_set_env_outlives_its_session_and_is_bounded(self):
        self.done("set_env", env={"KEPT": "yes"}, replace=True)
        self.host.greet(next(self.nonces))
        for n in range(4):
            self.done("set_env", env={"X%d" % n: "x" * 16000})

        self.refused("EXHAUSTED", "env", "set_env", env={"Y": "y", "X5": "x" * 16000})
        self.assertEqual("yes -\n", self.host.sh("echo $KEPT ${Y--}"))
        self.done("set_env", env={}, replace=True)

    def test_set_secret_is_a_file_in_memory_for_root(self):
        first, second = bytes(range(256)) * 64, b"2"
        digest = hashlib.sha256(first).hexdigest()

        self.done("set_secret", name="a.b", data=b64(first))

        self.assertEqual("%s  -\n" % digest, self.host.sh("sha256sum < /run/hearth/secrets/a.b"))
        self.assertEqual("600 0\n700 0\n", self.host.sh("cd /run/hearth && stat -c '%a %u' secrets/a.b secrets"))
        self.assertEqual("tmpfs\n", self.host.sh("stat -f -c %T /run/hearth/secrets"))
        refused = self.host.run("cat", "/run/hearth/secrets/a.b", user=1000)
        self.assertEqual((1, b""), (refused.exit, refused.outputs[1]))

        reader = self.host.start("sh", "-c", "exec 3< /run/hearth/secrets/a.b; echo; read x; sha256sum <&3",
                                 stdin=True)
        self.host.hear_until(lambda: self.host.streams[reader].heard)
        self.done("set_secret", name="a.b", data=b64(second))

        self.assertEqual("2", self.host.sh("cat /run/hearth/secrets/a.b"))
        self.host.send(stream=reader, eof=True)
        self.assertEqual("\n%s  -\n" % digest, self.host.finish(reader).outputs[1].decode())
        self.done("set_secret", name="a.b", remove=True)
        self.assertEqual("", self.host.sh("ls -A /run/hearth/secrets"))
        self.done("set_secret", name="a.b", remove=True)

    def test_ready_at_once_is_said_after_the_hello(self):
        self.host.call("ping")
        self.host.events.clear()

        self.host.greet(next(self.nonces))

        self.assertEqual({"ready": True}, self.host.call("ready"))
        self.assertEqual(["ready"], self.host.events)

    def test_stats_are_the_kernels(self):
        stats = self.host.call("stats")
        said = self.host.sh("awk '/^MemTotal/ { print $2 * 1024 }' /proc/meminfo; stat -f -c '%b %S' /")
        memory, blocks, block = (int(number) for number in said.split())

        self.assertEqual((memory, blocks * block), (stats["memory_total"], stats["disk_total"]))
        self.assertTrue(0 < stats["memory_available"] < memory, stats)
        self.assertTrue(0 < stats["disk_free"] < stats["disk_total"], stats)
        self.assertGreater(stats["processes"], 10)
        self.assertGreaterEqual(stats["load1_milli"], 0)

    def test_reseed(self):
        self.done("reseed", data=b64(bytes(64)))
        self.done("reseed", data=b64(bytes(DATA_MAX)))
        self.done("reseed", data="")

    def test_set_clock_changes_no_time_out(self):
        then = 2_000_000_000
        sleeper = self.host.start("sleep", "1000", timeout_ms=1500)

        self.done("set_clock", time_ns=then * 10**9)

        self.assertIn(int(self.host.sh("date +%s")), range(then, then + 60))
        self.assertIsNone(self.host.streams[sleeper].signal)
        self.done("set_clock", time_ns=time.time_ns())
        self.assertTrue(self.host.finish(sleeper).timed_out)
        self.assertLess(abs(int(self.host.sh("date +%s")) - time.time()), 60)
        self.refused("FAILED", "time_ns: Invalid argument", "set_clock", time_ns=2**63 - 1)

    # The network

    def show(self, *what):
        return self.host.sh("ip %s" % " ".join(what))

    def test_set_network_sets_all_that_is_named_and_replaces_addresses(self):
        self.done("set_network", interface="eth0", mac=OWN_MAC.upper(), mtu=1400, ipv4="10.9.0.2/24",
                  gateway4="10.9.0.1", ipv6="fd09::2/64", gateway6="fd09::1")

        link = self.show("link show eth0")
        self.assertIn("mtu 1400", link)
        self.assertIn("link/ether " + OWN_MAC, link)
        self.assertRegex(link, "<.*UP.*>")
        self.assertEqual(["10.9.0.2/24"], re.findall(r"inet (\S+)", self.show("-4 addr show eth0")))
        self.assertEqual(["fd09::2/64"], re.findall(r"inet6 (fd\S+)", self.show("-6 addr show eth0")))
        self.assertNotIn("tentative", self.show("-6 addr show eth0 scope global"))
        self.assertIn("default via 10.9.0.1 dev eth0", self.show("-4 route"))
        self.assertIn("default via fd09::1 dev eth0", self.show("-6 route"))

        self.done("set_network", interface="eth0", ipv4="10.8.0.7/32", gateway4="192.0.2.1")

        self.assertEqual(["10.8.0.7/32"], re.findall(r"inet (\S+)", self.show("-4 addr show eth0")))
        self.assertEqual(["default via 192.0.2.1 dev eth0"], re.findall("default .* eth0", self.show("-4 route")))
        self.assertEqual(["fd09::2/64"], re.findall(r"inet6 (fd\S+)", self.show("-6 addr show eth0")))
        self.assertIn("mtu 1400", self.show("link show eth0"))

        self.done("set_network", interface="eth0", mac=MAC, mtu=1500, ipv6="fd08::3/128", gateway6="fd08::1")

        self.assertIn("link/ether " + MAC, self.show("link show eth0"))
        self.assertEqual(["fd08::3/128"], re.findall(r"inet6 (fd\S+)", self.show("-6 addr show eth0")))
        self.assertEqual(["default via fd08::1 dev eth0"], re.findall("default .* eth0", self.show("-6 route")))

    def test_set_network_says_what_cannot_be_set(self):
        self.refused("NOT_FOUND", "interface: ", "set_network", interface="eth9")
        self.refused("FAILED", "mtu: ", "set_network", interface="eth0", mtu=1)
        self.refused("FAILED", "mac: ", "set_network", interface="eth0", mac="01:00:00:00:00:00")
        self.refused("FAILED", "gateway4: ", "set_network", interface="eth0", gateway4="224.0.0.1")

    # Freezing

    def mount_disk(self):
        self.host.sh("mkdir -p /disk && mount -t ext4 /dev/vda /disk")
        self.addCleanup(self.host.sh, "umount /disk")

    def test_freeze_holds_writers_until_thaw(self):
        self.mount_disk()
        reader = self.host.start("cat", stdin=True)

        frozen = self.host.call("freeze", timeout_ms=60000)
        self.host.send(stream=reader, eof=True)
        self.assertEqual(0, self.host.finish(reader).exit)  # nobody else has its input
        writer = self.host.start("sh", "-c", "echo x > /disk/x")
        self.refused("EXHAUSTED", "frozen already", "freeze")
        self.host.sh("sleep 1")
        waited = not self.host.streams[writer].ended
        thawed = self.host.call("thaw")

        self.assertEqual(({"frozen": 1}, True, {"thawed": 1}), (frozen, waited, thawed))
        self.assertEqual(0, self.host.finish(writer).exit)
        self.assertEqual({"thawed": 0}, self.host.call("thaw"))

    def test_freeze_ends_by_itself_for_a_host_that_does_not_come_back(self):
        self.mount_disk()

        self.assertEqual({"frozen": 1}, self.host.call("freeze", timeout_ms=1500))
        writer = self.host.start("sh", "-c", "echo y > /disk/y")

        self.assertEqual(0, self.host.finish(writer).exit)
        wait_until(lambda: self.host.call("freeze", timeout_ms=60000) == {"frozen": 1}, "it freezes again")
        self.host.greet(next(self.nonces))
        self.assertEqual({"thawed": 1}, self.host.call("thaw"))

    def test_freeze_ends_when_the_guest_ends_all_programs(self):
        self.mount_disk()
        self.assertEqual({"frozen": 1}, self.host.call("freeze", timeout_ms=60000))
        writer = self.host.start("sh", "-c", "echo z > /disk/z")

        self.host.sh("for pid in $(pidof hearth-guest); do [ $pid = $PPID ] || kill $pid; done")

        self.assertEqual(0, self.host.finish(writer).exit)
        self.assertEqual({"thawed": 0}, self.host.call("thaw"))

    def test_freeze_counts_what_can_be_frozen(self):
        self.assertEqual({"frozen": 0}, self.host.call("freeze"))
        self.assertEqual({"thawed": 0}, self.host.call("thaw"))

    # Programs

    def test_exec_says_both_outputs_and_the_exit(self):
        ran = self.host.run("sh", "-c", "pwd; echo $HOME- >&2; exit 7", cwd="/proc")

        self.assertEqual((b"/proc\n", b"-\n", 7, None), (ran.outputs[1], ran.outputs[2], ran.exit, ran.signal))

    def test_exec_says_the_signal(self):
        ran = self.host.run("sh", "-c", "kill -SEGV $$")

        self.assertEqual((None, 11, False), (ran.exit, ran.signal, ran.timed_out))

    def test_exec_runs_as_who_it_is_told(self):
        self.host.sh("echo root:x:0:0::/:/bin/sh > /etc/passwd; echo user:x:1000:100::/:/bin/sh >> /etc/passwd; "
                     "echo many:x:1001:100::/:/bin/sh >> /etc/passwd; "
                     "echo users:x:100: > /etc/group; echo more:x:101:user >> /etc/group; "
                     "for n in $(seq 200 299); do echo g$n:x:$n:many; done >> /etc/group")

        ids = "echo $(id -u) $(id -g) $(id -G)"
        self.assertEqual("1000 100 100 101\n", self.host.sh(ids, user="user"))
        self.assertEqual("1000 100 100 101\n", self.host.sh(ids, user=1000))
        self.assertEqual("4321 4321 4321\n", self.host.sh(ids, user="4321"))
        self.assertEqual("102\n", self.host.sh("grep ^Groups: /proc/$$/status | wc -w", user="many"))
        self.assertEqual("0 0 0\n", self.host.sh(ids, user="root"))

    def test_exec_says_what_is_not_there(self):
        for members, words in (({"argv": ["nonesuch"]}, "nonesuch: No such file"),
                               ({"argv": ["/bin"]}, "/bin: Permission denied"),
                               ({"argv": ["true"], "user": "nobody-here"}, "there is no user 'nobody-here'"),
                               ({"argv": ["true"], "cwd": "/nowhere"}, "/nowhere: No such file"),
                               ({"argv": ["true"], "cwd": "/init"}, "/init: Not a directory")):
            code = "FAILED" if "denied" in words else "NOT_FOUND"
            self.refused(code, words, "exec", **members)

    def test_exec_without_input_reads_nothing(self):
        self.assertEqual("0\n", self.host.sh("wc -c"))

    def test_exec_is_killed_with_its_group_when_told_or_late(self):
        late = self.host.run("sh", "-c", "%s & %s; true" % (NEVER, NEVER), timeout_ms=300)
        told = self.host.start("sh", "-c", "%s & %s; true" % (NEVER, NEVER))
        self.host.send(stream=told, kill=15)

        self.assertEqual((9, True), (late.signal, late.timed_out))
        self.assertEqual((15, False), (self.host.finish(told).signal, self.host.streams[told].timed_out))
        self.assertEqual("", self.host.sh("pidof sleep || true"))

    def test_exec_says_no_more_than_the_credit(self):
        talker = self.host.start("head", "-c", "1000000", "/dev/zero")
        stream = self.host.streams[talker]

        for credit, heard in ((0, CREDIT), (1, CREDIT + 1), (20000, CREDIT + 20001)):
            if credit:
                self.host.send(stream=talker, credit=credit)
            self.host.hear_until(lambda: stream.heard >= heard)
            self.assertIn("uptime_ms", self.host.call("ping"))
            self.assertTrue(self.host.is_silent(0.5))
            self.assertEqual(heard, stream.heard)
        self.host.send(stream=talker, credit=1000000)
        self.assertEqual((0, 1000000), (self.host.finish(talker).exit, stream.heard))

    def test_exec_takes_input_by_credit(self):
        data = bytes(range(256)) * 8192
        reader = self.host.start("sh", "-c", "sleep 0.5; sha256sum", stdin=True)

        self.host.send_input(reader, data)

        self.assertEqual("%s  -\n" % hashlib.sha256(data).hexdigest(),
                         self.host.finish(reader).outputs[1].decode())

    def test_exec_is_ended_by_input_beyond_the_credit(self):
        reader = self.host.start("sleep", "1000", stdin=True)

        for _ in range(2 * CREDIT // DATA_MAX + 1):
            self.host.send(stream=reader, data=b64(bytes(DATA_MAX)))

        self.assertEqual((9, False), (self.host.finish(reader).signal, self.host.streams[reader].timed_out))

    def test_wrong_lines_for_a_stream_are_ignored(self):
        reader = self.host.start("cat", stdin=True)

        for members in ({"kill": 0}, {"kill": 1000}, {"kill": "KILL"}, {"credit": -1}, {"credit": "all"},
                        {"rows": 1}, {"rows": 30, "cols": 100}, {"eof": "yes"}, {"data": 1}, {"data": "?"}, {}):
            self.host.send(stream=reader, **members)
            self.host.send(stream=reader + 1000, **members)
        self.host.send(stream=reader, data=b64(b"all"), eof=True)

        self.assertEqual((0, b"all"), (self.host.finish(reader).exit, self.host.streams[reader].outputs[1]))

    def hear_output(self, number, words):
        self.host.hear_until(lambda: words in self.host.streams[number].outputs[1])

    def type(self, number, text):
        self.host.send(stream=number, data=b64(text))

    def test_a_terminal_has_a_size_that_changes(self):
        script = "trap 'stty size; exit 5' WINCH; stty size; tty; while true; do sleep 0.1; done"
        shell = self.host.start("sh", "-c", script, tty=True, stdin=True, rows=30, cols=100)

        self.hear_output(shell, b"30 100\r\n/dev/pts/")
        self.host.send(stream=shell, rows=40, cols=120)
        self.hear_output(shell, b"\r\n40 120\r\n")

        self.assertEqual(5, self.host.finish(shell).exit)

    def test_control_c_ends_the_program_in_front(self):
        shell = self.host.start("sh", tty=True, stdin=True, env={"PS1": "", "TERM": "dumb"})

        self.type(shell, b"echo go; %s\n" % NEVER.encode())
        self.hear_output(shell, b"\ngo\r\n")
        wait_until(lambda: self.host.run("pidof", "sleep").exit == 0, "it runs")
        self.type(shell, b"\x03")
        self.hear_output(shell, b"^C")
        self.type(shell, b"echo was $?\n")
        self.hear_output(shell, b"was 130\r\n")
        self.type(shell, b"\x04")

        self.assertEqual(0, self.host.finish(shell).exit)
        alone = self.host.start("sleep", "1000", tty=True, stdin=True)
        self.type(alone, b"\x03")
        self.assertEqual(2, self.host.finish(alone).signal)

    def test_a_terminal_is_its_users(self):
        ran = self.host.run("sh", "-c", "stat -c %u $(tty); echo > /dev/tty && echo hello", tty=True, user=1234,
                            stdin=True)

        self.assertEqual((0, b"1234\r\n\r\nhello\r\n"), (ran.exit, ran.outputs[1]))

    def test_twenty_run_beside_one_that_never_stops_talking(self):
        talker = self.host.start("yes")
        stream = self.host.streams[talker]
        self.host.send(stream=talker, credit=1 << 30)

        sleepers = [self.host.start("sh", "-c", "sleep 1; echo %d; exit %d" % (n, n)) for n in range(1, 21)]
        heard, pings = stream.heard, [self.host.ask("ping") for _ in range(20)]
        for ping in pings:
            self.assertIn("uptime_ms", self.host.answer_to(ping))
        self.host.finish(*sleepers)

        self.assertEqual([(n, b"%d\n" % n) for n in range(1, 21)],
                         [(self.host.streams[n].exit, self.host.streams[n].outputs[1]) for n in sleepers])
        self.assertGreater(stream.heard, heard + CREDIT)
        self.assertIsNone(stream.signal)
        self.host.send(stream=talker, kill=9)
        self.assertEqual(9, self.host.finish(talker).signal)

    def test_too_many_at_once_are_refused(self):
        running = [self.host.start("sleep", "1000") for _ in range(64)]

        self.refused("EXHAUSTED", "exec", "exec", argv=["true"])
        for number in running:
            self.host.send(stream=number, kill=9)
        self.host.finish(*running)
        self.assertEqual("one\n", self.host.sh("echo one"))

    def daemon_memory(self, key):
        return int(self.host.sh("awk '/^%s/ { print $2 }' /proc/$(pidof hearth-guest)/status" % key))

    def test_a_hundred_megabytes_pass_in_little_memory(self):
        before = self.daemon_memory("VmRSS")

        ran = self.host.run("head", "-c", "100000000", "/dev/zero")

        after = self.daemon_memory("VmHWM")
        self.assertEqual((0, 100000000), (ran.exit, ran.heard))
        self.assertLess(after, before + 256)

    def test_no_descriptor_and_no_process_is_left(self):
        def left():
            return self.host.sh("ls /proc/$(pidof hearth-guest)/fd | wc -l; ps -o stat | grep -c Z; true")

        before = left()
        for n in range(20):
            self.host.call("exec", argv=["nonesuch"])
            self.host.run("true", tty=n % 2 == 0, stdin=n % 3 == 0)
            self.host.call("freeze", timeout_ms=1)
            self.host.greet(next(self.nonces))
            self.host.start("true")
        wait_until(lambda: left() == before, "as many as before")


class GuestThatIsWaitedFor(MessagesTest):
    """In the order of the names."""

    words = ("hearth.wait-ready",)

    def test_1_it_is_ready_when_it_says_so(self):
        self.assertEqual({"ready": False}, self.host.call("ready"))
        self.assertNotIn("ready", self.host.events)

        self.host.sh("hearth-guest ready")
        self.host.hear_until(lambda: "ready" in self.host.events)

        self.assertEqual({"ready": True}, self.host.call("ready"))

    def test_2_the_next_daemon_of_this_boot_knows(self):
        self.host.call("ping")
        self.host.events.clear()
        self.host.ask("exec", argv=["sh", "-c", "hearth-guest --wait-ready > /dev/null 2>&1 & "
                                                "sleep 0.2; kill $PPID"])
        self.host.hear_until(lambda: "started" in self.host.events)

        self.host.greet(next(self.nonces))

        self.assertEqual({"ready": True}, self.host.call("ready"))
        self.assertEqual(["started", "ready"], self.host.events)

    def test_3_shutdown_is_answered_and_inits(self):
        self.done("shutdown")

        self.assertEqual("Power down", self.wait_end())
        self.assertIn("hearth-guest: told to power off", self.guest.console.read_text())


class GuestThatBegins(MessagesTest):
    """In the order of the names."""

    def setUp(self):
        pass

    def test_1_before_a_hello_nothing_is_answered(self):
        self.host.ask("ping")  # before its daemon is there
        self.host.hear_until(lambda: self.host.events)

        self.host.ask("ping")
        self.host.send(stream=1, eof=True)

        self.assertTrue(self.host.is_silent(1))
        self.assertEqual((["started"], {}), (self.host.events, self.host.answers))

    def test_2_reboot_is_answered_and_inits(self):
        self.host.greet(next(self.nonces))

        self.done("reboot")

        self.assertEqual("Restarting system", self.wait_end())
        self.assertIn("hearth-guest: told to reboot", self.guest.console.read_text())


class GuestThatIsDeaf(MessagesTest):
    """Begun before all others: it takes its time."""

    words = ("hearth.deaf",)

    @classmethod
    def begin(cls):
        cls.boot(unittest.addModuleCleanup)
        cls.host.greet(next(cls.nonces))
        # The first one counts.
        cls.answers = [cls.host.call("shutdown"), cls.host.call("reboot")]

    @classmethod
    def setUpClass(cls):
        pass

    def setUp(self):
        pass

    def test_shutdown_is_done_without_init(self):
        self.assertEqual("Power down", self.wait_end())
        self.assertEqual([{}, {}], self.answers)
        self.assertNotIn("hearth-guest: told", self.guest.console.read_text())
