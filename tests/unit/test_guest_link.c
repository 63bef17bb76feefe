/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_link_bench.h"

#include <semaphore.h>

/* A link to guests that do whatever they like. The real one is in tests/e2e/test_guest_daemon.py.
 */

static void answer_pings(Bench *bench)
{
	json_int_t id;

	meet(bench);
	while ((id = hear_request(bench))) {
		cleanup_free char *line =
			text_printf("{\"id\":%lld,\"uptime_ms\":7}", (long long)id);

		say(bench, line);
	}
}

Test(guest_link, a_guest_that_answers_is_heard_again_and_again)
{
	cleanup_(bench_freep) Bench *bench = bench_new(answer_pings, false);
	Asked asked;

	for (int i = 0; i < 3; i++) {
		ping(bench, &asked, LONG);
		cr_assert_not(error_is_set(&asked.err), "%s", asked.err.what);
		cr_assert_eq(asked.uptime, 7);
	}
}

Test(guest_link, a_silent_guest_is_not_waited_for_for_ever)
{
	cleanup_(bench_freep) Bench *bench = bench_new(be_silent, false);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "ping: hello: no answer in time");
}

static void answer_hello_alone(Bench *bench)
{
	meet(bench);
	be_silent(bench);
}

Test(guest_link, the_request_that_is_not_answered_is_named)
{
	cleanup_(bench_freep) Bench *bench = bench_new(answer_hello_alone, false);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "ping: no answer in time");
}

Test(guest_link, a_socket_that_nobody_listens_on_is_tried_until_time_is_up)
{
	cleanup_(bench_freep) Bench *bench = bench_new(NULL, false);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "ping: connect: Connection refused");
}

static sem_t last_said;
static char last[256];

/* Says that it runs when nobody waits for that any more; keeps what it then hears. */
static void begin_too_late(Bench *bench)
{
	cleanup_free char *begun = NULL;
	const char *line;

	meet(bench);
	begun = text_printf("{\"id\":%lld,\"pid\":5}", (long long)hear_request(bench));
	line = hear(bench);
	text_copy(last, sizeof last, line ? line : "hung up");
	say(bench, begun);
	(void)sem_post(&last_said);
	be_silent(bench);
}

Test(guest_link, a_program_that_begins_too_late_is_killed)
{
	cleanup_(bench_freep) Bench *bench = NULL;
	Asked asked;

	(void)sem_init(&last_said, 0, 0);
	bench = bench_new(begin_too_late, false);
	asked_init(&asked);
	ask(bench, &asked, "exec", SHORT);
	wait_answers(&asked, 1, 0, 0);

	expect(&asked, CAUSE_TIMEOUT, "exec: no answer in time");
	(void)sem_wait(&last_said);
	cr_expect_not_null(strstr(last, "\"kill\":9"), "heard '%s'", last);
}

static void echo(Bench *bench)
{
	const char *line;

	while ((line = hear(bench)))
		say(bench, line);
}

Test(guest_link, one_that_only_echoes_is_no_daemon)
{
	cleanup_(bench_freep) Bench *bench = bench_new(echo, false);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "ping: hello: no answer in time");
}

static void flood(Bench *bench)
{
	static char noise[8 * 1024];

	memset(noise, 'x', sizeof noise - 1);
	while (fwrite(noise, 1, sizeof noise, bench->to) == sizeof noise)
		;
}

Test(guest_link, noise_without_end_breaks_it)
{
	cleanup_(bench_freep) Bench *bench = bench_new(flood, false);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "says too much that answers nothing");
}

static void flood_with_objects(Bench *bench)
{
	meet(bench);
	while (fputs("{\"id\":123456,\"stream\":7,\"data\":[]}\n", bench->to) >= 0)
		;
}

Test(guest_link, well_formed_noise_breaks_it_as_well)
{
	cleanup_(bench_freep) Bench *bench = bench_new(flood_with_objects, false);
	Asked asked;

	ping(bench, &asked, LONG);

	expect(&asked, CAUSE_CORRUPT, "says too much that answers nothing");
}

static void begin_with_what_is_left(Bench *bench)
{
	say(bench, "alf of a line\"}");
	say(bench, "{\"id\":1,\"uptime_ms\":99}");
	say(bench, "{\"hello\":\"another host's\",\"version\":1}");
	(void)fprintf(bench->to, "%70000s\n", "too long");
	answer_pings(bench);
}

