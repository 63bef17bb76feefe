/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/guest_bench.h"

Test(guest_exec, an_exit_code_and_both_outputs_are_said)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = shell(&bench, 1, "echo out; echo err >&2; exit 7", "");

	cr_assert_eq(outcome.code, 7);
	cr_assert_eq(outcome.length, 8);
	cr_assert(strstr(outcome.output, "out\n"));
	cr_assert(strstr(outcome.output, "err\n"));
}

Test(guest_exec, a_signal_is_said)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = shell(&bench, 1, "kill -SEGV $$", "");

	cr_assert_eq(outcome.signal, SIGSEGV);
	cr_assert_not(outcome.timed_out);
}

Test(guest_exec, a_program_gets_what_it_was_promised_and_no_more)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome =
		shell(&bench, 1,
		      "readlink /proc/$$/fd/0; pwd; echo $A,$B; echo $(ls /proc/self/fd); "
		      "echo $(grep SigBlk /proc/self/status); read a b c d e f g </proc/self/stat; "
		      "[ $f = $$ ] && echo leads",
		      ", 'cwd': '/usr', 'env': {'A': '1', 'B': 'x\\ny', 'A': '2'}");

	cr_assert_str_eq(outcome.output,
			 "/dev/null\n/usr\n2,x y\n0 1 2 3\nSigBlk: 0000000000000000\nleads\n");
}

Test(guest_exec, a_program_ignores_no_signal_the_daemon_was_started_to_ignore)
{
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGRTMAX, SIG_IGN);
	BENCH(bench);
	cleanup_outcome Outcome ignored =
		shell(&bench, 1, "echo $(grep SigIgn /proc/self/status)", "");
	cleanup_outcome Outcome ended = { 0 };

	say(&bench,
	    "{'id': 2, 'op': 'exec', 'argv': ['sleep', '1000'], 'tty': true, 'stdin': true}");
	expect_done(&bench, 2);
	say(&bench, "{'stream': 2, 'data': 'Aw=='}"); /* Ctrl-C */
	ended = finish(&bench, 2);

	cr_assert_str_eq(ignored.output, "SigIgn: 0000000000000000\n");
	cr_assert_eq(ended.signal, SIGINT);
}

Test(guest_exec, a_user_is_a_name_or_a_number)
{
	BENCH(bench);
	cleanup_outcome Outcome name = shell(&bench, 1, "id -un; id -G", ", 'user': 'nobody'");
	cleanup_outcome Outcome number = shell(&bench, 2, "id -u; id -G", ", 'user': 4321");
	cleanup_outcome Outcome text = shell(&bench, 3, "id -u; id -G", ", 'user': '4321'");

	cr_assert_str_eq(name.output, "nobody\n65534\n");
	cr_assert_str_eq(number.output, "4321\n4321\n");
	cr_assert_str_eq(text.output, "4321\n4321\n");
}

Test(guest_exec, standard_input_arrives_and_ends)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };

	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['cat'], 'stdin': true}");
	say(&bench, "{'stream': 1, 'data': 'aGVs'}");
	say(&bench, "{'stream': 1, 'data': 'bG8K', 'eof': true}");
	outcome = finish(&bench, 1);

	cr_assert_eq(outcome.code, 0);
	cr_assert_str_eq(outcome.output, "hello\n");
}

Test(guest_exec, input_is_credited_and_10_mb_of_it_pass)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };
	enum {
		CHUNK = 12288,
		CHUNKS = 800
	};
	static char bytes[CHUNK], text[GUEST_BASE64_LENGTH(CHUNK) + 1];
	int64_t credit = GUEST_CREDIT;

	*guest_base64_write(text, bytes, sizeof bytes) = '\0';
	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['wc', '-c'], 'stdin': true}");
	expect_done(&bench, 1);
	for (int i = 0; i < CHUNKS; i++) {
		while (credit < CHUNK) {
			cleanup_json json_t *object = hear_with(&bench, "credit");

			credit += number_in(object, "credit");
		}
		say(&bench, "{'stream': 1, 'data': '%s'}", text);
		credit -= CHUNK;
	}
	say(&bench, "{'stream': 1, 'eof': true}");
	outcome = finish(&bench, 1);

	cr_assert_eq(strtol(outcome.output, NULL, 10), (long)CHUNK * CHUNKS);
}

Test(guest_exec, input_beyond_the_credit_ends_the_command)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };
	static char bytes[GUEST_DATA_MAX], text[GUEST_BASE64_LENGTH(GUEST_DATA_MAX) + 1];

	*guest_base64_write(text, bytes, sizeof bytes) = '\0';
	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['sleep', '1000'], 'stdin': true}");
	/* The pipe takes some, of which the guest says so; it is not heard here. */
	for (int i = 0; i < 9; i++)
		say(&bench, "{'stream': 1, 'data': '%s'}", text);
	outcome = finish(&bench, 1);

	cr_assert_eq(outcome.signal, SIGKILL);
	cr_assert_not(outcome.timed_out);
}

