/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The guests' resolver in a namespace of its own, between guests and two resolvers that the test is
 * itself, all on the loopback interface. Names that end with ".ok" are allowed.
 */

#include "base/clock.h"
#include "netfw/name_server.h"
#include "tests/support/dns.h"
#include "tests/support/net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

enum {
	PORT = 53,
	SOON_MSEC = 5000,
	NOT_MSEC = 200,
	PINS = 8,
};

#define SERVER "127.0.0.53"
#define GUEST "127.0.0.2"
#define OTHER_GUEST "127.0.0.3"
#define STRANGER "127.0.0.9"

static NameServer *server;
static int resolvers[2];
static atomic_int pinned;
static char pins[PINS][64];

static Prefix parse(const char *text)
{
	Prefix prefix;

	cr_assert_eq(prefix_parse_address(&prefix, text), 0);
	return prefix;
}

static bool same(const Prefix *address, const char *text)
{
	Prefix other = parse(text);

	return prefix_compare(address, &other) == 0;
}

/* Names that end with ".ok". */
static NameVerdict allows(void *user, const Prefix *source, const char *name)
{
	size_t length = strlen(name);

	(void)user;
	if (!same(source, GUEST) && !same(source, OTHER_GUEST) && !same(source, "::1"))
		return NAME_NO_GUEST;
	return length > 3 && strcmp(name + length - 3, ".ok") == 0 ? NAME_ALLOWED : NAME_DENIED;
}

static int pin(void *user, const Prefix *source, const NameLead *lead, Error *err)
{
	char text[PREFIX_TEXT_MAX];
	int at = atomic_load(&pinned);

	(void)user, (void)source;
	if (same(&lead->addresses[0], "10.0.0.1"))
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT, "not there");
	if (same(&lead->addresses[0], "10.0.0.2"))
		return error_set(err, ERROR_FIREWALL, "it fails");
	if (at < PINS)
		(void)snprintf(pins[at], sizeof pins[at], "%s %s %zu %u", lead->name,
			       prefix_format(&lead->addresses[0], text), lead->count, lead->ttl);
	atomic_store(&pinned, at + 1);
	return 0;
}

static atomic_int refusals;
static char refused_name[64];

static void refused(void *user, const Prefix *source, const NameRefusal *refusal)
{
	(void)user, (void)source;
	(void)snprintf(refused_name, sizeof refused_name, "%s %d %u", refusal->name, refusal->leads,
		       refusal->suppressed);
	atomic_fetch_add(&refusals, 1);
}

static const NameServerOps ops = { allows, pin, refused };

static struct sockaddr_storage address_of(const char *text, uint16_t port, socklen_t *size)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_storage ret = { .ss_family = AF_UNSPEC };

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
		memcpy(&ret, &four, *size = sizeof four);
	} else {
		cr_assert_eq(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
		memcpy(&ret, &six, *size = sizeof six);
	}
	return ret;
}

static int open_at(const char *text, int kind, uint16_t port)
{
	const int on = 1;
	socklen_t size;
	struct sockaddr_storage own = address_of(text, port, &size);
	int fd = socket(own.ss_family, kind | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&own, size), 0);
	return fd;
}

/* A guest's socket, connected to the server. */
static inline int guest_at(const char *text, int kind)
{
	socklen_t size;
	struct sockaddr_storage to = address_of(strchr(text, ':') ? "::1" : SERVER, PORT, &size);
	int fd = open_at(text, kind, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&to, size), 0);
	return fd;
}

static inline NameServerConfig config_of(size_t resolver_count)
{
	return (NameServerConfig){
		.listen = { parse(SERVER), parse("::1") },
		.listen_count = 2,
		.resolvers = { parse("127.0.1.1"), parse("127.0.1.2") },
		.resolver_count = resolver_count,
		.ops = &ops,
	};
}