Test(guest_link, what_is_left_of_an_earlier_session_is_ignored)
{
	cleanup_(bench_freep) Bench *bench = bench_new(begin_with_what_is_left, false);
	Asked asked;

	ping(bench, &asked, LONG);

	cr_assert_eq(asked.uptime, 7);
}

static atomic_int sessions;

static void hang_up_once(Bench *bench)
{
	if (atomic_fetch_add(&sessions, 1) == 0) {
		meet(bench);
		(void)hear_request(bench);
		return;
	}
	answer_pings(bench);
}

Test(guest_link, what_was_sent_when_it_hangs_up_fails_and_the_next_connects_again)
{
	cleanup_(bench_freep) Bench *bench = bench_new(hang_up_once, false);
	Asked asked;

	ping(bench, &asked, LONG);
	expect(&asked, CAUSE_HOST, "ping: the connection was closed");

	ping(bench, &asked, LONG);
	cr_assert_eq(asked.uptime, 7);
}

static void begin_anew(Bench *bench)
{
	meet(bench);
	(void)hear_request(bench);
	say(bench, "{\"event\":\"started\"}");
	be_silent(bench);
}

Test(guest_link, a_daemon_that_begins_anew_has_not_heard_what_was_asked)
{
	cleanup_(bench_freep) Bench *bench = bench_new(begin_anew, false);
	Asked asked;

	ping(bench, &asked, LONG);

	expect(&asked, CAUSE_HOST, "ping: the guest's daemon has begun anew");
}

static void refuse(Bench *bench)
{
	static const char *const codes[] = { "NOT_FOUND", "BAD_REQUEST", "EXHAUSTED", "WHATEVER" };

	meet(bench);
	for (size_t i = 0; i < array_size(codes); i++) {
		json_int_t id = hear_request(bench);
		cleanup_free char *line =
			text_printf("{\"id\":%lld,\"error\":\"%s\",\"message\":\"because\"}",
				    (long long)id, codes[i]);

		say(bench, line);
	}
	be_silent(bench);
}

Test(guest_link, what_the_guest_says_of_a_failure_is_passed_on_with_its_cause)
{
	static const ErrorCause causes[] = { CAUSE_MISSING, CAUSE_INPUT, CAUSE_EXHAUSTED,
					     CAUSE_HOST };
	cleanup_(bench_freep) Bench *bench = bench_new(refuse, false);
	Asked asked;

	for (size_t i = 0; i < array_size(causes); i++) {
		ping(bench, &asked, LONG);
		expect(&asked, causes[i], "because");
	}
}

static void say_output(Bench *bench, json_int_t id, int times)
{
	static char data[GUEST_DATA_MAX / 3 * 4 + 1];

	memset(data, 'A', sizeof data - 1);
	for (int i = 0; i < times; i++)
		(void)fprintf(bench->to, "{\"stream\":%lld,\"fd\":1,\"data\":\"%.*s\"}\n",
			      (long long)id, GUEST_DATA_MAX / 4 * 4, data);
	(void)fflush(bench->to);
}

/* Three quarters of each line are bytes: five of them are within the credit, six are not. */
static void run_program(Bench *bench)
{
	json_int_t id;
	cleanup_free char *begun = NULL, *end = NULL;

	meet(bench);
	id = hear_request(bench);
	begun = text_printf("{\"id\":%lld,\"pid\":5}", (long long)id);
	end = text_printf("{\"stream\":%lld,\"signal\":9,\"timed_out\":true}", (long long)id);
	say(bench, begun);
	say_output(bench, id, 5);
	say(bench, end);
	be_silent(bench);
}

Test(guest_link, a_program_is_followed_to_its_end)
{
	cleanup_(bench_freep) Bench *bench = bench_new(run_program, false);
	Asked asked;

	asked_init(&asked);
	ask(bench, &asked, "exec", LONG);
	wait_answers(&asked, 1, 1, 0);

	cr_assert_not(error_is_set(&asked.err), "%s", asked.err.what);
	cr_assert_eq(asked.output, (size_t)5 * GUEST_DATA_MAX / 4 * 3);
	cr_assert_eq(asked.end.signal, 9);
	cr_assert_eq(asked.end.code, -1);
	cr_assert(asked.end.timed_out);
}

static char heard_last[256];

