# SPDX-License-Identifier: Apache-2.0
"""hearthctl exec against an agent that says what a test has it say. (Real guests: tests/e2e.)"""

import concurrent.futures
import contextlib
import fcntl
import json
import os
import pty
import queue
import random
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest
import uuid

import grpc

from harness import PROGRAMS, G, guest_pb2_grpc, wait_until

CANCELLED, NOT_FOUND, INTERNAL, UNAVAILABLE = 16 + 1, 16 + 5, 16 + 13, 16 + 14
STARTED = G.ExecResponse(started=G.ExecStarted(pid=7))
STILL = 0.7  # seconds in which nothing moves: it stands


def out(data):
    return G.ExecResponse(output=data)


def err(data):
    return G.ExecResponse(error_output=data)


def read_some(fd, count):
    """What can be read of @fd by now; it has to come."""
    assert select.select([fd], [], [], 30)[0], "nothing comes"
    return os.read(fd, count)


def ended(code=0, by=0, timed_out=False):
    return G.ExecResponse(ended=G.ExecEnded(exit_code=-1 if by else code, signal=by,
                                            timed_out=timed_out))


class Agent(guest_pb2_grpc.GuestServiceServicer):
    """Answers Exec as its script does: called with (first request, the others, context)."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hearth-test.")
        self.address = "unix:%s/agent.sock" % self.folder
        self.requests = queue.Queue()  # all of them, as they come
        self.over = threading.Event()  # a call has ended
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        guest_pb2_grpc.add_GuestServiceServicer_to_server(self, self.server)
        assert self.server.add_insecure_port(self.address)
        self.server.start()

    def _noted(self, requests):
        for request in requests:
            self.requests.put(request)
            yield request

    def Exec(self, requests, context):
        context.add_callback(self.over.set)
        noted = self._noted(requests)
        yield from self.script(next(noted), noted, context)

    def next(self):
        return self.requests.get(timeout=30)

    def close(self):
        self.server.stop(0).wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def runs(*answers):
    """A script that only answers."""
    return lambda first, others, context: iter((STARTED, *answers))


def echo(first, others, context):
    """What cat would do."""
    yield STARTED
    yield out(first.input)
    if not first.end_of_input:
        for request in others:
            yield out(request.input)
            if request.end_of_input:
                break
    yield ended()


def until_signal(first, others, context):
    """Says that it runs; a signal ends it."""
    yield STARTED
    yield out(b"here")
    for request in others:
        if request.signal:
            yield ended(by=request.signal)
            return


def deaf(first, others, context):
    """Says that it runs, and takes all there is."""
    yield STARTED
    yield out(b"here")
    for _ in others:
        pass


class ExecTest(unittest.TestCase):
    def setUp(self):
        self.agent = Agent()
        self.addCleanup(self.agent.close)

    def command(self, *arguments, program=("program",)):
        return [str(PROGRAMS / "hearthctl"), "--address", self.agent.address, "exec", "vm-1",
                *arguments, "--", *program]

    def run_exec(self, *arguments, program=("program",), **options):
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(self.command(*arguments, program=program), capture_output=True,
                              timeout=60, **options)

    def start(self, *arguments, stdin=subprocess.PIPE, **options):
        process = subprocess.Popen(self.command(*arguments), stdin=stdin, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, bufsize=0, **options)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            if file:
                file.close()

    def read(self, process, count):
        """That many bytes of its output."""
        data = b""
        while len(data) < count:
            more = read_some(process.stdout.fileno(), count - len(data))
            self.assertTrue(more, "its output ended")
            data += more
        return data

    def running(self, *arguments, **options):
        """Starts it; the script, which says so, is seen to run."""
        process = self.start(*arguments, **options)
        self.assertEqual(b"here", self.read(process, 4))
        return process


class Requests(ExecTest):
    def setUp(self):
        super().setUp()
        self.agent.script = runs(ended())

    def first(self, *arguments, **options):
        result = self.run_exec(*arguments, **options)
        self.assertEqual((0, b""), (result.returncode, result.stderr))
        return self.agent.next()

    def test_options_are_what_is_asked_for(self):
        first = self.first("-C", "/srv", "-u", "www", "--env", "A=1", "--env", "B=x=y", "--env",
                           "A=2", "--limit", "1500ms", "--exec-id", "mine", "--expected-uid", "u-1",
                           program=("ls", "-l", "--", "a b"))

        self.assertEqual(("vm-1", "u-1", "mine"), (first.vm_id, first.expected_uid, first.exec_id))
        self.assertEqual(["ls", "-l", "--", "a b"], first.program.command)
        self.assertEqual({"A": "2", "B": "x=y"}, first.program.env)
        self.assertEqual(("/srv", "www"), (first.program.working_dir, first.program.user))
        self.assertEqual((1, 500_000_000),
                         (first.program.timeout.seconds, first.program.timeout.nanos))

    def test_what_is_not_given_is_not_asked_for(self):
        first = self.first()

        self.assertEqual(G.ExecProgram(command=["program"]), first.program)
        self.assertFalse(first.HasField("terminal"))

    def test_each_request_has_an_id_of_its_own(self):
        ids = {self.first().exec_id for _ in range(3)}

        self.assertEqual(3, len(ids))
        for text in ids:
            self.assertEqual((text, 4), (str(uuid.UUID(text)), uuid.UUID(text).version))

    def test_without_i_nothing_is_read(self):
        mine, its = os.pipe()
        self.addCleanup(os.close, mine)
        self.addCleanup(os.close, its)
        os.write(its, b"for somebody else")

        first = self.first(stdin=mine)

        self.assertEqual((True, b""), (first.end_of_input, first.input))
        self.assertEqual(b"for somebody else", read_some(mine, 100))

    def test_a_variable_without_a_value_makes_no_sense(self):
        for variable in ("A", "=x"):
            result = self.run_exec("--env", variable)

            self.assertEqual(2, result.returncode)
            self.assertIn(b"is not NAME=VALUE", result.stderr)
        self.assertTrue(self.agent.requests.empty())

    def test_t_takes_a_terminal(self):
        for arguments, code, words in ((("-it",), 1, b"the input device is not a terminal"),
                                       (("-t",), 2, b"-t goes with -i"),
                                       (("-it", "-o", "json"), 2, b"not with -o json")):
            result = self.run_exec(*arguments)

            self.assertEqual(code, result.returncode)
            self.assertIn(words, result.stderr)
        self.assertTrue(self.agent.requests.empty())


class Answers(ExecTest):
    def test_both_outputs_come_as_they_are(self):
        whole = bytes(range(256)) * 700
        self.agent.script = runs(out(whole), err(b"\x00\xff\r\n"), out(b"\n\x1b[0m"), err(b"!"),
                                 ended())

        result = self.run_exec()

        self.assertEqual(whole + b"\n\x1b[0m", result.stdout)
        self.assertEqual(b"\x00\xff\r\n!", result.stderr)

    def test_it_exits_as_the_program_did(self):
        for end, status in ((ended(0), 0), (ended(3), 3), (ended(255), 255), (ended(by=11), 139)):
            self.agent.script = runs(end)

            result = self.run_exec()

            self.assertEqual((status, b""), (result.returncode, result.stderr))

    def test_output_is_shown_before_the_end(self):
        more = threading.Event()
        self.addCleanup(more.set)

        def script(first, others, context):
            yield STARTED
            yield out(b"here")
            more.wait(60)
            yield ended(5)

        self.agent.script = script
        process = self.running(stdin=subprocess.DEVNULL)
        self.assertIsNone(process.poll())
        more.set()

        self.assertEqual(5, process.wait(30))

    def test_time_that_was_up_is_told(self):
        self.agent.script = runs(ended(by=9, timed_out=True))

        result = self.run_exec("--limit", "1s")

        self.assertEqual(137, result.returncode)
        self.assertIn(b"its time was up", result.stderr)

    def test_json_is_a_line_for_each_answer(self):
        self.agent.script = runs(out(b"\xff"), ended(4))

        result = self.run_exec("-o", "json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]

        self.assertEqual(4, result.returncode)
        self.assertEqual(7, lines[0]["started"]["pid"])
        self.assertEqual("/w==", lines[1]["output"])
        self.assertEqual(4, lines[2]["ended"]["exitCode"])

    def test_who_does_not_read_holds_up_the_program(self):
        block, count, sent = b"x" * 65536, 400, []

        def script(first, others, context):
            yield STARTED
            for _ in range(count):
                sent.append(None)
                yield out(block)
            yield ended()

        self.agent.script = script
        process = self.start(stdin=subprocess.DEVNULL)
        wait_until(lambda: sent, "it runs")
        before = -1
        while before != len(sent):
            before = len(sent)
            time.sleep(STILL)

        self.assertLess(before, count)
        self.assertEqual(block * count, self.read(process, len(block) * count))
        self.assertEqual(0, process.wait(30))

    def test_an_output_that_is_closed_ends_it(self):
        def script(first, others, context):
            yield STARTED
            yield out(b"here")
            while context.is_active():
                yield out(b"x" * 1000)

        self.agent.script = script
        process = self.running(stdin=subprocess.DEVNULL)
        process.stdout.close()

        self.assertEqual(-signal.SIGPIPE, process.wait(30))
        self.assertTrue(self.agent.over.wait(30))


class Failures(ExecTest):
    def test_a_refusal_is_told(self):
        def script(first, others, context):
            context.abort(grpc.StatusCode.NOT_FOUND, "vm not found")
            yield

        self.agent.script = script

        result = self.run_exec()

        self.assertEqual((NOT_FOUND, b""), (result.returncode, result.stdout))
        self.assertIn(b"error: vm not found (NOT_FOUND)", result.stderr)

    def test_a_call_that_breaks_is_told_after_the_output(self):
        def script(first, others, context):
            yield STARTED
            yield out(b"half")
            context.abort(grpc.StatusCode.UNAVAILABLE, "the agent ends")

        self.agent.script = script

        result = self.run_exec()

        self.assertEqual((UNAVAILABLE, b"half"), (result.returncode, result.stdout))
        self.assertIn(b"the agent ends", result.stderr)

    def test_an_end_that_was_not_told_of_is_no_success(self):
        self.agent.script = runs(out(b"half"))

        result = self.run_exec()

        self.assertEqual((INTERNAL, b"half"), (result.returncode, result.stdout))
        self.assertIn(b"did not tell how it ended", result.stderr)

    def test_nobody_there_is_told(self):
        self.agent.server.stop(0).wait()

        result = self.run_exec("-i")

        self.assertEqual(UNAVAILABLE, result.returncode)
        self.assertIn(b"no answer from hearthd", result.stderr)

    def test_a_program_that_did_not_run_has_taken_no_input(self):
        mine, its = os.pipe()
        self.addCleanup(os.close, mine)
        self.addCleanup(os.close, its)
        os.write(its, b"for the next one")

        def script(first, others, context):
            context.abort(grpc.StatusCode.NOT_FOUND, "vm not found")
            yield

        self.agent.script = script

        self.assertEqual(NOT_FOUND, self.run_exec("-i", stdin=mine).returncode)
        self.assertEqual(b"for the next one", read_some(mine, 100))

    def test_time_for_the_call_can_be_up(self):
        self.agent.script = deaf

        result = self.run_exec("--timeout", "500ms")

        self.assertEqual(16 + 4, result.returncode)
        self.assertIn(b"no answer in time", result.stderr)


class Input(ExecTest):
    def setUp(self):
        super().setUp()
        self.agent.script = echo

    def test_five_megabytes_go_there_and_back_in_order(self):
        data = random.Random(7).randbytes(5 << 20)

        result = self.run_exec("-i", input=data)

        self.assertEqual(0, result.returncode, result.stderr)
        self.assertTrue(data == result.stdout)
        while not self.agent.requests.empty():
            self.assertLessEqual(len(self.agent.next().input), 16384)

    def test_its_end_is_told(self):
        result = self.run_exec("-i", input=b"")

        self.assertEqual((0, b""), (result.returncode, result.stdout))
        self.assertFalse(self.agent.next().end_of_input)
        self.assertEqual(G.ExecRequest(end_of_input=True), self.agent.next())

    def test_a_file_is_read_to_its_end(self):
        with open(__file__, "rb") as file:
            result = self.run_exec("-i", stdin=file)

        with open(__file__, "rb") as file:
            self.assertEqual(file.read(), result.stdout)

    def test_each_line_is_answered_before_the_next(self):
        process = self.start("-i")
        begin = time.monotonic()

        for i in range(200):
            line = b"%d\n" % i
            process.stdin.write(line)
            self.assertEqual(line, self.read(process, len(line)))
        took = time.monotonic() - begin
        process.stdin.close()

        self.assertEqual(0, process.wait(30))
        # With the client's ticks, one each way, it would take 40 s.
        self.assertLess(took, 15)

    def test_a_program_may_end_before_its_input(self):
        self.agent.script = runs(out(b"done"), ended(6))

        process = self.start("-i")

        self.assertEqual(6, process.wait(30))

    def test_what_the_program_does_not_take_is_not_read(self):
        silence = threading.Event()
        self.addCleanup(silence.set)

        def script(first, others, context):
            yield STARTED
            silence.wait(60)

        self.agent.script = script
        process = self.start("-i")
        os.set_blocking(process.stdin.fileno(), False)
        written, limit, moved = 0, 32 << 20, time.monotonic()
        while written < limit and time.monotonic() < moved + STILL:
            with contextlib.suppress(BlockingIOError):
                written += os.write(process.stdin.fileno(), b"x" * 65536)
                moved = time.monotonic()
            time.sleep(0.001)

        self.assertLess(written, limit)

    def test_input_that_cannot_be_read_is_told(self):
        folder = os.open("/", os.O_RDONLY)
        self.addCleanup(os.close, folder)

        result = self.run_exec("-i", stdin=folder)

        self.assertEqual(1, result.returncode)
        self.assertIn(b"cannot read standard input: Is a directory", result.stderr)
        self.assertTrue(self.agent.over.wait(30))


class Signals(ExecTest):
    def test_they_are_the_programs(self):
        self.agent.script = until_signal
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.running(stdin=subprocess.DEVNULL)
            process.send_signal(number)

            self.assertEqual(128 + number, process.wait(30))

    def test_also_after_its_input_has_ended(self):
        self.agent.script = until_signal
        process = self.running("-i")
        process.stdin.close()
        self.agent.next()
        self.assertTrue(self.agent.next().end_of_input)

        process.send_signal(signal.SIGINT)

        self.assertEqual(128 + signal.SIGINT, process.wait(30))

    def test_the_second_one_ends_the_call(self):
        self.agent.script = deaf
        process = self.running("-i")
        self.agent.next()
        process.send_signal(signal.SIGINT)
        self.assertEqual(G.ExecRequest(signal=signal.SIGINT), self.agent.next())
        self.assertIsNone(process.poll())

        process.send_signal(signal.SIGINT)

        self.assertEqual(CANCELLED, process.wait(30))
        self.assertIn(b"interrupted", process.stderr.read())
        self.assertTrue(self.agent.over.wait(30))

    def test_also_while_nobody_reads_its_output(self):
        def script(first, others, context):
            yield STARTED
            yield out(b"here")
            while context.is_active():
                yield out(b"x" * 65536)

        self.agent.script = script
        process = self.running(stdin=subprocess.DEVNULL)
        time.sleep(STILL)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)

        self.assertEqual(CANCELLED, process.wait(30))

    def test_before_it_runs_one_is_enough(self):
        silence = threading.Event()
        self.addCleanup(silence.set)

        def script(first, others, context):
            silence.wait(60)
            yield STARTED

        self.agent.script = script
        process = self.start()
        self.agent.next()

        process.send_signal(signal.SIGINT)

        self.assertEqual(CANCELLED, process.wait(30))


class Terminals(ExecTest):
    def setUp(self):
        super().setUp()
        self.agent.script = deaf
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.resize(31, 97)
        self.before = termios.tcgetattr(self.slave)

    def resize(self, rows, columns):
        """The kernel sends SIGWINCH to who is at the terminal."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def start(self, *arguments, stdout=None, env=None, **options):
        """With the terminal as its own, as a shell would start it."""
        process = subprocess.Popen(["setsid", "--ctty", *self.command(*(arguments or ("-it",)))],
                                   stdin=self.slave, stdout=stdout or self.slave,
                                   stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
        self.addCleanup(self.end, process)
        return process

    def shown(self, end):
        """What the terminal shows, up to @end."""
        data = b""
        while not data.endswith(end):
            data += read_some(self.master, 1000)
        return data

    def running(self, *arguments, **options):
        process = self.start(*arguments, **options)
        self.shown(b"here")
        return process

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def assert_restored(self):
        self.assertEqual(self.before, termios.tcgetattr(self.slave))

    def test_the_first_request_has_its_size_and_kind(self):
        self.running(env={"TERM": "vt220"})

        first = self.agent.next()

        self.assertEqual(G.TerminalSize(rows=31, columns=97), first.terminal)
        self.assertEqual({"TERM": "vt220"}, first.program.env)
        self.assertFalse(first.end_of_input)

    def test_another_kind_can_be_given(self):
        self.running("-i", "-t", "--env", "TERM=dumb", env={"TERM": "vt220"})

        self.assertEqual({"TERM": "dumb"}, self.agent.next().program.env)

    def test_a_terminal_without_a_size_has_the_usual_one(self):
        self.resize(0, 0)
        self.running()

        self.assertEqual(G.TerminalSize(rows=24, columns=80), self.agent.next().terminal)

    def test_another_size_is_told(self):
        self.running()
        self.agent.next()

        for rows, columns in ((50, 120), (1, 1), (12000, 2)):
            self.resize(rows, columns)

            self.assertEqual(G.ExecRequest(terminal=G.TerminalSize(
                rows=min(rows, 10000), columns=columns)), self.agent.next())

    def test_what_is_typed_is_the_guests(self):
        self.running()
        self.agent.next()
        typed = b"a\r\x03\x1a\x04\x1c\x11\x13\x16\x7f"
        os.write(self.master, typed)

        got = b""
        while len(got) < len(typed):
            request = self.agent.next()
            self.assertEqual((0, False), (request.signal, request.end_of_input))
            got += request.input

        self.assertEqual(typed, got)

    def test_what_is_shown_is_the_guests(self):
        self.agent.script = runs(out(b"a\nb\tc\xff<"), ended())
        process = self.start()

        self.assertEqual(b"a\nb\tc\xff<", self.shown(b"<"))
        self.assertEqual(0, process.wait(30))

    def test_it_is_restored_at_the_end(self):
        def script(first, others, context):
            yield STARTED
            yield out(b"here")
            yield ended(next(others).input[0])

        self.agent.script = script
        process = self.running()
        self.assertTrue(self.is_raw())

        os.write(self.master, b"\x05")

        self.assertEqual(5, process.wait(30))
        self.assert_restored()

    def test_it_is_restored_when_the_call_fails(self):
        def script(first, others, context):
            yield STARTED
            yield out(b"here")
            next(others)
            context.abort(grpc.StatusCode.UNAVAILABLE, "the agent ends")

        self.agent.script = script
        process = self.running()
        self.assertTrue(self.is_raw())

        os.write(self.master, b"x")

        self.assertEqual(UNAVAILABLE, process.wait(30))
        self.assertIn(b"the agent ends", process.stderr.read())
        self.assert_restored()

    def test_it_is_restored_when_a_signal_ends_it(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                       signal.SIGABRT):
            self.agent.over.clear()
            process = self.running()
            self.assertTrue(self.is_raw())

            process.send_signal(number)

            self.assertEqual(-number, process.wait(30))
            self.assert_restored()
            self.assertTrue(self.agent.over.wait(30))

    def test_it_is_restored_when_its_output_is_closed(self):
        def script(first, others, context):
            yield STARTED
            yield out(b"here")
            yield out(next(others).input)
            yield ended()

        self.agent.script = script
        mine, its = os.pipe()
        process = self.start(stdout=its)
        os.close(its)
        self.assertEqual(b"here", read_some(mine, 10))
        self.assertTrue(self.is_raw())
        os.close(mine)

        os.write(self.master, b"x")

        self.assertEqual(-signal.SIGPIPE, process.wait(30))
        self.assert_restored()

    def test_until_it_runs_the_terminal_is_as_it_was(self):
        silence = threading.Event()
        self.addCleanup(silence.set)

        def script(first, others, context):
            silence.wait(60)
            yield STARTED

        self.agent.script = script
        process = self.start()
        self.agent.next()
        self.assert_restored()

        os.write(self.master, b"\x03")

        self.assertEqual(CANCELLED, process.wait(30))
        self.assert_restored()


if __name__ == "__main__":
    unittest.main()
