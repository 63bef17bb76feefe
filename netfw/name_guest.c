/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "netfw/name_private.h"

#include <netinet/in.h>
#include <string.h>

enum {
	TOKEN = 1000000,
	REST_US = 10 * USEC_PER_SEC,
};

static Prefix prefix_of(const NameAddress *address)
{
	struct sockaddr_in six4;
	struct sockaddr_in6 six6;
	Prefix prefix = { .family = 4, .length = 32 };

	if (address->storage.ss_family == AF_INET) {
		memcpy(&six4, &address->storage, sizeof six4);
		memcpy(prefix.address, &six4.sin_addr, 4);
		return prefix;
	}
	memcpy(&six6, &address->storage, sizeof six6);
	prefix = (Prefix){ .family = 6, .length = 128 };
	memcpy(prefix.address, &six6.sin6_addr, 16);
	return prefix;
}

static NameBudget full(int64_t rate)
{
	return (NameBudget){ rate * TOKEN, clock_mono_us() };
}

/* A million tokens each, and a microsecond's worth of a rate is as many as the rate says. */
static bool take(NameBudget *budget, int64_t rate)
{
	int64_t now = clock_mono_us();

	budget->tokens += (now - budget->filled) * rate;
	budget->filled = now;
	if (budget->tokens > rate * TOKEN)
		budget->tokens = rate * TOKEN;
	if (budget->tokens < TOKEN)
		return false;
	budget->tokens -= TOKEN;
	return true;
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
NameGuest *name_guest(NameServer *server, const NameAddress *address)
{
	Prefix prefix = prefix_of(address);
	NameGuest *guest;

	HASH_FIND(hh, server->guests, &prefix, sizeof prefix, guest);
	if (guest)
		return guest;
	if (server->config.ops->allows(server->config.user, &prefix, "") == NAME_NO_GUEST)
		return NULL;
	guest = new0(NameGuest);
	guest->address = prefix;
	guest->asks = full(NAME_GUEST_RATE);
	guest->told = full(NAME_TOLD_A_SECOND);
	HASH_ADD(hh, server->guests, address, sizeof guest->address, guest);
	return guest;
}

static void forget(NameServer *server, int64_t idle_before)
{
	NameGuest *guest, *next;

	HASH_ITER(hh, server->guests, guest, next)
	{
		if (guest->queries || guest->streams || guest->asks.filled >= idle_before)
			continue;
		HASH_DEL(server->guests, guest);
		free(guest);
	}
}

/* NOLINTEND(readability-function-*) */

bool name_guest_asks(NameGuest *guest)
{
	return take(&guest->asks, NAME_GUEST_RATE);
}

void name_guest_refused(NameServer *server, NameGuest *guest, const char *name, bool leads)
{
	const NameServerConfig *config = &server->config;
	const NameRefusal refusal = { name, leads, guest->suppressed };

	if (!config->ops->refused)
		return;
	if (!take(&guest->told, NAME_TOLD_A_SECOND)) {
		guest->suppressed++;
		return;
	}
	guest->suppressed = 0;
	config->ops->refused(config->user, &guest->address, &refusal);
}

void name_guests_tend(NameServer *server)
{
	forget(server, clock_mono_us() - REST_US);
}

void name_guests_free(NameServer *server)
{
	forget(server, INT64_MAX);
}
