# SPDX-License-Identifier: Apache-2.0
"""In the place of QEMU or Firecracker: speaks just enough of QMP or of the API, and misbehaves.

vmm_stand_in.py qemu|firecracker ARGUMENT... What goes wrong is in the kernel's arguments, which is
where a test can say it, as fault=KIND:PLACE[:once|:ever]: at that command or path (or at "listen" or
"greeting"), each time, the first time alone, or from the first time on everywhere. It passes the
probes of both.
"""

import json
import os
import re
import signal
import socket
import sys
import threading
import time

# What runtime/qemu_probe.c and runtime/firecracker_probe.c want to see.
QEMU_PROOF = 85
FIRECRACKER_PROOF = "hearth ran here"
EVENT = b'{"event": "NOISE", "data": {"of": "%s"}}\r\n' % (b"x" * 64)
NOISE = b"x" * 65536


class Fault:
    """What goes wrong where, until it has gone wrong."""

    def __init__(self, text):
        found = re.search(r"fault=([-a-z]+):([-_a-zA-Z/]+):?(once|ever)?", text)
        self.kind, self.place, self.times = found.groups() if found else (None, None, None)
        self.everywhere = False

    def at(self, place):
        if place != self.place and not self.everywhere:
            return None
        kind = self.kind
        if self.times == "once":
            self.kind = None
        self.everywhere = self.times == "ever"
        return kind


def misbehave(client, kind, answer):
    """@answer: the bytes that would have been right."""
    if kind == "stall":
        time.sleep(3600)
    elif kind == "half":
        client.sendall(answer[:len(answer) // 2])
        time.sleep(3600)
    elif kind == "dribble":
        for byte in answer[:-1]:
            client.sendall(bytes([byte]))
            time.sleep(0.3)
        time.sleep(3600)
    elif kind == "endless":
        client.sendall(answer)
        while True:
            client.sendall(NOISE)
    elif kind == "flood":
        while True:
            client.sendall(EVENT * 64)
    elif kind == "garbage":
        client.sendall(b"\x00\xff{{{]]\r\n\r\n" * 8)
        time.sleep(3600)
    elif kind == "deep":
        client.sendall(b'{"return": ' + b"[" * 100000 + b"\r\n")
        time.sleep(3600)
    elif kind == "exit":
        os._exit(7)
    client.close()  # "close"


class Qemu:
    def __init__(self, arguments):
        text = " ".join(arguments)
        self.fault = Fault(text)
        self.path = re.search(r"id=control,path=([^,]+)", text).group(1)
        self.status = "prelaunch"

    def run(self):
        if self.fault.at("listen"):
            time.sleep(3600)
        server = socket.socket(socket.AF_UNIX)
        server.bind(self.path)
        server.listen(1)
        while True:
            client, _ = server.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            self.send(client, "greeting", {"QMP": {"version": {}, "capabilities": []}})
            for line in client.makefile("rb"):
                command = json.loads(line)
                name = command["execute"]
                answer = {"return": {}, "id": command["id"]}
                if self.fault.place == name and self.fault.kind == "wrong-id":
                    answer["id"] += 1000
                self.status = {"cont": "running", "stop": "paused"}.get(name, self.status)
                if name == "query-status":
                    answer["return"] = {"status": self.status}
                self.send(client, name, answer)
        except OSError:
            pass

    def send(self, client, place, message):
        answer = json.dumps(message).encode() + b"\r\n"
        kind = self.fault.at(place)
        if kind in (None, "wrong-id"):
            client.sendall(answer)
        else:
            misbehave(client, kind, answer if kind != "endless" else answer[:-2])
            raise OSError("closed")


class Firecracker:
    def __init__(self, arguments):
        self.path = arguments[arguments.index("--api-sock") + 1]
        self.fault = Fault("")
        self.state = "Not started"

    def run(self):
        server = socket.socket(socket.AF_UNIX)
        server.bind(self.path)
        server.listen(8)
        while True:
            client, _ = server.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            stream = client.makefile("rb")
            while line := stream.readline():
                method, path, _ = line.decode().split()
                length = 0
                while (header := stream.readline().strip()):
                    name, value = header.decode().split(":", 1)
                    length = int(value) if name.lower() == "content-length" else length
                body = json.loads(stream.read(length)) if length else {}
                self.answer(client, method, path, body)
        except (OSError, ValueError):
            client.close()

    def answer(self, client, method, path, body):
        if path == "/boot-source":
            self.fault = Fault(body["boot_args"])
        if body.get("action_type") == "InstanceStart":
            self.state = "Running"
        self.state = {"Paused": "Paused", "Resumed": "Running"}.get(body.get("state"), self.state)
        place = body.get("action_type") or body.get("state") or path
        right = b"HTTP/1.1 204 No Content\r\n\r\n"
        if method == "GET":
            text = json.dumps({"state": self.state, "vmm_version": "1.14.0", "id": "x",
                               "app_name": "Firecracker"}).encode()
            right = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        kind = self.fault.at(place)
        if kind == "refuse":
            words = b'{"fault_message": "%s"}' % (b"no, " * 4000)
            right = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(words), words)
        if kind in ("endless", "nonsense"):
            right = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        if kind == "nonsense":
            right = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1]\n"
        if kind == "headers":
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                client.sendall(b"X-Noise: %s\r\n" % NOISE[:1000])
        if kind in (None, "refuse", "nonsense"):
            client.sendall(right)
        else:
            misbehave(client, kind, right)
            raise OSError("closed")


def main():
    kind, arguments = sys.argv[1], sys.argv[2:]
    if "--version" in arguments:
        print("QEMU emulator version 7.2.0" if kind == "qemu" else "Firecracker v1.14.0")
    elif "-bios" in arguments:
        sys.exit(QEMU_PROOF)
    elif "--no-api" in arguments:
        print(FIRECRACKER_PROOF)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (Qemu if kind == "qemu" else Firecracker)(arguments).run()


if __name__ == "__main__":
    main()
