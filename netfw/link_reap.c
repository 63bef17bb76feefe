/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/link_reap.h"

#include "base/lock.h"

enum {
	TOGETHER = 256, /* names in one batch, unless one caller has more */
};

/* One caller, who waits. */
typedef struct Request {
	const LinkConfig *config;
	const char *const *names;
	size_t count;
	int r;
	Error *err;
	bool done; /* under lock */
	struct Request *next;
} Request;

/* The kernel's lock over links is one for all, and so is this. */
static Lock lock = LOCK_INIT;
static Cond changed = { PTHREAD_COND_INITIALIZER };
static Request *waiting; /* under lock: the latest first */
static bool reaping;     /* under lock */

/* As many of those that wait, with the same group, as go together; more than none. */
static Request *take_batch(void) lock_requires(lock)
{
	Request *batch = NULL, **at = &waiting;
	size_t names = 0;

	while (*at) {
		Request *request = *at;

		if (batch && (request->config->group != batch->config->group ||
			      names + request->count > TOGETHER)) {
			at = &request->next;
			continue;
		}
		*at = request->next;
		request->next = batch;
		batch = request;
		names += request->count;
	}
	return batch;
}

static int remove_together(const Request *batch)
{
	cleanup_free const char **names = NULL;
	size_t count = 0;
	Error ignored = { 0 };

	for (const Request *request = batch; request; request = request->next) {
		names = must_realloc(names, count + request->count + 1, sizeof *names);
		for (size_t i = 0; i < request->count; i++)
			names[count++] = request->names[i];
	}
	return link_remove(batch->config, names, count, &ignored);
}

/* If it does not go for all together, each hears of its own. */
static void reap(Request *batch)
{
	if (batch->next && remove_together(batch) == 0)
		return;
	for (Request *request = batch; request; request = request->next)
		request->r =
			link_remove(request->config, request->names, request->count, request->err);
}

int link_reap(const LinkConfig *config, const char *const *names, size_t count, Error *err)
{
	Request mine = { .config = config, .names = names, .count = count, .err = err };

	lock_take(&lock);
	mine.next = waiting;
	waiting = &mine;
	while (!mine.done) {
		Request *batch = reaping ? NULL : take_batch();

		if (!batch) {
			cond_wait(&changed, &lock);
			continue;
		}
		reaping = true;
		lock_drop(&lock);
		reap(batch);
		lock_take(&lock);
		for (; batch; batch = batch->next)
			batch->done = true;
		reaping = false;
		cond_broadcast(&changed);
	}
	lock_drop(&lock);
	return mine.r;
}
