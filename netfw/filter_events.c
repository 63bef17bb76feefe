/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/filter_private.h"

#include <errno.h>
#include <string.h>

static int hand_on(void *user, void *data, size_t size)
{
	Filter *filter = user;
	struct filter_event event;

	if (size < sizeof event)
		return 0;
	memcpy(&event, data, sizeof event);
	filter->each(filter->each_user, &event);
	return 0;
}

int filter_events_open(Filter *filter, Error *err)
{
	filter->events = ring_buffer__new(filter->maps[FILTER_MAP_EVENTS], hand_on, filter, NULL);
	if (!filter->events)
		return error_set_errno(err, ERROR_FIREWALL, errno, "map the events");
	return 0;
}

int filter_events_fd(const Filter *filter)
{
	return ring_buffer__epoll_fd(filter->events);
}

int filter_events_read(Filter *filter, void (*each)(void *user, const struct filter_event *event),
		       void *user)
{
	int r;

	filter->each = each;
	filter->each_user = user;
	r = ring_buffer__consume(filter->events);
	return r < 0 ? r : 0;
}