Test(guest_exec, input_nobody_reads_is_credited_all_the_same)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };
	static char bytes[GUEST_DATA_MAX], text[GUEST_BASE64_LENGTH(GUEST_DATA_MAX) + 1];
	int64_t credit = 0;

	*guest_base64_write(text, bytes, sizeof bytes) = '\0';
	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['sh', '-c', 'exec <&-; sleep 1'], 'stdin': "
		    "true}");
	expect_done(&bench, 1);
	for (int i = 0; i < 4; i++)
		say(&bench, "{'stream': 1, 'data': '%s'}", text);
	while (credit < INT64_C(4) * GUEST_DATA_MAX) {
		cleanup_json json_t *object = hear_with(&bench, "credit");

		credit += number_in(object, "credit");
	}
	outcome = finish(&bench, 1);

	cr_assert_eq(outcome.code, 0);
}

Test(guest_exec, no_input_is_credited_before_the_answer)
{
	BENCH(bench);
	cleanup_json json_t *first = NULL;
	static char bytes[GUEST_DATA_MAX], text[GUEST_BASE64_LENGTH(GUEST_DATA_MAX) + 1];

	*guest_base64_write(text, bytes, sizeof bytes) = '\0';
	say(&bench,
	    "{'id': 1, 'op': 'exec', 'argv': ['sleep', '1000'], 'stdin': true}\n"
	    "{'stream': 1, 'data': '%s'}",
	    text);
	json_decref(hear_with(&bench, "event"));
	first = hear(&bench);

	cr_assert_eq(number_in(first, "id"), 1);
	json_decref(hear_with(&bench, "credit"));
	say(&bench, "{'stream': 1, 'kill': 9}");
}

Test(guest_exec, a_terminal_has_a_size_that_changes)
{
	BENCH(bench);
	cleanup_json json_t *first = NULL;
	cleanup_outcome Outcome outcome = { 0 };

	say(&bench, "{'id': 1, 'op': 'exec', 'tty': true, 'rows': 30, 'cols': 100, 'stdin': true, "
		    "'argv': ['sh', '-c', 'stty size; read x; stty size; cat']}");
	expect_done(&bench, 1);
	first = hear_with(&bench, "data");
	cr_expect_str_eq(text_in(first, "data"), "MzAgMTAwDQo="); /* 30 100 and the line's end */
	say(&bench, "{'stream': 1, 'rows': 40, 'cols': 120}");
	say(&bench, "{'stream': 1, 'data': 'Cg=='}");
	(void)usleep(300000);
	say(&bench, "{'stream': 1, 'eof': true}");
	outcome = finish(&bench, 1);

	cr_assert_eq(outcome.code, 0);
	cr_assert(strstr(outcome.output, "40 120\r\n"), "%s", outcome.output);
}

Test(guest_exec, a_terminal_is_the_controlling_one_and_its_hang_up_is_no_error)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome =
		shell(&bench, 1, "echo hello >/dev/tty; exit 3", ", 'tty': true, 'user': 'nobody'");

	cr_assert_eq(outcome.code, 3);
	cr_assert_str_eq(outcome.output, "hello\r\n");
}

Test(guest_exec, a_time_out_kills_the_group)
{
	BENCH(bench);
	int64_t before = clock_mono_us();
	cleanup_outcome Outcome outcome =
		shell(&bench, 1, "sleep 1000 & sleep 1000; true", ", 'timeout_ms': 300");

	cr_assert_eq(outcome.signal, SIGKILL);
	cr_assert(outcome.timed_out);
	cr_assert_geq(clock_mono_us() - before, 300000);
}

Test(guest_exec, kill_reaches_the_group)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };

	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['sh', '-c', 'sleep 1000; true']}");
	expect_done(&bench, 1);
	say(&bench, "{'stream': 1, 'kill': 15}");
	outcome = finish(&bench, 1);

	cr_assert_eq(outcome.signal, SIGTERM);
}

Test(guest_exec, no_more_is_said_than_the_credit_allows)
{
	BENCH(bench);
	int64_t said = 0;

	say(&bench,
	    "{'id': 1, 'op': 'exec', 'argv': ['sh', '-c', 'exec head -c 1000000 /dev/zero']}");
	expect_done(&bench, 1);
	while (said < GUEST_CREDIT) {
		cleanup_json json_t *object = hear_with(&bench, "data");
		cleanup_free char *text = text_dup(text_in(object, "data"));
		size_t length;

		cr_assert_eq(guest_base64_read(text, strlen(text), &length), 0);
		said += (int64_t)length;
	}

	cr_assert_eq(said, GUEST_CREDIT);
	cr_assert_not(fill(&bench, 500), "more came");
	say(&bench, "{'id': 2, 'op': 'ping'}");
	expect_done(&bench, 2);
}

Test(guest_exec, an_end_is_said_without_credit_left)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;

	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['head', '-c', '%d', '/dev/zero']}",
	    GUEST_CREDIT);
	object = hear_with(&bench, "exit");

	cr_assert_eq(number_in(object, "exit"), 0);
}

