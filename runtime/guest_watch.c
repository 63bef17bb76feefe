/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/guest_private.h"

#include <string.h>

/* What a guest's daemon tells of itself, for whoever watches its link. */

enum {
	BEAT = 10 * USEC_PER_SEC, /* without an answer a watched guest is asked for one */
	LOST = 2 * USEC_PER_SEC,  /* not open for so long, a watch is told */
};

static void tell_watch(GuestLink *link)
{
	if (link->watch)
		link->watch->heard(link->watch, &link->heard);
}

/* Of a text that is the guest's, and will be shown. */
static void copy_plain(char *ret, size_t size, const char *text)
{
	text_copy(ret, size, text ? text : "");
	for (char *at = ret; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

void guest_watch_opened(GuestLink *link, const json_t *answer)
{
	const char *agent = json_string_value(json_object_get(answer, "agent"));
	const char *boot_id = json_string_value(json_object_get(answer, "boot_id"));
	GuestHeard heard = { .open = true };

	copy_plain(heard.agent, sizeof heard.agent, agent);
	copy_plain(heard.boot_id, sizeof heard.boot_id, boot_id);
	/* A guest that was ready is so until its next boot. */
	heard.ready = link->heard.ready && strcmp(heard.boot_id, link->heard.boot_id) == 0;
	link->heard = heard;
	link->closed = 0;
	tell_watch(link);
}

void guest_watch_ready(GuestLink *link)
{
	if (link->heard.ready)
		return;
	link->heard.ready = true;
	tell_watch(link);
}

static void beaten(GuestCall *call, const json_t *answer, const Error *err)
{
	(void)answer;
	(void)err;
	container_of(call, GuestLink, beat)->beating = false;
}

/* A serial port does not tell that nobody reads it any more. */
static void beat(GuestLink *link, int64_t now)
{
	if (!link->watch || link->state != LINK_OPEN || link->beating ||
	    link->answered > now - BEAT)
		return;
	link->beating = true;
	link->beat = (GuestCall){
		.id = guest_link_next_id(link),
		.op = "ping",
		.request = json_object(),
		.timeout = GUEST_SILENCE,
		.done = beaten,
	};
	guest_link_add(link, &link->beat);
}

static void tell_lost(GuestLink *link, int64_t now)
{
	if (!link->watch || !link->closed || now < link->closed + LOST)
		return;
	link->closed = 0;
	link->heard.open = false;
	tell_watch(link);
}

void guest_watch_tick(GuestLink *link, int64_t now)
{
	beat(link, now);
	tell_lost(link, now);
}

void guest_watch_drop(GuestLink *link)
{
	GuestWatch *watch = take_ptr(link->watch);

	if (watch)
		watch->released(watch);
}

/* Whoever watches may believe that it stands, from an earlier agent. */
static void run_watch(GuestTask *task)
{
	GuestLink *link = task->link;

	link->watch = task->watch;
	link->watched = clock_mono_us();
	guest_hub_list(link->hub, link);
	if (link->state == LINK_OPEN)
		tell_watch(link);
	else
		link->closed = link->watched;
	if (link->fd < 0)
		guest_link_connect(link);
}

void guest_link_watch(GuestLink *link, GuestWatch *watch)
{
	const GuestTask task = { .run = run_watch, .link = link, .watch = watch };

	guest_hub_run(link->hub, &task);
}

static void run_unwatch(GuestTask *task)
{
	guest_watch_drop(task->link);
	if (!task->link->calls)
		guest_link_close(task->link, "");
}

void guest_link_unwatch(GuestLink *link)
{
	const GuestTask task = { .run = run_unwatch, .link = link };

	guest_hub_run(link->hub, &task);
}
