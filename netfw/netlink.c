/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/netlink.h"

#include "base/text.h"

#include <string.h>

enum {
	ANSWER_MAX = 32 * 1024, /* the kernel's own limit for one of a dump */
	WORDS_MAX = 160,
	DUMPS_MAX = 100, /* then there is always something that changes */
};

struct Netlink {
	struct mnl_socket *socket;
	uint32_t sequence; /* of the first message there is */
	char *out;
	size_t used, room, last; /* bytes; where the last message begins */
	NetlinkStep *steps;
	uint32_t count, steps_room;
	char in[ANSWER_MAX];
};

/* How a run goes. */
typedef struct Run {
	Netlink *netlink;
	NetlinkEach *each;
	void *user;
	bool done, disturbed; /* a dump that may lack something */
	int passed_over;
	int error; /* the first failure's errno */
	const char *step;
	char words[WORDS_MAX];
} Run;

int netlink_open(Netlink **ret, Error *err)
{
	cleanup_(netlink_closep) Netlink *netlink = new0(Netlink);
	int on = 1;

	netlink->sequence = 1;
	netlink->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!netlink->socket || mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, errno, "open rtnetlink");
	/* Words, and only the head of what they are about; without either it works as well. */
	(void)mnl_socket_setsockopt(netlink->socket, NETLINK_EXT_ACK, &on, sizeof on);
	(void)mnl_socket_setsockopt(netlink->socket, NETLINK_CAP_ACK, &on, sizeof on);
	*ret = take_ptr(netlink);
	return 0;
}

void netlink_close(Netlink *netlink)
{
	if (!netlink)
		return;
	if (netlink->socket)
		(void)mnl_socket_close(netlink->socket);
	free(netlink->out);
	free(netlink->steps);
	free(netlink);
}

static size_t align(size_t size)
{
	return (size + MNL_ALIGNTO - 1) / MNL_ALIGNTO * MNL_ALIGNTO;
}

static struct nlmsghdr *last_message(Netlink *netlink)
{
	return (struct nlmsghdr *)(void *)(netlink->out + netlink->last);
}

/* Attributes were put behind the last message since it was added. */
static void settle(Netlink *netlink)
{
	if (netlink->count)
		netlink->used = netlink->last + align(last_message(netlink)->nlmsg_len);
}

struct nlmsghdr *netlink_add(Netlink *netlink, const NetlinkStep *step)
{
	struct nlmsghdr *message;

	settle(netlink);
	if (netlink->room - netlink->used < NETLINK_ROOM) {
		netlink->room = 2 * netlink->room + 4 * (size_t)NETLINK_ROOM;
		netlink->out = must_realloc(netlink->out, netlink->room, 1);
	}
	memset(netlink->out + netlink->used, 0, NETLINK_ROOM);
	if (netlink->count == netlink->steps_room) {
		netlink->steps_room = 2 * netlink->steps_room + 8;
		netlink->steps =
			must_realloc(netlink->steps, netlink->steps_room, sizeof *netlink->steps);
	}
	netlink->steps[netlink->count] = *step;
	netlink->last = netlink->used;

	message = mnl_nlmsg_put_header(netlink->out + netlink->last);
	message->nlmsg_type = step->type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | step->flags);
	message->nlmsg_seq = netlink->sequence + netlink->count++;
	return message;
}

static const struct nlattr *attribute_at(const void *at, const void *end)
{
	return mnl_attr_ok(at, (int)((const char *)end - (const char *)at)) ? at : NULL;
}

const struct nlattr *netlink_attribute(const struct nlmsghdr *message, size_t head,
				       const struct nlattr *before)
{
	return attribute_at(before ? mnl_attr_next(before)
				   : mnl_nlmsg_get_payload_offset(message, head),
			    mnl_nlmsg_get_payload_tail(message));
}

const struct nlattr *netlink_nested(const struct nlattr *nest, const struct nlattr *before)
{
	const char *first = mnl_attr_get_payload(nest);

	return attribute_at(before ? (const char *)mnl_attr_next(before) : first,
			    first + mnl_attr_get_payload_len(nest));
}