static void say_too_much(Bench *bench)
{
	json_int_t id;
	cleanup_free char *begun = NULL;
	const char *line;

	meet(bench);
	id = hear_request(bench);
	begun = text_printf("{\"id\":%lld,\"pid\":5}", (long long)id);
	say(bench, begun);
	say_output(bench, id, 6);
	line = hear(bench);
	text_copy(heard_last, sizeof heard_last, line ? line : "");
	be_silent(bench);
}

Test(guest_link, output_beyond_its_credit_ends_a_program)
{
	cleanup_(bench_freep) Bench *bench = bench_new(say_too_much, false);
	Asked asked;

	asked_init(&asked);
	ask(bench, &asked, "exec", LONG);
	wait_answers(&asked, 1, 1, 0);

	expect(&asked, CAUSE_CORRUPT, "exec: the guest sent what it must not");
	while (!heard_last[0])
		clock_sleep_us(USEC_PER_MSEC);
	cr_assert_not_null(strstr(heard_last, "\"kill\":9"), "%s", heard_last);
}

static void begin_program(Bench *bench)
{
	json_int_t id;
	cleanup_free char *begun = NULL;
	const char *line;

	meet(bench);
	id = hear_request(bench);
	begun = text_printf("{\"id\":%lld,\"pid\":5}", (long long)id);
	say(bench, begun);
	line = hear(bench);
	text_copy(heard_last, sizeof heard_last, line ? line : "");
	be_silent(bench);
}

Test(guest_link, a_program_that_nobody_wants_any_more_is_killed)
{
	cleanup_(bench_freep) Bench *bench = bench_new(begin_program, false);
	Asked asked;

	asked_init(&asked);
	ask(bench, &asked, "exec", LONG);
	wait_answers(&asked, 1, 0, 0);
	guest_link_cancel(bench->link, asked.call.id);
	wait_answers(&asked, 1, 1, 0);

	expect(&asked, CAUSE_HOST, "given up");
	while (!heard_last[0])
		clock_sleep_us(USEC_PER_MSEC);
	cr_assert_not_null(strstr(heard_last, "\"kill\":9"), "%s", heard_last);
}

static void open_port(Bench *bench)
{
	const char *line = hear(bench);

	if (line && strcmp(line, "CONNECT 5555") == 0)
		say(bench, "OK 1073741824");
	answer_pings(bench);
}

Test(guest_link, through_firecracker_the_port_is_asked_for_first)
{
	cleanup_(bench_freep) Bench *bench = bench_new(open_port, true);
	Asked asked;

	ping(bench, &asked, LONG);

	cr_assert_eq(asked.uptime, 7, "%s", asked.err.what);
}

static void hang_up_at_once(Bench *bench)
{
	(void)hear(bench);
}

Test(guest_link, a_guest_without_the_daemon_is_told_of)
{
	cleanup_(bench_freep) Bench *bench = bench_new(hang_up_at_once, true);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "ping: connect: nobody listens in the guest");
}

static void answer_nonsense(Bench *bench)
{
	(void)hear(bench);
	say(bench, "HTTP/1.1 400 Bad Request");
	be_silent(bench);
}

Test(guest_link, an_answer_that_is_no_firecrackers_is_told_of)
{
	cleanup_(bench_freep) Bench *bench = bench_new(answer_nonsense, true);
	Asked asked;

	ping(bench, &asked, SHORT);

	expect(&asked, CAUSE_TIMEOUT, "ping: connect: the VMM answers nonsense");
}

Test(guest_link, more_calls_than_may_wait_are_refused)
{
	enum {
		CALLS = GUEST_REQUESTS_MAX + 1
	};
	cleanup_(bench_freep) Bench *bench = bench_new(be_silent, false);
	cleanup_free Asked *asked = new0_array(Asked, CALLS);

	for (size_t i = 0; i < CALLS; i++) {
		asked_init(&asked[i]);
		ask(bench, &asked[i], "ping", SHORT);
	}
	for (size_t i = 0; i < CALLS; i++)
		wait_answers(&asked[i], 1, 0, 0);

	expect(&asked[CALLS - 1], CAUSE_EXHAUSTED, "too many calls wait");
	expect(&asked[0], CAUSE_TIMEOUT, "no answer in time");
}

Test(guest_link, the_end_of_the_hub_is_told_to_who_waits)
{
	Bench *bench = bench_new(be_silent, false);
	Asked asked;

	asked_init(&asked);
	ask(bench, &asked, "ping", LONG);
	bench_free(bench);

	wait_answers(&asked, 1, 0, 0);
	expect(&asked, CAUSE_HOST, "the agent ends");
}
