# SPDX-License-Identifier: Apache-2.0
"""What hearthctl says to and of guests, seen by hearthd and by an agent that is none. (Real guests: tests/e2e.)"""

import concurrent.futures
import json
import os
import pty
import shutil
import subprocess
import tempfile
import threading
import unittest

import grpc

from harness import PROGRAMS, DaemonTest, G, V, guest_pb2_grpc, vm_pb2_grpc, wait_until

DEADLINE_EXCEEDED, UNIMPLEMENTED = 16 + 4, 16 + 12
USAGE, HERE, INVALID = 2, 1, 16 + 3


class InMemory(DaemonTest):
    def test_a_guest_that_there_is_none_of_cannot_be_expected(self):
        for words, field in ((("--guest-agent", "required"), "guest_agent"), (("--secret", "token"), "secrets")):
            result = self.ctl("create", self.new_id(), *words, check=False)

            self.assertEqual(UNIMPLEMENTED, result.returncode)
            self.assertIn("backend unsupported: in_memory: spec.%s" % field, result.stderr)

    def test_a_bad_secret_is_named(self):
        result = self.ctl("create", self.new_id(), "--secret", "a/b", "--secret", "x", "--secret", "x", check=False)

        self.assertEqual(INVALID, result.returncode)
        self.assertIn("field spec.secrets[0]: ", result.stderr)
        self.assertIn("field spec.secrets[2]: ", result.stderr)

    def test_ready_can_be_waited_for(self):
        vm_id = self.new_id()

        self.assertEqual("%s running\n" % vm_id,
                         self.ctl("create", vm_id, "--start", "--return", "ready").stdout)
        self.ctl("pause", vm_id)
        self.ctl("resume", vm_id, "--return", "ready")
        self.ctl("stop", vm_id, "--guest-grace", "1s")
        self.ctl("start", vm_id, "--return", "ready")

    def test_a_grace_that_is_too_long_is_named(self):
        vm = self.running()

        result = self.ctl("stop", vm.vm_id, "--guest-grace", "2h", check=False)

        self.assertEqual(INVALID, result.returncode)
        self.assertIn("field guest_timeout: ", result.stderr)

    def test_there_is_no_guest_in_memory(self):
        vm_id = self.running().vm_id
        for words in (("ping", vm_id), ("env", "set", vm_id, "A=1"), ("secret", "set", vm_id, "token"),
                      ("secret", "remove", vm_id, "token")):
            result = self.ctl(*words, check=False)

            self.assertEqual(UNIMPLEMENTED, result.returncode)
            self.assertIn("backend unsupported: guest (in_memory)", result.stderr)

    def test_bad_fields_of_questions_are_named_and_values_are_not(self):
        for words, field in ((("secret", "set", "x", ".token"), "name"), (("secret", "remove", "x", ""), "name"),
                             (("env", "set", "x", "1A=hidden"), "env"),
                             (("env", "set", "x", "A=" + "hidden" * 3000), "env"),
                             (("ping", "x", "--wait", "0s"), "timeout"),
                             (("secret", "set", "x", "t", "--wait", "1h"), "timeout")):
            result = self.ctl(*words, check=False)

            self.assertEqual(INVALID, result.returncode, words)
            self.assertIn("field %s: " % field, result.stderr)
            self.assertNotIn("hidden", result.stderr)


