# SPDX-License-Identifier: Apache-2.0
"""What several clients saw of the same few VMs can have happened, one call after another.

Each history is recorded at a real hearthd, then checked for linearizability by porcupine, against
the step table of runtime/vm_state.c itself (tests/history/checker). In some hearthd is killed.
"""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

import grpc  # noqa: E402

from harness import PROGRAMS, Client, Code, Hearthd, V  # noqa: E402

SEED = int(os.environ.get("HEARTH_HISTORY_SEED", random.randrange(2**32)))
HISTORIES = int(os.environ.get("HEARTH_HISTORIES", 20))
CLIENTS, VMS, CALLS = 6, 3, 40
OPS = ("create", "create", "start", "stop", "pause", "resume", "destroy", "get", "get")
UNANSWERED = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED)


class Recorder(threading.Thread):
    """One client, and what it saw."""

    def __init__(self, address, vm_ids, seed):
        super().__init__(daemon=True)
        self.address, self.vm_ids = address, vm_ids
        self.random = random.Random(seed)
        self.calls = []
        self.client = Client(address)

    def run(self):
        for _ in range(CALLS):
            self.call(self.random.choice(OPS), self.random.choice(self.vm_ids))
        self.client.close()

    def request(self, op, vm_id):
        if op == "create":
            return V.CreateVmRequest(vm_id=vm_id, spec=V.VmSpec(
                desired_state=V.DESIRED_STATE_RUNNING, labels={"n": str(self.random.randrange(2))}))
        return getattr(V, op.capitalize() + "VmRequest")(vm_id=vm_id)

    def call(self, op, vm_id):
        method = getattr(self.client.vms, op.capitalize() + "Vm")
        record = {"vm": vm_id, "op": op, "call": time.monotonic_ns(), "return": 0, "code": "",
                  "state": ""}
        self.calls.append(record)
        try:
            answer = method(self.request(op, vm_id), timeout=20)
            record["code"] = "OK"
            if op != "destroy":
                record["state"] = V.VmState.Name(answer.status.state)[len("VM_STATE_"):].lower()
        except grpc.RpcError as error:
            if error.code() in UNANSWERED:
                time.sleep(0.05)
                if op == "get":
                    self.calls.pop()  # it has no effect
                return
            record["code"] = error.code().name
        record["return"] = time.monotonic_ns()


class HistoryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="hearth-history."))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.checker = cls.folder / "history"
        subprocess.run(["go", "build", "-o", cls.checker, "."], cwd=ROOT / "tests/history/checker",
                       env={**os.environ, "GOFLAGS": "-mod=mod"}, check=True)
        cls.table = cls.folder / "table.json"
        cls.table.write_bytes(subprocess.run([PROGRAMS / "vm_table"], check=True,
                                             stdout=subprocess.PIPE).stdout)
        print("seed %d" % SEED, flush=True)

    def verdict(self, calls):
        text = "".join(json.dumps(call) + "\n" for call in calls)
        return subprocess.run([self.checker, self.table], input=text, check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def record(self, number, kills):
        """Of VMs of its own."""
        vm_ids = ["vm-%d-%d" % (number, n) for n in range(VMS)]
        recorders = [Recorder(self.daemon.address, vm_ids, SEED + 100 * number + n)
                     for n in range(CLIENTS)]
        for recorder in recorders:
            recorder.start()
        if kills:
            time.sleep(0.05)
            self.daemon.restart()
        for recorder in recorders:
            recorder.join(120)
            self.assertFalse(recorder.is_alive(), "a call never ends")
        return [call for recorder in recorders for call in recorder.calls]

    def check_all(self, kills):
        self.daemon = Hearthd("--qemu-binary", "/none", "--firecracker-binary", "/none")
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        count = unanswered = 0
        for number in range(HISTORIES // 2):
            calls = self.record(number, kills)
            count += len(calls)
            unanswered += sum(not call["code"] for call in calls)
            verdict = self.verdict(calls)
            if verdict != "Ok":
                kept = pathlib.Path(tempfile.gettempdir()) / "hearth-history.jsonl"
                kept.write_text("".join(json.dumps(call) + "\n" for call in calls))
                self.fail("seed %d: history %d is %s; it is in %s" % (SEED, number, verdict, kept))
        print("%d histories of %d calls, %d of them unanswered" % (HISTORIES // 2, count, unanswered),
              flush=True)

    def test_what_clients_see_of_the_same_vms_can_have_happened(self):
        self.check_all(kills=False)

    def test_it_can_with_a_killed_agent_in_the_midst_too(self):
        self.check_all(kills=True)

    def history(self, *rows):
        """(op, call, return, code, state), of one VM."""
        return [{"vm": "x", "op": op, "call": call, "return": end, "code": code, "state": state}
                for op, call, end, code, state in rows]

    def test_what_cannot_have_happened_is_told(self):
        create = ("create", 1, 2, "OK", "running")
        for name, *rows in (
                ("a stale read", create, ("stop", 3, 4, "OK", "stopped"),
                 ("get", 5, 6, "OK", "running")),
                ("a lost destroy", create, ("destroy", 3, 4, "OK", ""), ("get", 5, 6, "OK", "running")),
                ("a lost creation", create, ("get", 3, 4, "NOT_FOUND", "")),
                ("a start of nothing", ("start", 1, 2, "OK", "running")),
                ("two that both destroyed it", create, ("destroy", 3, 4, "OK", ""),
                 ("destroy", 5, 6, "OK", "")),
                ("a refusal without reason", create, ("pause", 3, 4, "FAILED_PRECONDITION", "")),
                ("a busy VM that nobody works on", create, ("get", 3, 4, "OK", "stopping"))):
            with self.subTest(name):
                self.assertEqual("Illegal", self.verdict(self.history(*rows)))

    def test_what_can_is_not(self):
        create = ("create", 1, 4, "OK", "running")
        for name, *rows in (
                ("a read of either", create, ("stop", 5, 9, "OK", "stopped"),
                 ("get", 6, 7, "OK", "running")),
                ("two that destroy it at once", create, ("destroy", 5, 8, "OK", ""),
                 ("destroy", 6, 7, "OK", "")),
                ("an unanswered creation, later", ("create", 1, 0, "", ""),
                 ("get", 5, 6, "NOT_FOUND", ""), ("get", 7, 8, "OK", "running"))):
            with self.subTest(name):
                self.assertEqual("Ok", self.verdict(self.history(*rows)))
