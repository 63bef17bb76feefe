/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/guest_bench.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

Test(guest_session, a_hello_is_answered_with_the_boot)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;
	cleanup_free char *boot_id = NULL;

	say(&bench, "{'hello': 'n\\u00e9', 'version': 1}");
	object = hear_with(&bench, "hello");

	cr_assert_eq(file_read(&boot_id, NULL, "/proc/sys/kernel/random/boot_id", 64), 0);
	boot_id[strcspn(boot_id, "\n")] = '\0';
	cr_assert_str_eq(text_in(object, "hello"), "n\xc3\xa9");
	cr_assert_str_eq(text_in(object, "boot_id"), boot_id);
	cr_assert_str_eq(text_in(object, "agent"), HEARTH_VERSION);
	cr_assert_eq(number_in(object, "version"), 1);
}

Test(guest_session, nothing_is_answered_before_the_hello)
{
	cleanup_(bench_free) Bench bench = bench_new(false);
	cleanup_json json_t *object = NULL;

	say(&bench, "{'id': 1, 'op': 'ping'}");
	say(&bench, "{'hello': ''}");
	say(&bench, "{'hello': 5}");
	say(&bench, "{'hello': '%065d'}", 0);
	say(&bench, "{'hello': 'x'}");
	object = hear(&bench);

	cr_assert_str_eq(text_in(object, "hello"), "x");
}

Test(guest_session, ping_says_how_long_it_is_up)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;

	say(&bench, "{'id': 7, 'op': 'ping', 'unknown': [1.5, {'a': null}]}");
	object = answer(&bench, 7);

	cr_assert_gt(number_in(object, "uptime_ms"), 0);
}

Test(guest_session, garbage_is_skipped)
{
	BENCH(bench);
	static const char zeros[100];

	say(&bench, "garbage");
	send_bytes(&bench, "\n", 1);
	say(&bench, "[1, 2]");
	say(&bench, "{'id': 1, 'op': 'ping'");
	say(&bench, "{'id': 0, 'op': 'ping'}");
	say(&bench, "{'id': -4, 'op': 'ping'}");
	say(&bench, "{'id': 'x', 'op': 'ping'}");
	say(&bench, "{'op': 'ping'}");
	say(&bench, "{'stream': 5, 'data': 'AAAA'}");
	send_bytes(&bench, zeros, sizeof zeros);
	say(&bench, "\xff\xfe");
	say(&bench, "{'id': 2, 'op': 'ping'}");

	expect_done(&bench, 2);
}

Test(guest_session, a_line_that_is_too_long_is_skipped_as_a_whole)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;
	cleanup_free char *long_one = new0_array(char, 3UL * GUEST_LINE_MAX);

	memset(long_one, ' ', 3UL * GUEST_LINE_MAX - 1);
	say(&bench, "%s{'id': 1, 'op': 'ping'}", long_one);
	say(&bench, "{'id': 2, 'op': 'ping'}");
	object = hear_with(&bench, "id");

	cr_assert_eq(number_in(object, "id"), 2);
}

Test(guest_session, the_longest_line_is_read_and_one_more_byte_is_too_many)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;
	cleanup_free char *spaces = new0_array(char, GUEST_LINE_MAX);
	static const char request[] = "{'id': 1, 'op': 'ping'}";

	memset(spaces, ' ', GUEST_LINE_MAX - sizeof request);
	say(&bench, "%s%s", spaces, request);
	expect_done(&bench, 1);
	say(&bench, "%s %s", spaces, request);
	say(&bench, "{'id': 2, 'op': 'ping'}");
	object = hear_with(&bench, "id");

	cr_assert_eq(number_in(object, "id"), 2);
}

Test(guest_session, half_a_line_costs_the_next_one_and_no_more)
{
	BENCH(bench);

	send_bytes(&bench, "{\"id\": 1, \"op", 13);
	say(&bench, "{'hello': 'second'}");
	greet(&bench, "third");
	say(&bench, "{'id': 2, 'op': 'ping'}");

	expect_done(&bench, 2);
}

Test(guest_session, lines_come_in_any_pieces)
{
	BENCH(bench);
	static const char text[] = "{\"id\": 1, \"op\": \"ping\"}\n{\"id\": 2, \"op\": \"ping\"}\n";

	for (size_t i = 0; i < sizeof text - 1; i++) {
		send_bytes(&bench, text + i, 1);
		(void)usleep(1000);
	}

	expect_done(&bench, 1);
	expect_done(&bench, 2);
}

