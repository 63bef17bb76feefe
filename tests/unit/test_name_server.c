/* SPDX-License-Identifier: Apache-2.0 */

/* What the guests' resolver answers, and whom it asks. */

#include "tests/unit/name_fixture.h"

TestSuite(name_server, .init = set_up, .fini = tear_down);

Test(name_server, what_is_allowed_is_pinned_and_then_told)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	DnsSeen seen;
	Asked asked;

	ask(guest, 77, "Www.OK", DNS_A);
	asked = be_asked(resolvers[0]);
	cr_assert_eq(atomic_load(&pinned), 0);
	answer_a(resolvers[0], &asked, "www.ok", "192.0.2.1");
	seen = hear(guest);

	cr_assert_eq(atomic_load(&pinned), 1);
	cr_assert_str_eq(pins[0], "www.ok 192.0.2.1/32 1 90");
	cr_assert_eq(seen.id, 77);
	cr_assert_eq(seen.code, 0);
	cr_assert_eq(seen.answers, 1);
	cr_assert_eq(counters().answered, 1);
}

Test(name_server, ids_and_ports_of_tries_differ)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	Asked asked[16];
	int same_id = 0, same_port = 0;

	for (size_t i = 0; i < array_size(asked); i++) {
		ask(guest, (uint16_t)i, i % 2 ? "a.ok" : "b.ok", DNS_A);
		asked[i] = be_asked(resolvers[0]);
		same_id += i && asked[i].id == asked[i - 1].id;
		same_port += i && memcmp(&asked[i].from, &asked[i - 1].from, asked[i].size) == 0;
	}

	cr_assert_lt(same_id, 3);
	cr_assert_eq(same_port, 0);
}

Test(name_server, what_is_not_allowed_is_refused_and_nobody_is_asked)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	DnsSeen seen;

	ask(guest, 1, "www.example.org", DNS_A);
	seen = hear(guest);

	cr_assert_eq(seen.code, 5);
	cr_assert_eq(seen.reason, 15);
	cr_assert_eq(atomic_load(&refusals), 1);
	cr_assert_str_eq(refused_name, "www.example.org 0 0");
	cr_assert_not(readable(resolvers[0], NOT_MSEC));
	cr_assert_eq(counters().denied, 1);
}

Test(name_server, one_who_is_no_guest_is_not_answered)
{
	cleanup_close int guest = guest_at(STRANGER, SOCK_DGRAM);
	cleanup_close int stream = guest_at(STRANGER, SOCK_STREAM);
	char byte;

	ask(guest, 1, "www.ok", DNS_A);

	cr_assert_not(readable(guest, NOT_MSEC));
	cr_assert(readable(stream, SOON_MSEC));
	cr_assert_leq(recv(stream, &byte, 1, 0), 0);
	cr_assert_eq(counters().dropped, 2);
}

Test(name_server, kinds_that_would_lead_past_the_pins)
{
	static const struct {
		uint16_t type;
		uint8_t code;
	} rows[] = { { DNS_HTTPS, 0 }, { 64, 0 }, { DNS_ANY, 4 }, { 252, 4 } };
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);

	for (size_t i = 0; i < array_size(rows); i++) {
		DnsSeen seen;

		ask(guest, (uint16_t)i, "www.ok", rows[i].type);
		seen = hear(guest);
		cr_assert_eq(seen.id, i);
		cr_assert_eq(seen.code, rows[i].code, "%u", rows[i].type);
		cr_assert_eq(seen.answers, 0);
	}
	cr_assert_not(readable(resolvers[0], NOT_MSEC));
}

Test(name_server, where_a_name_must_not_lead)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	DnsSeen seen;
	Asked asked;

	ask(guest, 1, "www.ok", DNS_A);
	asked = be_asked(resolvers[0]);
	answer_a(resolvers[0], &asked, "www.ok", "10.0.0.1");
	seen = hear(guest);
	cr_assert_eq(seen.code, 5);
	cr_assert_eq(seen.reason, 17);
	cr_assert_str_eq(refused_name, "www.ok 1 0");
	cr_assert_eq(seen.answers, 0);
	ask(guest, 2, "www.ok", DNS_A);
	asked = be_asked(resolvers[0]);
	answer_a(resolvers[0], &asked, "www.ok", "10.0.0.2");
	seen = hear(guest);

	cr_assert_eq(seen.code, 2);
	cr_assert_eq(counters().filtered, 1);
	cr_assert_eq(counters().failed, 1);
}

