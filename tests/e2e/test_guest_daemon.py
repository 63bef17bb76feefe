# SPDX-License-Identifier: Apache-2.0
"""hearth-guest in a real guest, asked through the API."""

import concurrent.futures
import itertools
import random
import threading
import time
import uuid

import grpc
from google.protobuf import duration_pb2

from harness import Code, Failure, G, V, memory_kib, process_alive, wait_until
from test_guest import BOOT_SECONDS, GuestTest

MIB = 2**20


class GuestDaemon(GuestTest):
    """One guest for all."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        self = cls()
        cls.vm_id = self.new_id()
        cls.daemon.vms.CreateVm(V.CreateVmRequest(vm_id=cls.vm_id, spec=V.VmSpec(
            desired_state=V.DESIRED_STATE_RUNNING, boot=self.boot_spec())), timeout=BOOT_SECONDS)
        # From now on: it is waited for while it boots.
        self.ping(timeout=duration_pb2.Duration(seconds=BOOT_SECONDS))

    @property
    def guest(self):
        return self.daemon.client.guest

    def ping(self, **fields):
        return self.guest.Ping(G.PingRequest(vm_id=self.vm_id, **fields), timeout=BOOT_SECONDS)

    def run_in(self, *command, deadline=60, **fields):
        return self.guest.Run(G.RunRequest(vm_id=self.vm_id, command=command, **fields),
                              timeout=deadline)

    def sh(self, script, **fields):
        ran = self.run_in("sh", "-c", script, **fields)
        self.assertEqual((0, b""), (ran.exit_code, ran.error_output), ran)
        return ran.output.decode()

    def test_it_answers(self):
        answer = self.ping()

        self.assertGreater(answer.uptime.ToMilliseconds(), 0)
        self.assertGreater(answer.round_trip.ToMicroseconds(), 0)

    def test_a_program_runs_to_its_end(self):
        ran = self.run_in("sh", "-c", "pwd; echo wrong >&2; exit 7", working_dir="/proc")

        self.assertEqual((b"/proc\n", b"wrong\n", 7, 0, False), (
            ran.output, ran.error_output, ran.exit_code, ran.signal, ran.timed_out))

    def test_a_signal_is_told(self):
        ran = self.run_in("sh", "-c", "kill -TERM $$")

        self.assertEqual((-1, 15), (ran.exit_code, ran.signal))

    def test_what_it_reads_is_what_was_sent(self):
        data = bytes(range(256)) * 2048  # more than is let through at a time

        ran = self.run_in("cat", input=data)

        self.assertEqual(data, ran.output)

    def test_without_input_it_reads_nothing(self):
        self.assertEqual("0\n", self.sh("wc -c | tr -d ' '"))

    def test_one_whose_time_is_up_is_killed_with_all_it_began(self):
        ran = self.run_in("sh", "-c", "sleep 1001 & sleep 1001",
                          timeout=duration_pb2.Duration(nanos=500_000_000))

        self.assertEqual((True, 9), (ran.timed_out, ran.signal))
        self.assertEqual("", self.sh("ps | grep 'sleep 100[1]' || true"))

    def test_one_whose_caller_has_gone_is_killed(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.run_in("sleep", "1002", deadline=1)

        self.assertEqual(Code.DEADLINE_EXCEEDED, caught.exception.code())
        wait_until(lambda: self.sh("ps | grep 'sleep 100[2]' || true") == "", "it is killed")

    def test_more_output_than_is_kept_is_cut_and_said(self):
        before = memory_kib(self.daemon.pid)

        ran = self.run_in("sh", "-c", "head -c 20000000 /dev/zero; echo end >&2", max_output_bytes=1000)

        self.assertEqual((1000, 0, True), (len(ran.output), ran.exit_code, ran.truncated))
        self.assertLess(memory_kib(self.daemon.pid), before + 8 * 1024)

    def test_twenty_run_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            ran = list(pool.map(lambda n: self.run_in("sh", "-c", "sleep 1; echo %d" % n), range(20)))

        self.assertEqual([b"%d\n" % n for n in range(20)], [one.output for one in ran])

    def test_what_is_not_there_is_named(self):
        for fields, words in ((dict(command=["nonesuch"]), "nonesuch: No such file"),
                              (dict(command=["id"], user="nobody-here"), "there is no user 'nobody-here'"),
                              (dict(command=["id"], working_dir="/nowhere"), "/nowhere: No such file")):
            failure = self.refused(self.guest.Run, G.RunRequest(vm_id=self.vm_id, **fields),
                                   Code.NOT_FOUND, "GUEST_METADATA")
            self.assertIn(words, failure.message)

    def test_a_user_without_a_name_is_that_user(self):
        self.assertEqual("1234:1234\n", self.sh("echo $(id -u):$(id -g)", user="1234"))

    def test_variables_are_every_later_programs(self):
        set_env = self.guest.SetEnv
        set_env(G.SetEnvRequest(vm_id=self.vm_id, env={"A": "it's", "B": "b"}, replace=True), timeout=20)
        set_env(G.SetEnvRequest(vm_id=self.vm_id, env={"B": "c"}), timeout=20)

        self.assertEqual("it's c d\n", self.sh("echo $A $B $C", env={"C": "d"}))
        self.assertEqual("it's c\n", self.sh(". /run/hearth/env; echo $A $B"))
        set_env(G.SetEnvRequest(vm_id=self.vm_id, replace=True), timeout=20)
        self.assertEqual("\n", self.sh("echo $A $B"))

    def test_a_secret_is_roots_in_memory_and_in_no_log(self):
        secret = b"s3cr3t-%d" % time.monotonic_ns()
        self.guest.SetSecret(G.SetSecretRequest(vm_id=self.vm_id, name="token", data=secret), timeout=20)

        self.assertEqual(secret.decode(), self.sh("cat /run/hearth/secrets/token"))
        self.assertEqual("600 0\n", self.sh("stat -c '%a %u' /run/hearth/secrets/token"))
        self.assertNotIn(secret.decode(), self.daemon.log_path.read_text())
        self.assertNotIn(secret.decode(), self.console(self.vm_id))
        self.guest.SetSecret(G.SetSecretRequest(vm_id=self.vm_id, name="token", remove=True), timeout=20)
        self.assertEqual("", self.sh("ls /run/hearth/secrets"))

    def test_the_next_agent_finds_it_again_and_the_daemon_goes_on(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run_in, "sh", "-c", "sleep 3; echo done > /tmp-done")
            time.sleep(1)
            self.daemon.restart()
            with self.assertRaises(grpc.RpcError) as caught:
                running.result()

        self.assertEqual(Code.UNAVAILABLE, caught.exception.code())
        self.ping()
        wait_until(lambda: self.run_in("cat", "/tmp-done").output == b"done\n", "it has gone on")

    def test_the_end_of_a_daemon_is_noticed_when_the_next_one_begins(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.run_in("sh", "-c", "hearth-guest > /dev/null 2>&1 & sleep 0.2; kill $PPID; sleep 1003")

        failure = Failure(caught.exception)
        self.assertEqual("guest metadata: exec: the guest's daemon has begun anew", failure.message)
        self.assertEqual(Code.UNAVAILABLE, failure.code)
        self.ping(timeout=duration_pb2.Duration(seconds=60))


    def exec_in(self, *command, requests=(), terminal=None, input=b"", deadline=60, end=True, **program):
        """Everything one program answers, from its first request on; more @requests as they come."""
        first = G.ExecRequest(vm_id=self.vm_id, exec_id=str(uuid.uuid4()), input=input, end_of_input=end,
                              terminal=terminal, program=G.ExecProgram(command=command, **program))
        return self.guest.Exec(itertools.chain([first], requests), timeout=deadline)

    def outcome(self, answers):
        """Output, error output and the end, checked for order."""
        answers = list(answers)
        self.assertTrue(answers[0].HasField("started"), answers[0])
        self.assertGreater(answers[0].started.pid, 1)
        self.assertTrue(all(a.output or a.error_output for a in answers[1:-1]))
        self.assertTrue(answers[-1].HasField("ended"))
        return (b"".join(a.output for a in answers), b"".join(a.error_output for a in answers),
                answers[-1].ended)

    def test_exec_tells_both_outputs_and_the_end(self):
        output, errors, end = self.outcome(self.exec_in("sh", "-c", "pwd; echo wrong >&2; exit 7",
                                                        working_dir="/proc"))

        self.assertEqual((b"/proc\n", b"wrong\n", 7, 0), (output, errors, end.exit_code, end.signal))

    def test_exec_passes_input_on_in_order_to_its_end(self):
        data = random.Random(7).randbytes(5 * MIB)
        parts = (G.ExecRequest(input=data[i:i + 300_000]) for i in range(0, len(data), 300_000))

        output, _, end = self.outcome(self.exec_in("cat", requests=parts, end=False))

        self.assertEqual((0, len(data)), (end.exit_code, len(output)))
        self.assertEqual(data, output)

    def test_exec_of_100_mb_at_bounded_memory_beside_a_client_that_waits(self):
        before = memory_kib(self.daemon.pid)
        stream = self.exec_in("head", "-c", "100000000", "/dev/zero", deadline=300)
        taken = sum(len(next(stream).output) for _ in range(4))
        time.sleep(2)  # nobody reads: what is kept meanwhile is bounded
        waiting = memory_kib(self.daemon.pid)
        self.ping()
        taken += sum(len(answer.output) for answer in stream)

        self.assertEqual(100_000_000, taken)
        self.assertLess(max(waiting, memory_kib(self.daemon.pid)), before + 8 * 1024)
        inside = int(self.sh("grep VmRSS /proc/$(pidof hearth-guest)/status | tr -dc 0-9"))
        self.assertLess(inside, 2048)

    def test_exec_twenty_at_once_each_with_its_own(self):
        def one(n):
            return self.outcome(self.exec_in("sh", "-c", "cat; seq 1 20000; exit %d" % n,
                                             input=b"%d\n" % n))
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            ran = list(pool.map(one, range(20)))

        numbers = b"".join(b"%d\n" % n for n in range(1, 20001))
        for n, (output, _, end) in enumerate(ran):
            self.assertEqual((n, b"%d\n" % n + numbers), (end.exit_code, output))

    def test_exec_has_a_terminal_of_the_size_that_is_said(self):
        resized = threading.Event()

        def later():
            resized.wait(30)
            yield G.ExecRequest(terminal=G.TerminalSize(rows=50, columns=132))
            yield G.ExecRequest(input=b"go\n", end_of_input=False)
        answers = self.exec_in("sh", "-c", "tty; stty size; read x; stty size", requests=later(), end=False,
                               terminal=G.TerminalSize(rows=40, columns=100))
        said = b""
        for answer in answers:
            said += answer.output
            if b"40 100\r\n" in said:
                resized.set()

        self.assertRegex(said.decode(), r"^/dev/pts/\d+\r\n40 100\r\ngo\r\n50 132\r\n$")

    def test_exec_ends_by_a_key_of_its_terminal_and_by_a_signal(self):
        def key():
            yield G.ExecRequest(input=b"\x03")
        _, _, end = self.outcome(self.exec_in("sleep", "1004", requests=key(), end=False,
                                              terminal=G.TerminalSize(rows=24, columns=80)))
        self.assertEqual((-1, 2), (end.exit_code, end.signal))
        _, _, end = self.outcome(self.exec_in("sleep", "1005", requests=iter([G.ExecRequest(signal=15)])))
        self.assertEqual((-1, 15), (end.exit_code, end.signal))

    def test_exec_kills_what_is_over_time_or_has_lost_its_caller(self):
        _, _, end = self.outcome(self.exec_in("sleep", "1006", timeout=duration_pb2.Duration(seconds=1)))
        self.assertEqual((True, 9), (end.timed_out, end.signal))

        stream = self.exec_in("sleep", "1007")
        next(stream)
        stream.cancel()
        wait_until(lambda: self.sh("ps | grep 'sleep 100[67]' || true") == "", "it is killed")

    def test_an_exec_id_never_runs_twice_not_by_another_agent_either(self):
        request = G.ExecRequest(vm_id=self.vm_id, exec_id="once", end_of_input=True, program=G.ExecProgram(
            command=["sh", "-c", "echo ran >> /run/once"]))
        self.assertTrue(list(self.guest.Exec(iter([request]), timeout=20))[-1].HasField("ended"))

        def again():
            return self.refused(lambda it, timeout: list(self.guest.Exec(iter([it]), timeout=timeout)), request,
                                Code.ALREADY_EXISTS, "GUEST_METADATA")
        self.assertEqual("guest metadata: exec: exec_id 'once' was used before", again().message)
        self.daemon.restart()
        self.assertEqual("EXISTS", again().metadata["cause"])
        self.assertEqual("ran\n", self.sh("cat /run/once"))

    def test_an_agent_that_is_stopped_ends_the_stream_and_the_program_goes_on(self):
        for number, stop in enumerate((self.daemon.kill, self.daemon.terminate)):
            with self.subTest(stop.__name__):
                stream = self.exec_in("sh", "-c", "sleep 3; echo done > /run/went-on-%d" % number)
                next(stream)
                stop()
                with self.assertRaises(grpc.RpcError) as caught:
                    list(stream)
                self.daemon.start()

                self.assertEqual(Code.UNAVAILABLE, caught.exception.code())
                wait_until(lambda: self.run_in("cat", "/run/went-on-%d" % number).output == b"done\n",
                           "it has gone on")

    def test_requests_that_are_wrong_are_named(self):
        program = G.ExecProgram(command=["cat"])
        first = G.ExecRequest(vm_id=self.vm_id, exec_id=str(uuid.uuid4()), program=program)

        def bad(*requests):
            return set(self.refused(lambda it, timeout: list(self.guest.Exec(iter(it), timeout=timeout)), requests,
                                    Code.INVALID_ARGUMENT, "INVALID_REQUEST").violations)
        self.assertEqual({"program"}, bad())
        self.assertEqual({"vm_id", "exec_id", "program.command"}, bad(G.ExecRequest()))
        self.assertEqual({"program.working_dir", "program.user", "program.timeout", "program.env", "exec_id",
                          "terminal", "signal"}, bad(G.ExecRequest(
                              vm_id=self.vm_id, exec_id="a b", signal=65, terminal=G.TerminalSize(rows=1),
                              program=G.ExecProgram(command=["x"], working_dir="here", user="u" * 65,
                                                    timeout=duration_pb2.Duration(), env={"-": ""}))))
        self.assertEqual({"program"}, bad(first, first))
        first.exec_id = str(uuid.uuid4())
        self.assertEqual({"terminal"}, bad(first, G.ExecRequest(terminal=G.TerminalSize(rows=1, columns=1))))
        first.exec_id = str(uuid.uuid4())
        first.program.command[0] = "nonesuch"
        failure = self.refused(lambda it, timeout: list(self.guest.Exec(iter([it]), timeout=timeout)), first,
                               Code.NOT_FOUND, "GUEST_METADATA")
        self.assertEqual("guest metadata: exec: the guest says NOT_FOUND: nonesuch: No such file or directory",
                         failure.message)


class GuestWithoutDaemon(GuestTest):
    def test_it_is_said_that_nobody_answers_and_nothing_else_suffers(self):
        vm = self.boot("hearth.mute")
        self.follow_to(vm.vm_id, "guest# ")

        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.client.guest.Ping(G.PingRequest(
                vm_id=vm.vm_id, timeout=duration_pb2.Duration(seconds=1)), timeout=20)

        failure = Failure(caught.exception)
        self.assertEqual((Code.DEADLINE_EXCEEDED, "GUEST_METADATA"), (failure.code, failure.reason))
        self.assertEqual("guest metadata: ping: hello: no answer in time", failure.message)
        self.assertTrue(process_alive(vm.status.resolved.vmm_pid))
