/* SPDX-License-Identifier: Apache-2.0 */

/* Guests that ask by TCP, and answers that are too large for anything else. */

#include "tests/unit/name_fixture.h"

TestSuite(name_stream, .init = set_up, .fini = tear_down);

/* As a resolver whose answer is too large for UDP: answers by TCP with fifty addresses. */
static void answer_at_length(int listening)
{
	DnsRecord records[50];
	DnsSpec spec = { .flags = DNS_ANSWER_FLAGS,
			 .name = "big.ok",
			 .type = DNS_A,
			 .answers = records,
			 .answer_count = array_size(records) };
	Asked asked = be_asked(resolvers[0]);
	cleanup_close int fd = -1;
	DnsBytes message;

	for (size_t i = 0; i < array_size(records); i++)
		records[i] = (DnsRecord){ "big.ok", DNS_A, 60, "192.0.2.1" };
	answer(resolvers[0], &asked,
	       &(DnsSpec){ .flags = DNS_TRUNCATED_FLAG, .name = "big.ok", .type = DNS_A });
	cr_assert(readable(listening, SOON_MSEC));
	fd = accept(listening, NULL, NULL);
	spec.id = hear_framed(fd).id;
	message = dns_make(&spec);
	send_framed(fd, &message);
}

Test(name_stream, what_is_too_large_for_udp_goes_by_tcp)
{
	cleanup_close int guest = guest_at(GUEST, SOCK_DGRAM);
	cleanup_close int stream = guest_at(GUEST, SOCK_STREAM);
	cleanup_close int listening = open_at("127.0.1.1", SOCK_STREAM, PORT);
	DnsBytes query = dns_make(
		&(DnsSpec){ .id = 9, .flags = DNS_QUERY_FLAGS, .name = "big.ok", .type = DNS_A });
	DnsSeen seen;

	cr_assert_eq(listen(listening, 4), 0);
	cr_assert_eq(send(guest, query.bytes, query.size, 0), (ssize_t)query.size);
	answer_at_length(listening);
	seen = hear(guest);
	cr_assert(seen.truncated, "512 bytes are what it can take");
	send_framed(stream, &query);
	answer_at_length(listening);
	seen = hear_framed(stream);

	cr_assert_not(seen.truncated);
	cr_assert_eq(seen.id, 9);
	cr_assert_eq(seen.answers, 50);
}

Test(name_stream, a_connection_has_several_in_flight_and_may_end_its_side)
{
	cleanup_close int stream = guest_at(GUEST, SOCK_STREAM);
	DnsBytes one = dns_make(
		&(DnsSpec){ .id = 1, .flags = DNS_QUERY_FLAGS, .name = "a.ok", .type = DNS_A });
	DnsBytes two = dns_make(
		&(DnsSpec){ .id = 2, .flags = DNS_QUERY_FLAGS, .name = "b.ok", .type = DNS_A });
	Asked first, second;
	char byte;

	send_framed(stream, &one);
	send_framed(stream, &two);
	cr_assert_eq(shutdown(stream, SHUT_WR), 0);
	first = be_asked(resolvers[0]);
	second = be_asked(resolvers[0]);
	answer_a(resolvers[0], &second, "b.ok", "192.0.2.2");
	cr_assert_eq(hear_framed(stream).id, 2);
	answer_a(resolvers[0], &first, "a.ok", "192.0.2.1");
	cr_assert_eq(hear_framed(stream).id, 1);

	cr_assert(readable(stream, SOON_MSEC));
	cr_assert_eq(recv(stream, &byte, 1, 0), 0);
}

Test(name_stream, many_queries_of_one_connection_are_read_as_it_goes)
{
	enum {
		MANY = 100,
	};
	cleanup_close int stream = guest_at(GUEST, SOCK_STREAM);

	for (int i = 0; i < MANY; i++) {
		DnsBytes query = dns_make(&(DnsSpec){ .id = (uint16_t)i,
						      .flags = DNS_QUERY_FLAGS,
						      .name = i % 2 ? "a.ok" : "no.org",
						      .type = DNS_A });

		send_framed(stream, &query);
	}
	for (int i = 0; i < MANY / 2; i++) {
		Asked asked = be_asked(resolvers[0]);

		answer_a(resolvers[0], &asked, "a.ok", "192.0.2.1");
	}
	for (int i = 0; i < MANY; i++)
		(void)hear_framed(stream);
}

Test(name_stream, a_message_that_does_not_fit_ends_its_connection)
{
	cleanup_close int stream = guest_at(GUEST, SOCK_STREAM);
	char byte;

	cr_assert_eq(send(stream, "\xff\xff\x00", 3, 0), 3);

	cr_assert(readable(stream, SOON_MSEC));
	cr_assert_leq(recv(stream, &byte, 1, 0), 0);
}

Test(name_stream, a_guest_has_few_connections)
{
	int streams[NAME_GUEST_STREAMS_MAX + 1];
	char byte;

	for (size_t i = 0; i < array_size(streams); i++)
		streams[i] = guest_at(GUEST, SOCK_STREAM);
	cr_assert(readable(streams[NAME_GUEST_STREAMS_MAX], SOON_MSEC));
	cr_assert_leq(recv(streams[NAME_GUEST_STREAMS_MAX], &byte, 1, 0), 0);
	cr_assert_not(readable(streams[0], NOT_MSEC));
	for (size_t i = 0; i < array_size(streams); i++)
		(void)close(streams[i]);
}