Test(name_server, answers_to_something_else_are_passed_over)
{
	static const DnsRecord wrong = { "www.ok", DNS_A, 60, "192.0.2.66" };
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	Asked asked;

	ask(guest, 1, "www.ok", DNS_A);
	asked = be_asked(resolvers[0]);
	answer(resolvers[0], &asked,
	       &(DnsSpec){ .id = 1,
			   .name = "www.ok",
			   .type = DNS_A,
			   .answers = &wrong,
			   .answer_count = 1 });
	answer(resolvers[0], &asked,
	       &(DnsSpec){
		       .name = "other.ok", .type = DNS_A, .answers = &wrong, .answer_count = 1 });
	cr_assert_gt(sendto(resolvers[0], "no message", 10, 0, (struct sockaddr *)&asked.from,
			    asked.size),
		     0);
	cr_assert_not(readable(guest, NOT_MSEC));
	answer_a(resolvers[0], &asked, "www.ok", "192.0.2.1");

	cr_assert_eq(hear(guest).answers, 1);
	cr_assert_str_eq(pins[0], "www.ok 192.0.2.1/32 1 90");
}

Test(name_server, a_resolver_that_cannot_or_does_not_answer_is_followed_by_the_next)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	Asked asked;

	ask(guest, 1, "www.ok", DNS_A);
	asked = be_asked(resolvers[0]);
	answer(resolvers[0], &asked, &(DnsSpec){ .flags = 2, .name = "www.ok", .type = DNS_A });
	asked = be_asked(resolvers[1]);
	answer(resolvers[1], &asked, &(DnsSpec){ .flags = 3, .name = "www.ok", .type = DNS_A });
	cr_assert_eq(hear(guest).code, 3);

	ask(guest, 2, "silent.ok", DNS_A);
	(void)be_asked(resolvers[0]);
	asked = be_asked(resolvers[1]);
	answer_a(resolvers[1], &asked, "silent.ok", "192.0.2.1");
	cr_assert_eq(hear(guest).answers, 1);
}

Test(name_server, without_any_resolver_it_fails_at_once)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	DnsSeen seen;

	(void)close(resolvers[0]);
	(void)close(resolvers[1]);
	resolvers[0] = resolvers[1] = -1;
	ask(guest, 1, "www.ok", DNS_A);
	seen = hear(guest);

	cr_assert_eq(seen.code, 2);
	cr_assert_eq(seen.reason, 22);
}

Test(name_server, a_query_sent_again_is_asked_once)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	Asked asked;

	ask(guest, 1, "www.ok", DNS_A);
	ask(guest, 1, "www.ok", DNS_A);
	asked = be_asked(resolvers[0]);
	cr_assert_not(readable(resolvers[0], NOT_MSEC));
	answer_a(resolvers[0], &asked, "www.ok", "192.0.2.1");

	(void)hear(guest);
	cr_assert_not(readable(guest, NOT_MSEC));
}

Test(name_server, one_guest_does_not_take_what_is_anothers)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	cleanup_close int other = guest_at(OTHER_GUEST, SOCK_DGRAM);
	DnsSeen seen;

	for (int i = 0; i < NAME_GUEST_QUERIES_MAX; i++) {
		ask(guest, (uint16_t)i, "www.ok", DNS_A);
		(void)be_asked(resolvers[0]);
	}
	ask(guest, NAME_GUEST_QUERIES_MAX, "www.ok", DNS_A);
	seen = hear(guest);
	cr_assert_eq(seen.code, 2);
	cr_assert_eq(seen.id, NAME_GUEST_QUERIES_MAX);
	ask(other, 1, "www.ok", DNS_A);

	(void)be_asked(resolvers[0]);
}

Test(name_server, a_flood_is_dropped)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	NameCounters seen = { 0 };

	for (int i = 0; i < 8 * NAME_GUEST_RATE; i++)
		ask(guest, (uint16_t)i, "no.org", DNS_A);
	for (int i = 0; i < SOON_MSEC && !(seen.dropped && seen.denied >= NAME_GUEST_RATE); i++) {
		clock_sleep_us(1000);
		seen = counters();
	}

	cr_assert_gt(seen.dropped, 0);
	cr_assert_leq(atomic_load(&refusals), 3 * NAME_TOLD_A_SECOND);
	cr_assert_geq(seen.denied, NAME_GUEST_RATE);
}

Test(name_server, it_is_there_for_ipv6)
{
	cleanup_close int guest = guest_at("::1", SOCK_DGRAM);
	Asked asked;

	ask(guest, 1, "www.ok", DNS_A);
	asked = be_asked(resolvers[0]);
	answer_a(resolvers[0], &asked, "www.ok", "192.0.2.1");

	cr_assert_eq(hear(guest).answers, 1);
}

Test(name_server, an_address_that_is_taken_is_named)
{
	const NameServerConfig config = config_of(1);
	NameServer *second = NULL;
	Error err = { 0 };

	cr_assert_eq(name_server_open(&second, &config, &err), -1);
	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert(strstr(err.what, SERVER), "%s", err.what);
}

Test(name_server, it_may_be_closed_in_the_middle_of_it)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	cleanup_close int stream = guest_at(GUEST, SOCK_STREAM);
	DnsBytes query = dns_make(
		&(DnsSpec){ .id = 1, .flags = DNS_QUERY_FLAGS, .name = "a.ok", .type = DNS_A });

	ask(guest, 1, "www.ok", DNS_A);
	send_framed(stream, &query);
	(void)be_asked(resolvers[0]);
	(void)be_asked(resolvers[0]);
}