Test(guest_session, unknown_requests_and_bad_members_are_named)
{
	BENCH(bench);
	static const struct {
		const char *request, *code, *message;
	} cases[] = {
		{ "'op': 'dance'", "UNKNOWN_OP", "dance" },
		{ "'op': 5", "BAD_REQUEST", "op" },
		{ "'x': 5", "BAD_REQUEST", "op" },
		{ "'op': 'exec'", "BAD_REQUEST", "argv" },
		{ "'op': 'exec', 'argv': []", "BAD_REQUEST", "argv" },
		{ "'op': 'exec', 'argv': ['']", "BAD_REQUEST", "argv" },
		{ "'op': 'exec', 'argv': ['a', 1]", "BAD_REQUEST", "argv" },
		{ "'op': 'exec', 'argv': ['a', 'b\\u0000']", "BAD_REQUEST", "argv" },
		{ "'op': 'exec', 'argv': ['a'], 'env': []", "BAD_REQUEST", "env" },
		{ "'op': 'exec', 'argv': ['a'], 'env': {'A=': 'x'}", "BAD_REQUEST", "env" },
		{ "'op': 'exec', 'argv': ['a'], 'env': {'A': 1}", "BAD_REQUEST", "env" },
		{ "'op': 'exec', 'argv': ['a'], 'cwd': 1", "BAD_REQUEST", "cwd" },
		{ "'op': 'exec', 'argv': ['a'], 'user': true", "BAD_REQUEST", "user" },
		{ "'op': 'exec', 'argv': ['a'], 'tty': 1", "BAD_REQUEST", "tty" },
		{ "'op': 'exec', 'argv': ['a'], 'timeout_ms': -1", "BAD_REQUEST", "timeout_ms" },
		{ "'op': 'exec', 'argv': ['a'], 'rows': 1.5", "BAD_REQUEST", "rows" },
		{ "'op': 'exec', 'argv': ['/no/program']", "NOT_FOUND", "/no/program" },
		{ "'op': 'exec', 'argv': ['/tmp']", "FAILED", "/tmp" },
		{ "'op': 'exec', 'argv': ['true'], 'cwd': '/no/dir'", "NOT_FOUND", "/no/dir" },
		{ "'op': 'exec', 'argv': ['true'], 'user': 'nobody-at-all'", "NOT_FOUND",
		  "there is no user 'nobody-at-all'" },
		{ "'op': 'exec', 'argv': ['true'], 'user': '4294967296'", "NOT_FOUND",
		  "there is no user '4294967296'" },
		{ "'op': 'set_env'", "BAD_REQUEST", "env" },
		{ "'op': 'set_env', 'env': {'1A': 'x'}", "BAD_REQUEST", "env" },
		{ "'op': 'set_env', 'env': {}, 'replace': 'x'", "BAD_REQUEST", "replace" },
		{ "'op': 'set_secret'", "BAD_REQUEST", "name" },
		{ "'op': 'set_secret', 'name': '.x', 'data': ''", "BAD_REQUEST", "name" },
		{ "'op': 'set_secret', 'name': 'a/b', 'data': ''", "BAD_REQUEST", "name" },
		{ "'op': 'set_secret', 'name': '', 'data': ''", "BAD_REQUEST", "name" },
		{ "'op': 'set_secret', 'name': 'x'", "BAD_REQUEST", "data" },
		{ "'op': 'set_secret', 'name': 'x', 'data': '!'", "BAD_REQUEST", "data" },
		{ "'op': 'reseed'", "BAD_REQUEST", "data" },
		{ "'op': 'set_clock'", "BAD_REQUEST", "time_ns" },
		{ "'op': 'set_clock', 'time_ns': -1", "BAD_REQUEST", "time_ns" },
		{ "'op': 'set_network'", "BAD_REQUEST", "interface" },
		{ "'op': 'set_network', 'interface': 'x', 'mac': '00:11'", "BAD_REQUEST", "mac" },
		{ "'op': 'set_network', 'interface': 'x', 'mtu': 0", "BAD_REQUEST", "mtu" },
		{ "'op': 'set_network', 'interface': 'x', 'ipv4': '1.2.3.4'", "BAD_REQUEST",
		  "ipv4" },
		{ "'op': 'set_network', 'interface': 'x', 'ipv4': '1.2.3.4/33'", "BAD_REQUEST",
		  "ipv4" },
		{ "'op': 'set_network', 'interface': 'x', 'ipv6': 'fd00::1/x'", "BAD_REQUEST",
		  "ipv6" },
		{ "'op': 'set_network', 'interface': 'x', 'gateway6': '1.2.3.4'", "BAD_REQUEST",
		  "gateway6" },
		{ "'op': 'set_network', 'interface': 'none-such'", "NOT_FOUND", "interface" },
		{ "'op': 'freeze', 'timeout_ms': 60001", "BAD_REQUEST", "timeout_ms" },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		say(&bench, "{'id': %zu, %s}", i + 1, cases[i].request);
		expect_error(&bench, (int64_t)i + 1, cases[i].code, cases[i].message);
	}
}

