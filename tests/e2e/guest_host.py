# SPDX-License-Identifier: Apache-2.0
"""A guest on QEMU without hearthd, and a host that speaks runtime/guest/protocol.h to its daemon."""

import base64
import ctypes
import json
import mmap
import shutil
import socket
import subprocess
import time
import unittest

from harness import GUEST, wait_until

ANSWER_SECONDS = 60
BOOT_SECONDS = 120
CREDIT = 64 * 1024
DATA_MAX = 16 * 1024


def tsc_khz():
    """QEMU's emulation gives a guest the host's counter, and the guest cannot measure it."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")  # rdtsc; shl $32,%rdx; or %rdx,%rax; ret
        place = ctypes.c_char.from_buffer(code)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
        begun, first = time.monotonic_ns(), read()
        time.sleep(0.1)
        count, took = read() - first, time.monotonic_ns() - begun
        del place
    return count * 10**6 // took


class Stream:
    """What came of a program."""

    def __init__(self):
        self.pid = self.exit = self.signal = self.timed_out = None
        self.outputs = {1: b"", 2: b""}
        self.heard = 0  # bytes of output
        self.credit = CREDIT  # of input

    @property
    def ended(self):
        return self.exit is not None or self.signal is not None


class Host:
    """Whoever is at the other end of the serial port."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(ANSWER_SECONDS)
        self.bytes = b""
        self.events = []
        self.hello = None
        self.begin_session()

    def begin_session(self):
        self.answers, self.streams, self.last_id = {}, {}, 0

    def close(self):
        self.socket.close()

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send(self, **members):
        self.send_bytes(json.dumps(members).encode() + b"\n")

    def hear(self):
        """One more line of the guest."""
        while b"\n" not in self.bytes:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("the guest is gone")
            self.bytes += more
        line, self.bytes = self.bytes.split(b"\n", 1)
        try:
            said = json.loads(line)
        except ValueError:
            return  # the end of what was said to whoever was there before
        if "hello" in said:
            self.hello = said
        elif "event" in said:
            self.events.append(said["event"])
        elif "id" in said:
            self.answers[said.pop("id")] = said
        elif said.get("stream") in self.streams:
            self.hear_stream(self.streams[said["stream"]], said)

    def hear_stream(self, stream, said):
        data = base64.b64decode(said.get("data", ""))
        if data:
            stream.outputs[said["fd"]] = (stream.outputs[said["fd"]] + data)[-4 * CREDIT:]
            stream.heard += len(data)
        stream.credit += said.get("credit", 0)
        for name in ("exit", "signal", "timed_out"):
            setattr(stream, name, said.get(name, getattr(stream, name)))

    def hear_until(self, condition):
        while not condition():
            self.hear()

    def greet(self, nonce):
        self.begin_session()
        self.hello = None
        self.send(hello=nonce, version=1)
        self.hear_until(lambda: self.hello and self.hello["hello"] == nonce)
        return self.hello

    def is_silent(self, seconds):
        """Says nothing more for so long; what is said all the same is heard later."""
        self.socket.settimeout(seconds)
        try:
            more = self.socket.recv(65536)
            self.bytes += more
            return False
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(ANSWER_SECONDS)

    def ask(self, op, **members):
        """Return: the number of the request."""
        self.last_id += 1
        self.send(id=self.last_id, op=op, **members)
        return self.last_id

    def answer_to(self, number):
        self.hear_until(lambda: number in self.answers)
        return self.answers.pop(number)

    def call(self, op, **members):
        return self.answer_to(self.ask(op, **members))

    def start(self, *argv, **members):
        """Return: the number of the stream, which is executed."""
        number = self.ask("exec", argv=argv, **members)
        self.streams[number] = Stream()
        answer = self.answer_to(number)
        if "pid" not in answer:
            raise AssertionError("exec %s: %s" % (argv, answer))
        self.streams[number].pid = answer["pid"]
        return number

    def finish(self, *numbers):
        """Hears streams to their ends, with all the credit they want."""
        given = {number: self.streams[number].heard for number in numbers}
        while not all(self.streams[number].ended for number in numbers):
            self.hear()
            for number in numbers:
                stream = self.streams[number]
                if stream.heard - given[number] >= CREDIT // 4 and not stream.ended:
                    self.send(stream=number, credit=stream.heard - given[number])
                    given[number] = stream.heard
        return self.streams[numbers[0]]

    def run(self, *argv, **members):
        return self.finish(self.start(*argv, **members))

    def sh(self, script, **members):
        """What a line of shell says, that goes well."""
        ran = self.run("sh", "-c", script, **members)
        if (ran.exit, ran.outputs[2]) != (0, b""):
            raise AssertionError("%s: %s %s" % (script, ran.exit, ran.outputs[2]))
        return ran.outputs[1].decode()

    def send_input(self, number, data):
        """As its credit allows."""
        stream = self.streams[number]
        while data:
            self.hear_until(lambda: stream.credit > 0)
            piece = data[:min(DATA_MAX, stream.credit)]
            self.send(stream=number, data=base64.b64encode(piece).decode())
            stream.credit -= len(piece)
            data = data[len(piece):]
        self.send(stream=number, eof=True)


class QemuGuest:
    """The guest of deploy/make-guest, as hearth starts one."""

    def __init__(self, folder, *words, devices=()):
        if not shutil.which("qemu-system-x86_64"):
            raise unittest.SkipTest("there is no qemu-system-x86_64")
        if not (GUEST / "vmlinuz").exists():
            raise unittest.SkipTest("there is no kernel in %s: deploy/make-guest" % GUEST)
        self.path, self.console = folder / "guest.sock", folder / "console"
        self.process = subprocess.Popen([
            "qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "max", "-m", "128",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-serial", "file:%s" % self.console, "-global", "virtio-mmio.force-legacy=off",
            "-device", "virtio-serial-device",
            "-chardev", "socket,id=guest,path=%s,server=on,wait=off" % self.path,
            "-device", "virtserialport,chardev=guest,name=hearth.guest.0", *devices,
            "-kernel", GUEST / "vmlinuz", "-initrd", GUEST / "initrd", "-append",
            " ".join(("console=ttyS0 reboot=t panic=1 quiet tsc_early_khz=%d" % tsc_khz(), *words))])

    def connect(self):
        wait_until(self.path.exists, "QEMU listens")
        return Host(self.path)

    def kill(self):
        self.process.kill()
        self.process.wait()
