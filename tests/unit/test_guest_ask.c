/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_link_bench.h"
#include "runtime/guest_ask.h"
#include "runtime/guest_input.h"

#include <sys/eventfd.h>

/* Questions that are waited for. A real guest answers them in tests/e2e/test_guest_messages.py. */

static char asked[LINE];

/* Answers one request, which it keeps. */
static void answer_one(Bench *bench)
{
	cleanup_free char *answer = NULL;
	const char *line;
	json_t *object;

	meet(bench);
	line = hear(bench);
	if (!line)
		return;
	text_copy(asked, sizeof asked, line);
	object = json_loads(line, 0, NULL);
	answer = text_printf("{\"id\":%lld}",
			     (long long)json_integer_value(json_object_get(object, "id")));
	json_decref(object);
	say(bench, answer);
	be_silent(bench);
}

static const GuestQuery patient = { .timeout = LONG, .cancel_fd = -1, .vmm = -1 };

static json_t *what_was_asked(const char *op)
{
	json_t *object = json_loads(asked, 0, NULL);

	cr_assert_not_null(object);
	cr_expect_str_eq(json_string_value(json_object_get(object, "op")), op);
	return object;
}

Test(guest_ask, a_seed_is_of_64_bytes_that_are_no_zeroes)
{
	cleanup_(bench_freep) Bench *bench = bench_new(answer_one, false);
	unsigned char seed[100] = { 0 };
	const unsigned char zeroes[64] = { 0 };
	Error err = { 0 };
	json_t *object;

	cr_assert_eq(guest_reseed(bench->link, &patient, &err), 0, "%s", err.what);

	object = what_was_asked("reseed");
	cr_expect_eq(
		guest_decode(seed, sizeof seed, json_string_value(json_object_get(object, "data"))),
		64);
	cr_expect_neq(memcmp(seed, zeroes, sizeof zeroes), 0);
	json_decref(object);
}

Test(guest_ask, the_clock_is_the_hosts)
{
	cleanup_(bench_freep) Bench *bench = bench_new(answer_one, false);
	int64_t before = clock_wall_us();
	Error err = { 0 };
	json_t *object;
	json_int_t told;

	cr_assert_eq(guest_set_clock(bench->link, &patient, &err), 0, "%s", err.what);

	object = what_was_asked("set_clock");
	told = json_integer_value(json_object_get(object, "time_ns"));
	cr_expect(told >= before * 1000 && told <= clock_wall_us() * 1000);
	json_decref(object);
}

Test(guest_ask, an_interface_is_told_what_is_to_change)
{
	const GuestInterface interface = { .name = "eth0",
					   .mac = "02:00:00:00:00:01",
					   .mtu = 1400,
					   .ipv4 = "10.0.0.2/32",
					   .gateway4 = "10.0.0.1" };
	cleanup_(bench_freep) Bench *bench = bench_new(answer_one, false);
	json_t *expected = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "op", "set_network",
				     "interface", "eth0", "mac", "02:00:00:00:00:01", "mtu", 1400,
				     "ipv4", "10.0.0.2/32", "gateway4", "10.0.0.1");
	Error err = { 0 };
	json_t *object;

	cr_assert_eq(guest_set_network(bench->link, &patient, &interface, &err), 0, "%s", err.what);

	object = what_was_asked("set_network");
	(void)json_object_del(object, "id");
	cr_expect(json_equal(object, expected), "%s", asked);
	json_decref(object);
	json_decref(expected);
}

Test(guest_ask, nobody_is_waited_for_any_longer_once_nobody_wants_to_know)
{
	cleanup_(bench_freep) Bench *bench = bench_new(be_silent, false);
	cleanup_close int cancel_fd = eventfd(1, EFD_CLOEXEC);
	GuestQuery query = patient;
	Error err = { 0 };

	query.cancel_fd = cancel_fd;
	cr_assert_eq(guest_set_clock(bench->link, &query, &err), -1);
	cr_expect_str_eq(err.what, "set_clock: given up");

	error_clear(&err);
	query = patient;
	query.vmm = cancel_fd;
	cr_assert_eq(guest_set_clock(bench->link, &query, &err), -1);
	cr_expect_str_eq(err.what, "set_clock: given up");
}

Test(guest_ask, silence_is_a_failure_in_time)
{
	cleanup_(bench_freep) Bench *bench = bench_new(be_silent, false);
	GuestQuery query = patient;
	Error err = { 0 };

	query.timeout = SHORT;
	cr_assert_eq(guest_reseed(bench->link, &query, &err), -1);
	cr_expect_eq(err.cause, CAUSE_TIMEOUT);
}
