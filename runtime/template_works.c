/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/template_works.h"

#include "base/clock.h"
#include "base/text.h"
#include "runtime/image_path.h"
#include "runtime/vm.h"

#include <string.h>

enum {
	TELL_EVERY = USEC_PER_SEC / 10,
};

struct TemplateWork {
	atomic_uint refs;
	Runtime *runtime;
	char template_id[ERROR_ID_MAX];
	char *path, *digest, *reference; /* path NULL: verify */
	uint64_t size;
	bool read_all;
	TemplateWork *next; /* of the table, under its lock */
	int64_t told;       /* of the thread that works */

	Lock lock;
	TemplateProgress progress; /* under lock */

	/* Held while listeners are woken, so that none is forgotten half-way. Innermost. */
	Lock listen_lock;
	TemplateListener *listeners; /* under listen_lock */
};

static void work_unref(TemplateWork *work)
{
	if (atomic_fetch_sub_explicit(&work->refs, 1, memory_order_acq_rel) > 1)
		return;
	free(work->path);
	free(work->digest);
	free(work->reference);
	free(work);
}

static void wake_all(TemplateWork *work)
{
	lock_take(&work->listen_lock);
	for (TemplateListener *listener = work->listeners; listener; listener = listener->next)
		listener->wake(listener);
	lock_drop(&work->listen_lock);
}

static bool is_closing(Runtime *runtime)
{
	bool closing;

	lock_take(&runtime->lock);
	closing = runtime->closing;
	lock_drop(&runtime->lock);
	return closing;
}

/* Of a DiskProgress: an agent that ends waits for no image. */
static bool step(void *user, uint64_t done, uint64_t total)
{
	TemplateWork *work = user;
	int64_t now = clock_mono_us();

	lock_take(&work->lock);
	work->progress.done = done;
	work->progress.total = total;
	lock_drop(&work->lock);
	if (now - work->told >= TELL_EVERY) {
		work->told = now;
		wake_all(work);
	}
	return !is_closing(work->runtime);
}

static int import(TemplateWork *work, TemplateInfo *info, Error *err)
{
	const DiskProgress progress = { .step = step, .user = work };
	cleanup_free char *real = NULL;
	TemplateImport import = {
		.name = work->template_id,
		.digest = *work->digest ? work->digest : NULL,
		.reference = *work->reference ? work->reference : NULL,
		.size = work->size,
		.progress = &progress,
	};
	int r = image_path_resolve(&real, work->path, work->runtime->config.backend.image_dirs);

	if (r < 0)
		return error_set_cause(err, ERROR_ROOTFS,
				       r == -ENOENT ? CAUSE_MISSING : CAUSE_INPUT, "%s: %s",
				       work->path, image_path_problem(r));
	import.path = real;
	return templates_import(work->runtime->templates, &import, info, err);
}

static int verify(TemplateWork *work, TemplateInfo *info, Error *err)
{
	const DiskProgress progress = { .step = step, .user = work };
	Templates *templates = work->runtime->templates;

	if (templates_verify(templates, work->template_id, work->read_all, &progress, err) < 0)
		return -1;
	return templates_get(templates, work->template_id, info, err);
}

/* Out of the table: who asks from now on asks anew. */
static void leave_table(TemplateWork *work)
{
	Runtime *runtime = work->runtime;
	TemplateWork **at;

	lock_take(&runtime->works_lock);
	for (at = &runtime->template_works; *at != work;)
		at = &(*at)->next;
	*at = work->next;
	lock_drop(&runtime->works_lock);
}

static void run(void *user)
{
	TemplateWork *work = user;
	TemplateInfo info;
	Error err = { 0 };
	int r = work->path ? import(work, &info, &err) : verify(work, &info, &err);

	leave_table(work);
	lock_take(&work->lock);
	work->progress.ended = true;
	if (r == 0)
		work->progress.info = info;
	else
		work->progress.error = err;
	lock_drop(&work->lock);
	wake_all(work);
	work_unref(work);
}

static TemplateWork *work_new(Runtime *runtime, const TemplateRequest *request)
{
	TemplateWork *work = new0(TemplateWork);

	work->refs = 1;
	work->runtime = runtime;
	text_copy(work->template_id, sizeof work->template_id, request->template_id);
	work->path = request->path ? text_dup(request->path) : NULL;
	work->digest = text_dup(request->digest ? request->digest : "");
	work->reference = text_dup(request->reference ? request->reference : "");
	work->size = request->size;
	work->read_all = request->read_all;
	lock_init(&work->lock);
	lock_init(&work->listen_lock);
	return work;
}

static bool is_same(const TemplateWork *work, const TemplateWork *other)
{
	return !work->path == !other->path && text_equal(work->path, other->path) &&
	       strcmp(work->digest, other->digest) == 0 &&
	       strcmp(work->reference, other->reference) == 0 && work->size == other->size &&
	       work->read_all == other->read_all;
}

/* The one that goes on with that template, or else @fresh, which then goes on; under the table's
 * lock. */
static TemplateWork *find_or_enter(Runtime *runtime, TemplateWork *fresh)
{
	TemplateWork *work = runtime->template_works;

	while (work && strcmp(work->template_id, fresh->template_id) != 0)
		work = work->next;
	if (work)
		return work;
	fresh->next = runtime->template_works;
	runtime->template_works = fresh;
	return fresh;
}

static void listen(TemplateWork *work, TemplateListener *listener)
{
	lock_take(&work->listen_lock);
	listener->next = work->listeners;
	work->listeners = listener;
	lock_drop(&work->listen_lock);
}

int template_work_begin(Runtime *runtime, const TemplateRequest *request,
			TemplateListener *listener, TemplateWork **ret, Error *err)
{
	TemplateWork *fresh = work_new(runtime, request), *work;
	bool same;

	lock_take(&runtime->works_lock);
	work = find_or_enter(runtime, fresh);
	same = is_same(work, fresh);
	if (same) /* the caller's */
		work->refs++;
	lock_drop(&runtime->works_lock);

	if (same)
		listen(work, listener);
	if (work != fresh)
		work_unref(fresh);
	if (!same)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_EXISTS,
				       "template '%s' is being imported or verified already",
				       request->template_id);
	if (work == fresh && !runtime_run_blocking(runtime, PATIENCE_LONG, run, work)) {
		leave_table(work);
		template_work_leave(work, listener);
		work_unref(work);
		return error_set(err, ERROR_QUEUE_FULL, "too many requests wait for the host");
	}
	*ret = work;
	return 0;
}

void template_work_read(TemplateWork *work, TemplateProgress *ret)
{
	lock_take(&work->lock);
	*ret = work->progress;
	lock_drop(&work->lock);
}

void template_work_leave(TemplateWork *work, TemplateListener *listener)
{
	TemplateListener **at;

	lock_take(&work->listen_lock);
	for (at = &work->listeners; *at != listener;)
		at = &(*at)->next;
	*at = listener->next;
	lock_drop(&work->listen_lock);
	work_unref(work);
}

size_t template_works_list(Runtime *runtime, TemplateImporting *ret, size_t max)
{
	size_t count = 0;

	lock_take(&runtime->works_lock);
	for (TemplateWork *work = runtime->template_works; work && count < max; work = work->next) {
		if (!work->path)
			continue;
		text_copy(ret[count].template_id, sizeof ret[count].template_id, work->template_id);
		lock_take(&work->lock);
		ret[count].done = work->progress.done;
		ret[count].total = work->progress.total;
		lock_drop(&work->lock);
		count++;
	}
	lock_drop(&runtime->works_lock);
	return count;
}