Test(guest_session, a_new_hello_ends_the_session_before)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;

	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['sh', '-c', 'echo a; sleep 0.3; echo b']}");
	greet(&bench, "second");
	say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['sleep', '1']}");
	object = hear_with(&bench, "id");

	cr_assert_eq(number_in(object, "id"), 1);
	cr_assert_gt(number_in(object, "pid"), 0);
	for (;;) {
		cleanup_json json_t *next = hear(&bench);

		cr_assert_null(json_object_get(next, "data"));
		if (json_object_get(next, "exit"))
			break;
	}
}

Test(guest_session, a_command_goes_on_when_its_session_is_over)
{
	BENCH(bench);
	cleanup_free char *path = text_printf("%s/done", bench.dir);

	say(&bench,
	    "{'id': 1, 'op': 'exec', 'argv': ['sh', '-c', 'sleep 0.3; head -c 1000000 /dev/zero; "
	    "echo >%s']}",
	    path);
	expect_done(&bench, 1);
	closep(&bench.fd);
	for (int i = 0; i < 3000 && access(path, F_OK) < 0; i++)
		(void)usleep(10000);

	cr_assert_eq(access(path, F_OK), 0);
	bench.fd = bench_connect(&bench);
}

static void limit_files(const Bench *bench, rlim_t count)
{
	struct rlimit limit = { .rlim_cur = count, .rlim_max = 256 };

	cr_assert_eq(prlimit(bench->daemon, RLIMIT_NOFILE, &limit, NULL), 0);
}

static int64_t cpu_us(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	cr_assert_eq(clock_getcpuclockid(pid, &clock), 0);
	cr_assert_eq(clock_gettime(clock, &used), 0);
	return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

Test(guest_session, a_connection_that_cannot_be_accepted_waits_and_costs_nothing)
{
	enum {
		TAKEN = 16
	};
	int64_t before;
	int first;

	while (open("/dev/null", O_RDONLY) < TAKEN)
		;
	BENCH(bench);
	first = bench.fd;

	limit_files(&bench, TAKEN);
	bench.fd = bench_connect(&bench);
	before = cpu_us(bench.daemon);
	(void)usleep(700000);

	cr_expect_lt(cpu_us(bench.daemon) - before, 100000);
	limit_files(&bench, 256);
	greet(&bench, "second");
	(void)close(first);
}

Test(guest_session, a_new_connection_takes_the_place_of_the_old)
{
	BENCH(bench);
	int old = bench.fd;
	char byte;

	bench.fd = bench_connect(&bench);
	greet(&bench, "second");

	while (recv(old, &byte, 1, 0) > 0)
		;
	cr_assert_eq(recv(old, &byte, 1, 0), 0);
	(void)close(old);
}

Test(guest_session, a_host_that_does_not_listen_is_not_listened_to)
{
	BENCH(bench);
	static const char ping[] = "{\"id\": 1, \"op\": \"ping\"}\n";
	size_t sent = 0;
	ssize_t n;

	for (;;) {
		struct pollfd state = { .fd = bench.fd, .events = POLLOUT };

		if (poll(&state, 1, 1000) <= 0)
			break;
		n = send(bench.fd, ping, sizeof ping - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
		cr_assert_lt(sent, 64U << 20);
	}
	closep(&bench.fd);
	bench.fd = bench_connect(&bench);
	bench.used = 0;
	greet(&bench, "second");
	say(&bench, "{'id': 2, 'op': 'ping'}");

	expect_done(&bench, 2);
}

Test(guest_session, hosts_come_and_go_in_the_middle_of_anything)
{
	BENCH(bench);

	for (int i = 0; i < 200; i++) {
		say(&bench, "{'id': 1, 'op': 'exec', 'argv': ['true'], 'stdin': true}");
		say(&bench, "{'stream': 1, 'data': 'AAAA'}");
		send_bytes(&bench, "{\"id\": 2", 8);
		closep(&bench.fd);
		bench.fd = bench_connect(&bench);
		bench.used = 0;
		greet(&bench, "again");
	}
	say(&bench, "{'id': 2, 'op': 'ping'}");

	expect_done(&bench, 2);
}