class Agent(vm_pb2_grpc.VmServiceServicer, guest_pb2_grpc.GuestServiceServicer):
    """Notes what it is asked, with how long it has for it, and answers; once it may, of secrets."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hearth-test.")
        self.address = "unix:%s/agent.sock" % self.folder
        self.asked, self.has_asked, self.may_answer = [], threading.Event(), threading.Event()
        self.may_answer.set()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        vm_pb2_grpc.add_VmServiceServicer_to_server(self, self.server)
        guest_pb2_grpc.add_GuestServiceServicer_to_server(self, self.server)
        assert self.server.add_insecure_port(self.address)
        self.server.start()

    def note(self, request, context, answer):
        self.asked.append((request, context.time_remaining()))
        self.has_asked.set()
        self.may_answer.wait(30)
        return answer

    def SetSecret(self, request, context):
        return self.note(request, context, G.SetSecretResponse())

    def SetEnv(self, request, context):
        return self.note(request, context, G.SetEnvResponse())

    def StopVm(self, request, context):
        return self.note(request, context, V.Vm(vm_id=request.vm_id))

    def StartVm(self, request, context):
        return self.note(request, context, V.Vm(vm_id=request.vm_id))

    CreateVm = ResumeVm = StartVm

    def close(self):
        self.may_answer.set()
        self.server.stop(0).wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class AgentTest(unittest.TestCase):
    def setUp(self):
        self.agent = Agent()
        self.addCleanup(self.agent.close)

    def command(self, *words):
        return [str(PROGRAMS / "hearthctl"), "--address", self.agent.address, *words]

    def run_ctl(self, *words, input=b"", **options):
        return subprocess.run(self.command(*words), input=input, capture_output=True, timeout=60, **options)

    def asks(self, *words, **options):
        """What it asks for, and for how long it waits."""
        result = self.run_ctl(*words, **options)
        self.assertEqual((0, b""), (result.returncode, result.stderr))
        return self.agent.asked.pop()


class Secrets(AgentTest):
    value = bytes(range(256)) * 64  # 16 KiB

    def file(self, value):
        file = tempfile.NamedTemporaryFile()
        self.addCleanup(file.close)
        file.write(value)
        file.flush()
        return file.name

    def test_a_value_goes_as_it_is(self):
        for value in (self.value, b"", b"\0", b"line\r\n", b"\xff" * 16384):
            for words in ((), ("-f", "-"), ("-f", self.file(value))):
                request, _ = self.asks("secret", "set", "vm-1", "token", *words, input=value)

                self.assertEqual(G.SetSecretRequest(vm_id="vm-1", name="token", data=value), request)

    def test_a_value_may_come_in_pieces(self):
        process = subprocess.Popen(self.command("secret", "set", "vm-1", "token"), stdin=subprocess.PIPE, bufsize=0,
                                   stdout=subprocess.DEVNULL)
        for i in range(8):
            process.stdin.write(self.value[i * 2048:i * 2048 + 2048])
        process.stdin.close()

        self.assertEqual(0, process.wait(30))
        self.assertEqual(self.value, self.agent.asked[0][0].data)

    def test_what_is_too_much_or_cannot_be_read_is_not_sent(self):
        for words, code, why in (((), USAGE, b"standard input has more than 16384 bytes"),
                                 (("-f", self.file(self.value + b"x")), USAGE, b"has more than 16384 bytes"),
                                 (("-f", "/nowhere"), HERE, b"/nowhere: No such file"),
                                 (("-f", "/"), HERE, b"/: Is a directory")):
            result = self.run_ctl("secret", "set", "vm-1", "token", *words, input=self.value + b"x")

            self.assertEqual(code, result.returncode)
            self.assertIn(why, result.stderr)
        self.assertEqual([], self.agent.asked)

    def test_a_terminal_is_refused(self):
        ours, its = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, its)
        for words in ((), ("-f", "-"), ("-f", os.ttyname(its))):
            result = subprocess.run(self.command("secret", "set", "vm-1", "token", *words), stdin=its,
                                    capture_output=True, timeout=30)

            self.assertEqual(USAGE, result.returncode)
            self.assertIn(b"is a terminal, where the value would be seen", result.stderr)
        self.assertEqual([], self.agent.asked)

    def test_one_is_removed(self):
        request, _ = self.asks("secret", "remove", "vm-1", "token", "--expected-uid", "u-1", input=b"not read")

        self.assertEqual(G.SetSecretRequest(vm_id="vm-1", expected_uid="u-1", name="token", remove=True), request)

    def memory(self, pid):
        """What the process can write to, but for its first stack, which may have what registers held, and a
        sanitizer's shadow, which is huge."""
        parts = []
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory:
            for line in maps:
                place, rights = line.split()[:2]
                begin, end = (int(number, 16) for number in place.split("-"))
                if "rw" in rights and "[stack]" not in line and end - begin <= 2**26:
                    memory.seek(begin)
                    parts.append(memory.read(end - begin))
        return b"".join(parts)

    def test_it_is_forgotten_before_the_guest_answers(self):
        for size in (16, 300, 16384):
            value = os.urandom(size)
            pieces = [value[at:at + 15] for at in range(0, size, max(16, size // 16))]
            self.agent.may_answer.clear()
            self.agent.has_asked.clear()
            process = subprocess.Popen(self.command("secret", "set", "vm-1", "token"), stdin=subprocess.PIPE,
                                       bufsize=0, stdout=subprocess.DEVNULL)

            process.stdin.write(value)
            wait_until(lambda: pieces[0] in self.memory(process.pid), "it is read")
            process.stdin.close()
            self.assertTrue(self.agent.has_asked.wait(30))

            def is_forgotten():
                memory = self.memory(process.pid)
                return not any(piece in memory for piece in pieces)
            wait_until(is_forgotten, "it is forgotten", 10)
            self.agent.may_answer.set()
            self.assertEqual(0, process.wait(30))
            self.assertEqual(value, self.agent.asked.pop()[0].data)


class Questions(AgentTest):
    def test_create_asks_for_the_guest_as_its_options_and_its_file_say(self):
        request, _ = self.asks("create", "vm-1", "--guest-agent", "required", "--secret", "token", "--secret", "tls.key")
        self.assertEqual(V.VmSpec(guest_agent=V.GUEST_AGENT_REQUIRED, secrets=["token", "tls.key"]), request.spec)

        spec = json.dumps({"guestAgent": "GUEST_AGENT_OPTIONAL", "secrets": ["token"]}).encode()
        request, _ = self.asks("create", "vm-1", "--file", "-", "--secret", "key", input=spec)
        self.assertEqual(V.VmSpec(guest_agent=V.GUEST_AGENT_OPTIONAL, secrets=["token", "key"]), request.spec)

    def test_variables_are_what_is_given_and_the_last_of_a_name_counts(self):
        request, _ = self.asks("env", "set", "vm-1", "A=1", "B=", "A=x=y", "C= \n")

        self.assertEqual(G.SetEnvRequest(vm_id="vm-1", env={"A": "x=y", "B": "", "C": " \n"}), request)

    def test_all_can_be_replaced_also_by_none(self):
        self.assertEqual(G.SetEnvRequest(vm_id="vm-1", replace=True), self.asks("env", "set", "vm-1", "--replace")[0])
        self.assertEqual(G.SetEnvRequest(vm_id="vm-1", replace=True, env={"A": "1"}),
                         self.asks("env", "set", "vm-1", "--replace", "A=1")[0])

    def test_what_is_no_variable_is_not_sent_and_not_shown(self):
        for words in (("A=1", "hidden"), ("=hidden",), ()):
            result = self.run_ctl("env", "set", "vm-1", *words)

            self.assertEqual(USAGE, result.returncode)
            self.assertIn(b"NAME=VALUE", result.stderr)
            self.assertNotIn(b"hidden", result.stderr)
        self.assertEqual([], self.agent.asked)

    def test_no_value_is_printed(self):
        for words in (("env", "set", "vm-1", "A=hidden"), ("secret", "set", "vm-1", "token")):
            for form in ("table", "wide", "json", "name"):
                result = self.run_ctl(*words, "-o", form, input=b"hidden")

                self.assertEqual(0, result.returncode)
                self.assertNotIn(b"hidden", result.stdout + result.stderr)

    def test_the_guest_is_waited_for_as_long_as_is_said(self):
        for words in (("env", "set", "vm-1", "A=1"), ("secret", "set", "vm-1", "token"),
                      ("secret", "remove", "vm-1", "token")):
            request, left = self.asks(*words, "--wait", "90s")
            self.assertEqual(90, request.timeout.seconds)
            self.assertAlmostEqual(150, left, delta=10)

            request, left = self.asks(*words)
            self.assertFalse(request.HasField("timeout"))
            self.assertAlmostEqual(65, left, delta=10)

    def test_a_stop_has_time_for_all_its_rungs(self):
        request, left = self.asks("stop", "vm-1", "--guest-grace", "30s")
        self.assertEqual((30, False, False), (request.guest_timeout.seconds, request.HasField("power_button_timeout"),
                                              request.HasField("terminate_timeout")))
        self.assertAlmostEqual(60 + 30 + 10 + 5, left, delta=10)

        request, left = self.asks("stop", "vm-1", "--guest-grace", "0", "--grace", "1m", "--terminate-grace", "2m")
        self.assertEqual((True, 0, 60, 120), (request.HasField("guest_timeout"), request.guest_timeout.seconds,
                                              request.power_button_timeout.seconds, request.terminate_timeout.seconds))
        self.assertAlmostEqual(60 + 180, left, delta=10)

        request, left = self.asks("stop", "vm-1")
        self.assertFalse(request.HasField("guest_timeout"))
        self.assertAlmostEqual(60 + 10 + 10 + 5, left, delta=10)

    def test_a_vm_that_is_to_be_ready_is_waited_for_as_long_as_it_takes(self):
        for words in (("create", "vm-1", "--start"), ("start", "vm-1"), ("resume", "vm-1")):
            request, left = self.asks(*words, "--return", "ready")
            self.assertEqual(V.RETURN_WHEN_READY, request.return_when)
            self.assertTrue(left is None or left > 10**6, left)

            self.assertAlmostEqual(60, self.asks(*words)[1], delta=10)
            self.assertAlmostEqual(9, self.asks(*words, "--return", "ready", "--timeout", "9s")[1], delta=5)

    def test_time_for_the_call_can_be_up(self):
        self.agent.may_answer.clear()

        self.assertEqual(DEADLINE_EXCEEDED, self.run_ctl("secret", "set", "vm-1", "token", "--timeout", "500ms").returncode)


if __name__ == "__main__":
    unittest.main()