static inline void set_up(void)
{
	const NameServerConfig config = config_of(2);
	Error err = { 0 };

	if (!net_available())
		cr_skip_test("needs root and network namespaces");
	net_enter();
	resolvers[0] = open_at("127.0.1.1", SOCK_DGRAM, PORT);
	resolvers[1] = open_at("127.0.1.2", SOCK_DGRAM, PORT);
	cr_assert_eq(name_server_open(&server, &config, &err), 0, "%s", err.what);
}

static inline void tear_down(void)
{
	name_server_close(server);
	(void)close(resolvers[0]);
	(void)close(resolvers[1]);
}

static inline bool readable(int fd, int msec)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };

	return poll(&one, 1, msec) == 1;
}

static inline void ask(int guest, uint16_t id, const char *name, uint16_t type)
{
	DnsBytes query = dns_make(&(DnsSpec){
		.id = id, .flags = DNS_QUERY_FLAGS, .name = name, .type = type, .edns = 1232 });

	cr_assert_eq(send(guest, query.bytes, query.size, 0), (ssize_t)query.size);
}

static inline DnsSeen hear(int guest)
{
	uint8_t bytes[DNS_BYTES];
	ssize_t size;

	cr_assert(readable(guest, SOON_MSEC), "no answer");
	size = recv(guest, bytes, sizeof bytes, 0);
	cr_assert_geq(size, 12);
	return dns_look(bytes, (size_t)size);
}

/* A query as it has come to a resolver, and from where. */
typedef struct Asked {
	struct sockaddr_storage from;
	socklen_t size;
	uint16_t id;
} Asked;

static inline Asked be_asked(int resolver)
{
	Asked asked = { .size = sizeof asked.from };
	uint8_t bytes[DNS_BYTES];
	ssize_t size;

	cr_assert(readable(resolver, SOON_MSEC), "no query");
	size = recvfrom(resolver, bytes, sizeof bytes, 0, (struct sockaddr *)&asked.from,
			&asked.size);
	cr_assert_geq(size, 12);
	asked.id = dns_look(bytes, (size_t)size).id;
	return asked;
}

static inline void answer(int resolver, const Asked *asked, const DnsSpec *spec)
{
	DnsSpec own = *spec;
	DnsBytes message;

	own.id = (uint16_t)(own.id + asked->id);
	own.flags |= DNS_ANSWER_FLAGS;
	message = dns_make(&own);
	cr_assert_eq(sendto(resolver, message.bytes, message.size, 0,
			    (const struct sockaddr *)&asked->from, asked->size),
		     (ssize_t)message.size);
}

static inline void answer_a(int resolver, const Asked *asked, const char *name, const char *address)
{
	const DnsRecord record = { name, DNS_A, 60, address };

	answer(resolver, asked,
	       &(DnsSpec){ .name = name, .type = DNS_A, .answers = &record, .answer_count = 1 });
}

static inline NameCounters counters(void)
{
	NameCounters ret;

	name_server_counters(server, &ret);
	return ret;
}

static inline void send_framed(int fd, const DnsBytes *message)
{
	uint8_t framed[DNS_BYTES + 2] = { (uint8_t)(message->size >> 8), (uint8_t)message->size };

	memcpy(framed + 2, message->bytes, message->size);
	cr_assert_eq(send(fd, framed, message->size + 2, MSG_NOSIGNAL), (ssize_t)message->size + 2);
}

static inline void receive(int fd, uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t got;

		cr_assert(readable(fd, SOON_MSEC));
		got = recv(fd, bytes + at, size - at, 0);
		cr_assert_gt(got, 0);
		at += (size_t)got;
	}
}

static inline DnsSeen hear_framed(int fd)
{
	uint8_t length[2], bytes[DNS_BYTES];
	size_t size;

	receive(fd, length, sizeof length);
	size = (size_t)length[0] << 8 | length[1];
	cr_assert_leq(size, sizeof bytes);
	receive(fd, bytes, size);
	return dns_look(bytes, size);
}