Test(guest_exec, who_outlives_the_command_is_waited_for_a_second)
{
	BENCH(bench);
	int64_t before = clock_mono_us();
	cleanup_outcome Outcome outcome = shell(&bench, 1, "(sleep 2; echo late) & echo early", "");

	cr_assert_eq(outcome.code, 0);
	cr_assert_str_eq(outcome.output, "early\n");
	cr_assert_lt(clock_mono_us() - before, 1900000);
}

Test(guest_exec, all_that_was_written_is_said_to_a_host_that_is_slow)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };

	/* The pipe holds another 64 KiB when the command ends; its child keeps it open. */
	say(&bench,
	    "{'id': 1, 'op': 'exec', 'argv': ['sh', '-c', 'sleep 4 & head -c %d "
	    "/dev/zero']}",
	    2 * GUEST_CREDIT);
	expect_done(&bench, 1);
	(void)usleep(1500000);
	outcome = finish(&bench, 1);

	cr_assert_eq(outcome.length, 2UL * GUEST_CREDIT);
}

Test(guest_exec, twenty_run_at_once)
{
	BENCH(bench);
	bool seen[21] = { false };

	for (int i = 1; i <= 20; i++)
		say(&bench, "{'id': %d, 'op': 'exec', 'argv': ['sh', '-c', 'sleep 0.5; exit %d']}",
		    i, i);
	for (int i = 0; i < 20; i++) {
		cleanup_json json_t *object = hear_with(&bench, "exit");
		int64_t id = number_in(object, "stream");

		cr_assert_eq(number_in(object, "exit"), id);
		cr_assert(id >= 1 && id <= 20 && !seen[id]);
		seen[id] = true;
	}
}

Test(guest_exec, one_too_many_and_one_number_twice_are_refused)
{
	BENCH(bench);

	for (int i = 1; i <= GUEST_COMMANDS_MAX; i++) {
		say(&bench, "{'id': %d, 'op': 'exec', 'argv': ['sleep', '1000']}", i);
		expect_done(&bench, i);
	}
	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['true']}");
	expect_error(&bench, 1, "BAD_REQUEST", "id");
	say(&bench, "{'id': 1000, 'op': 'exec', 'argv': ['true']}");
	expect_error(&bench, 1000, "EXHAUSTED", "exec");
	for (int i = 1; i <= GUEST_COMMANDS_MAX; i++)
		say(&bench, "{'stream': %d, 'kill': 9}", i);
	for (int i = 1; i <= GUEST_COMMANDS_MAX; i++)
		json_decref(hear_with(&bench, "signal"));
	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['true']}");

	expect_done(&bench, 1);
}

/* Kilobytes that the process has in memory. */
static long resident(pid_t pid)
{
	cleanup_free char *path = text_printf("/proc/%d/status", (int)pid);
	cleanup_free char *text = NULL;
	const char *at;

	cr_assert_eq(file_read(&text, NULL, path, 65536), 0);
	at = strstr(text, "VmRSS:");
	cr_assert_not_null(at);
	return strtol(at + 6, NULL, 10);
}

/* The program itself, as guests have it. */
static void start_program(Bench *bench)
{
	const char *bin = getenv("HEARTH_BIN");
	cleanup_free char *path = text_printf("%s/hearth-guest", bin ? bin : ".");

	(void)kill(bench->daemon, SIGTERM);
	(void)waitpid(bench->daemon, NULL, 0);
	closep(&bench->fd);
	bench->daemon = fork();
	if (bench->daemon == 0) {
		(void)execl(path, path, "--dir", bench->dir, "--socket", bench->socket,
			    (char *)NULL);
		_exit(127);
	}
	bench->fd = bench_connect(bench);
	bench->used = 0;
	greet(bench, "program");
}

Test(guest_exec, ten_megabytes_of_each_of_twenty_pass_in_little_memory)
{
	BENCH(bench);
	long before, after;
	int64_t lengths[21] = { 0 };
	int left = 20;

	start_program(&bench);
	before = resident(bench.daemon);
	for (int i = 1; i <= 20; i++)
		say(&bench,
		    "{'id': %d, 'op': 'exec', 'argv': ['head', '-c', '10000000', '/dev/zero']}", i);
	while (left) {
		cleanup_json json_t *object = hear_with(&bench, "stream");
		int64_t id = number_in(object, "stream");
		int64_t length = (int64_t)strlen(text_in(object, "data")) / 4 * 3;

		lengths[id] += length;
		if (length)
			say(&bench, "{'stream': %d, 'credit': %d}", (int)id, (int)length);
		left -= json_object_get(object, "exit") != NULL;
	}
	after = resident(bench.daemon);

	for (int i = 1; i <= 20; i++)
		cr_expect(lengths[i] >= 10000000 && lengths[i] < 10040000, "%d: %d", i,
			  (int)lengths[i]);
	(void)fprintf(stderr, "resident: %ld KiB idle, %ld KiB after 200 MB\n", before, after);
	cr_assert_lt(after, 2048);
}