static void copy_words(Run *run, const struct nlmsghdr *answer)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);
	const struct nlattr *at = NULL;
	size_t quoted;

	if (answer->nlmsg_type != NLMSG_ERROR || !(answer->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    mnl_nlmsg_get_payload_len(answer) < sizeof *error)
		return;
	quoted = answer->nlmsg_flags & NLM_F_CAPPED ? 0 : mnl_nlmsg_get_payload_len(&error->msg);
	while ((at = netlink_attribute(answer, sizeof *error + align(quoted), at)))
		if (mnl_attr_get_type(at) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(at, MNL_TYPE_NUL_STRING) == 0)
			text_copy(run->words, sizeof run->words, mnl_attr_get_str(at));
}

/* An acknowledgement or a failure of the message @at, or the end of its dump. */
static void take_verdict(Run *run, const struct nlmsghdr *answer, uint32_t at)
{
	const NetlinkStep *step = &run->netlink->steps[at];
	int error = EPROTO;

	if (mnl_nlmsg_get_payload_len(answer) >= sizeof(int))
		error = -*(const int *)mnl_nlmsg_get_payload(answer);
	if (error && error == step->passed_over) {
		run->passed_over++;
	} else if (error && !run->error) {
		run->error = error;
		run->step = step->words;
		copy_words(run, answer);
	}
	run->done = at == run->netlink->count - 1;
}

static void take_answer(Run *run, const struct nlmsghdr *answer)
{
	uint32_t at = answer->nlmsg_seq - run->netlink->sequence;

	if (at >= run->netlink->count)
		return;
	run->disturbed = run->disturbed || answer->nlmsg_flags & NLM_F_DUMP_INTR;
	if (answer->nlmsg_type == NLMSG_ERROR || answer->nlmsg_type == NLMSG_DONE)
		take_verdict(run, answer, at);
	else if (answer->nlmsg_type >= NLMSG_MIN_TYPE && run->each)
		run->each(run->user, answer);
}

static int receive(Run *run)
{
	Netlink *netlink = run->netlink;
	ssize_t size = mnl_socket_recvfrom(netlink->socket, netlink->in, sizeof netlink->in);
	const struct nlmsghdr *answer = (const void *)netlink->in;
	int left = (int)size;

	if (size < 0)
		return errno == EINTR ? 0 : -errno;
	for (; mnl_nlmsg_ok(answer, left); answer = mnl_nlmsg_next(answer, &left))
		take_answer(run, answer);
	return 0;
}

static int converse(Run *run)
{
	Netlink *netlink = run->netlink;
	int r = 0;

	run->done = run->disturbed = false;
	if (mnl_socket_sendto(netlink->socket, netlink->out, netlink->used) < 0)
		return -errno;
	while (r == 0 && !run->done)
		r = receive(run);
	return r;
}

int netlink_run(Netlink *netlink, const char *about, NetlinkEach *each, void *user, Error *err)
{
	Run run = { .netlink = netlink, .each = each, .user = user };
	int r;

	if (!netlink->count)
		return 0;
	settle(netlink);
	last_message(netlink)->nlmsg_flags |= NLM_F_ACK;
	r = converse(&run);
	for (int i = 1; r == 0 && run.disturbed && i < DUMPS_MAX; i++)
		r = converse(&run);
	if (r == 0 && run.disturbed)
		r = -EBUSY;
	netlink->sequence += netlink->count;
	netlink->used = netlink->last = netlink->count = 0;
	if (r < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, -r, "%s: talk to rtnetlink",
				       about);
	if (run.error && *run.words)
		return error_set_errno(err, ERROR_NETWORK_SETUP, run.error, "%s: %s (%s)", about,
				       run.step, run.words);
	if (run.error)
		return error_set_errno(err, ERROR_NETWORK_SETUP, run.error, "%s: %s", about,
				       run.step);
	return run.passed_over;
}
