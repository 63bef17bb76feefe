/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest_ask.h"

#include "base/clock.h"
#include "runtime/guest_input.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

enum {
	SEED_BYTES = 64 /* twice what the kernel's generator holds */
};

typedef struct Asked {
	GuestCall call;
	int answered; /* an eventfd */
	Error *err;
} Asked;

static void done(GuestCall *call, const json_t *answer, const Error *err)
{
	Asked *asked = container_of(call, Asked, call);

	(void)answer;
	if (err)
		*asked->err = *err;
	(void)eventfd_write(asked->answered, 1);
}

/* Until it is answered, which the link sees to in time, or nobody wants to know. */
static void wait_for(GuestLink *link, Asked *asked, const GuestQuery *query)
{
	struct pollfd fds[] = {
		{ .fd = asked->answered, .events = POLLIN },
		{ .fd = query->vmm, .events = POLLIN },
		{ .fd = query->cancel_fd, .events = POLLIN },
	};
	eventfd_t ignored;

	while (poll(fds, array_size(fds), -1) < 0 && errno == EINTR)
		;
	if (!fds[0].revents)
		guest_link_cancel(link, asked->call.id);
	(void)eventfd_read(asked->answered, &ignored);
}

int guest_ask(GuestLink *link, const GuestQuery *query, Error *err)
{
	cleanup_close int answered = eventfd(0, EFD_CLOEXEC);
	Asked asked = { .answered = answered, .err = err };

	if (answered < 0) {
		json_decref(query->members);
		return error_set_errno(err, ERROR_GUEST_METADATA, errno, "%s", query->op);
	}
	asked.call = (GuestCall){
		.id = guest_link_next_id(link),
		.op = query->op,
		.request = query->members,
		.timeout = query->timeout,
		.done = done,
	};
	guest_link_ask(link, &asked.call);
	wait_for(link, &asked, query);
	return error_is_set(err) ? -1 : 0;
}

static int ask(GuestLink *link, const GuestQuery *query, const char *op, json_t *members,
	       Error *err)
{
	GuestQuery own = *query;

	own.op = op;
	own.members = members;
	return guest_ask(link, &own, err);
}

int guest_reseed(GuestLink *link, const GuestQuery *query, Error *err)
{
	unsigned char seed[SEED_BYTES];
	json_t *members;
	char *text;

	if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
		return error_set_errno(err, ERROR_GUEST_METADATA, errno, "reseed");
	text = guest_encode(seed, sizeof seed);
	members = json_pack("{s:s}", "data", text);
	explicit_bzero(seed, sizeof seed);
	explicit_bzero(text, strlen(text));
	free(text);
	return ask(link, query, "reseed", members, err);
}

int guest_set_clock(GuestLink *link, const GuestQuery *query, Error *err)
{
	json_t *members = json_pack("{s:I}", "time_ns", (json_int_t)clock_wall_us() * 1000);

	return ask(link, query, "set_clock", members, err);
}

static void set_text(json_t *object, const char *name, const char *text)
{
	if (text && *text)
		(void)json_object_set_new(object, name, json_string(text));
}

int guest_set_network(GuestLink *link, const GuestQuery *query, const GuestInterface *interface,
		      Error *err)
{
	json_t *members = json_pack("{s:s}", "interface", interface->name);

	set_text(members, "mac", interface->mac);
	set_text(members, "ipv4", interface->ipv4);
	set_text(members, "gateway4", interface->gateway4);
	set_text(members, "ipv6", interface->ipv6);
	set_text(members, "gateway6", interface->gateway6);
	if (interface->mtu)
		(void)json_object_set_new(members, "mtu", json_integer(interface->mtu));
	return ask(link, query, "set_network", members, err);
}
