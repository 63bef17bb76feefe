/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The queue, and the one thread that writes.
 *
 * The writer takes what waits, at most STORE_BATCH changes, and commits it as
 * one transaction; meanwhile the next batch gathers, so that the disk's
 * latency is paid once for all of it. When a commit fails, every waiting
 * intent is told so, and the outcomes go back to the front of the queue, in
 * order, to be tried again after a pause or with the next submission.
 *
 * When the disk is full (store_reserve.c), intents are told so before they are
 * tried, but for those that free; every few seconds the writer looks again.
 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/store_internal.h"

#include <signal.h>
#include <string.h>

enum {
	STORE_BATCH = 512,
	BATCH_BYTES = 1 << 20, /* of records; less than the reserve, with all that is around them */
	BATCH_BYTES_FULL = 1 << 16, /* of one that lives on the reserve */
	PRUNE_EXTRA = 16,           /* how much faster than they come old events may go */
	FEWEST_EVENTS = 64,
	PRUNE_TOMBSTONES = 64,
	STACK_BYTES = 256 << 10,
};

static const int64_t retry_first = 100 * (int64_t)USEC_PER_MSEC;
static const int64_t retry_most = 2 * (int64_t)USEC_PER_SEC;
static const int64_t look_every = 2 * (int64_t)USEC_PER_SEC; /* on a full disk */

/* What the writer took from the queue. */
typedef struct Work {
	Change *batch[STORE_BATCH];
	size_t count;
	size_t written; /* of them, the first */
	StoreTask *tasks;
} Work;

static void queue_push(ChangeQueue *queue, Change *change)
{
	change->next = NULL;
	if (queue->last)
		queue->last->next = change;
	else
		queue->first = change;
	queue->last = change;
}

/* Puts @queue before all that waits in @to. */
static void queue_prepend(ChangeQueue *to, ChangeQueue *queue)
{
	if (!queue->first)
		return;
	queue->last->next = to->first;
	if (!to->first)
		to->last = queue->last;
	to->first = queue->first;
	*queue = (ChangeQueue){ 0 };
}

static Change *queue_pop(ChangeQueue *queue)
{
	Change *change = queue->first;

	if (!change)
		return NULL;
	queue->first = take_ptr(change->next);
	if (!queue->first)
		queue->last = NULL;
	return change;
}

/* Gives everything in @queue up: @err says why. */
static void queue_fail(ChangeQueue *queue, const Error *err)
{
	Change *change;

	while ((change = queue_pop(queue))) {
		if (change->done)
			change->done(change, err);
		change_unref(change);
	}
}

static int write_event(Store *store, const Change *change, const char *text, Error *err)
{
	const VmRecord *record = change->record;

	return db_run(&store->writer, SQL_ADD_EVENT,
		      DB_VALUES(db_number((int64_t)change->revision), db_number(change->type),
				db_number(change->time), db_text(record->vm_id),
				db_text(record->uid), db_text(change->reason),
				db_text(change->message), db_text(change->operation_id),
				db_text(change->principal), db_text(text)),
		      err);
}

static int write_vm(Store *store, const Change *change, const char *text, Error *err)
{
	const VmRecord *record = change->record;
	Db *db = &store->writer;

	if (change->type != CHANGE_DELETED)
		return db_run(db, SQL_PUT_VM,
			      DB_VALUES(db_text(record->vm_id), db_text(record->uid),
					db_number((int64_t)record->revision), db_text(text)),
			      err);

	if (db_run(db, SQL_DROP_VM, DB_VALUES(db_text(record->vm_id)), err) < 0 ||
	    db_run(db, SQL_ADD_TOMBSTONE,
		   DB_VALUES(db_text(record->uid), db_text(record->vm_id), db_number(change->time)),
		   err) < 0)
		return -1;
	return db_run(
		db, SQL_PRUNE_TOMBSTONES,
		DB_VALUES(db_number(clock_wall_us() - (int64_t)STORE_TOMBSTONE_SEC * USEC_PER_SEC),
			  db_number(PRUNE_TOMBSTONES)),
		err);
}

/* Adds to @bytes what it writes. */
static int write_change(Store *store, Change *change, uint64_t revision, size_t *bytes, Error *err)
{
	cleanup_free char *text = NULL;

	change->revision = revision;
	change->record->revision = revision;
	text = record_to_text(change->record);
	*bytes += strlen(text);
	if (write_event(store, change, text, err) < 0)
		return -1;
	return write_vm(store, change, text, err);
}

/* Up to which revision events are to go: all but the history, or what the reserve needs. */
static uint64_t prune_goal(const Store *store, uint64_t revision, uint64_t step)
{
	uint64_t goal = revision > store->history ? revision - store->history : 0;

	if (!store->full || !store->reserve_low || goal >= step || revision <= FEWEST_EVENTS)
		return goal;
	return step < revision - FEWEST_EVENTS ? step : revision - FEWEST_EVENTS;
}

/* Deletes some of what is older than the history up to @revision: no batch pays for a backlog. */
static int prune_events(Store *store, uint64_t revision, size_t count, uint64_t *compacted,
			Error *err)
{
	uint64_t step = store->compacted + 2 * count + PRUNE_EXTRA;
	uint64_t goal = prune_goal(store, revision, step);

	if (goal <= store->compacted)
		return 0;
	*compacted = goal < step ? goal : step;
	if (db_run(&store->writer, SQL_PRUNE_EVENTS, DB_VALUES(db_number((int64_t)*compacted)),
		   err) < 0)
		return -1;
	return db_run(&store->writer, SQL_PUT_META,
		      DB_VALUES(db_text("compacted"), db_number((int64_t)*compacted)), err);
}

static int write_all(Store *store, Work *work, Error *err)
{
	const size_t most = store->full ? BATCH_BYTES_FULL : BATCH_BYTES;
	uint64_t revision = store_revision(store);
	uint64_t compacted = store->compacted;
	Db *db = &store->writer;
	int64_t begun = clock_mono_us();
	size_t bytes = 0;

	work->written = 0;
	if (db_run(db, SQL_BEGIN, NULL, 0, err) < 0)
		return -1;
	while (work->written < work->count && bytes < most)
		if (write_change(store, work->batch[work->written++], ++revision, &bytes, err) < 0)
			return -1;
	if (prune_events(store, revision, work->written, &compacted, err) < 0)
		return -1;
	if (db_run(db, SQL_PUT_META, DB_VALUES(db_text("revision"), db_number((int64_t)revision)),
		   err) < 0 ||
	    db_run(db, SQL_COMMIT, NULL, 0, err) < 0)
		return -1;

	histogram_add(&store->commits, clock_mono_us() - begun);
	store->compacted = compacted;
	atomic_store(&store->revision, revision);
	return 0;
}

const Histogram *store_commits(const Store *store)
{
	return &store->commits;
}

static void settle_written(Store *store, Work *work)
{
	ChangeQueue rest = { 0 };

	for (size_t i = work->written; i < work->count; i++)
		queue_push(&rest, work->batch[i]);
	store->squeezed = false;
	lock_take(&store->lock);
	store->retry_delay = 0;
	if (!store->full)
		error_clear(&store->failure);
	queue_prepend(&store->queue, &rest);
	lock_drop(&store->lock);

	store->publish(store->user, work->batch, work->written);
	for (size_t i = 0; i < work->written; i++) {
		Change *change = work->batch[i];

		if (change->done)
			change->done(change, NULL);
		change_unref(change);
	}
}

/* Does @change stay in the queue, now that @err stands against writing it? What frees is tried
 * once more, by itself. */
static bool is_kept(const Store *store, const Change *change, const Error *err)
	lock_requires(store->lock)
{
	if (store->stopping)
		return false;
	return change->is_outcome ||
	       (change->frees && err->cause == CAUSE_EXHAUSTED && !store->squeezed);
}

/*
 * Fails the intents of the batch and of the queue behind it, which would fail
 * as well, and puts the outcomes back. At the end nothing is put back: the
 * next agent finds the intents and finishes what they began.
 */
static void settle_failed(Store *store, Work *work, const Error *err)
{
	ChangeQueue all = { 0 }, failed = { 0 };
	int64_t now = clock_mono_us();
	bool again = false;
	Change *change;

	for (size_t i = 0; i < work->count; i++)
		queue_push(&all, work->batch[i]);

	lock_take(&store->lock);
	while ((change = queue_pop(&store->queue)))
		queue_push(&all, change);
	while ((change = queue_pop(&all))) {
		if (is_kept(store, change, err)) {
			again = again || change->frees;
			queue_push(&store->queue, change);
		} else {
			queue_push(&failed, change);
		}
	}
	store->retry_delay = store->retry_delay ? 2 * store->retry_delay : retry_first;
	if (store->retry_delay > retry_most)
		store->retry_delay = retry_most;
	store->retry_at = again ? now : now + store->retry_delay;
	store->failure = *err;
	lock_drop(&store->lock);
	store->squeezed = again;
	store_note_damage(store, err);

	queue_fail(&failed, err);
}

/* Looks whether there is room for all that may come; sets when to look again. */
static void look_for_room(Store *store)
{
	Error err = { 0 };
	bool full = store_reserve_keep(store, &err) < 0 && err.cause == CAUSE_EXHAUSTED;
	int64_t now = clock_mono_us();
	bool was_full = store->full;

	store_note_damage(store, &err);
	store->full = full;
	if (!full && !was_full)
		return;
	lock_take(&store->lock);
	store->look_at = full ? now + look_every : 0;
	store->failure = err; /* if none: of nothing else can be known before the next write */
	lock_drop(&store->lock);
}

/* Refuses those of the batch that the reserve is not for. */
static void refuse_growth(Store *store, Work *work)
{
	ChangeQueue refused = { 0 };
	size_t kept = 0;
	Error err;

	for (size_t i = 0; i < work->count; i++) {
		Change *change = work->batch[i];

		if (change->is_outcome || change->frees)
			work->batch[kept++] = change;
		else
			queue_push(&refused, change);
	}
	work->count = kept;
	lock_take(&store->lock);
	err = store->failure;
	lock_drop(&store->lock);
	queue_fail(&refused, &err);
}

static void write_batch(Store *store, Work *work)
{
	Error err = { 0 };

	if (store->full || store->squeezed)
		refuse_growth(store, work);
	if (!work->count)
		return;
	if (write_all(store, work, &err) == 0) {
		settle_written(store, work);
		return;
	}
	db_rollback(&store->writer);
	settle_failed(store, work, &err);
}

static void run_tasks(Store *store, StoreTask *task)
{
	while (task) {
		StoreTask *next = task->next;
		int result = task->run(store, task, task->err);

		lock_take(&store->lock);
		task->result = result;
		task->settled = true; /* from here on it is its caller's again */
		cond_broadcast(&store->settled);
		lock_drop(&store->lock);
		task = next;
	}
}

static bool must_look(const Store *store) lock_requires(store->lock)
{
	return store->look_at && clock_mono_us() >= store->look_at;
}

static bool has_work(const Store *store) lock_requires(store->lock)
{
	if (store->stopping || store->tasks || must_look(store))
		return true;
	if (!store->queue.first)
		return false;
	return store->submitted || !store->retry_delay || clock_mono_us() >= store->retry_at;
}

/* Waits for work; false once the store is to close and nothing is left. */
static bool take_work(Store *store, Work *work)
{
	bool more;

	work->count = 0;

	lock_take(&store->lock);
	while (!has_work(store)) {
		int64_t until = store->queue.first ? store->retry_at : 0;

		if (store->look_at && (!until || store->look_at < until))
			until = store->look_at;
		if (until)
			(void)cond_wait_until(&store->wake, &store->lock, until);
		else
			cond_wait(&store->wake, &store->lock);
	}
	store->submitted = false;
	work->tasks = take_ptr(store->tasks);
	while (work->count < STORE_BATCH && store->queue.first)
		work->batch[work->count++] = queue_pop(&store->queue);
	more = work->count || work->tasks || !store->stopping;
	lock_drop(&store->lock);
	return more;
}

static void *writer_main(void *arg)
{
	Store *store = arg;
	Work work;

	while (take_work(store, &work)) {
		run_tasks(store, work.tasks);
		look_for_room(store);
		if (work.count)
			write_batch(store, &work);
	}
	return NULL;
}

int store_start(Store *store, void (*publish)(void *user, Change *const *batch, size_t count),
		void *user, Error *err)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int r;

	store->publish = publish;
	store->user = user;

	/* Signals are for the agent's main thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
	r = pthread_create(&store->thread, &attributes, writer_main, store);
	(void)pthread_attr_destroy(&attributes);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return error_set_errno(err, ERROR_STORE, r, "start the writer");

	(void)pthread_setname_np(store->thread, "store");
	lock_take(&store->lock);
	store->running = true;
	lock_drop(&store->lock);
	return 0;
}

void store_submit(Store *store, Change *change)
{
	lock_take(&store->lock);
	queue_push(&store->queue, change);
	store->submitted = true;
	cond_broadcast(&store->wake);
	lock_drop(&store->lock);
}

bool store_failing(Store *store, Error *ret)
{
	bool failing;

	lock_take(&store->lock);
	failing = error_is_set(&store->damage) || error_is_set(&store->failure);
	if (failing && ret)
		*ret = error_is_set(&store->damage) ? store->damage : store->failure;
	lock_drop(&store->lock);
	return failing;
}

int store_task_run(Store *store, StoreTask *task, Error *err)
{
	bool queued;

	task->err = err;
	lock_take(&store->lock);
	queued = store->running;
	if (queued) {
		task->next = store->tasks;
		store->tasks = task;
		cond_broadcast(&store->wake);
	}
	while (queued && !task->settled)
		cond_wait(&store->settled, &store->lock);
	lock_drop(&store->lock);
	return queued ? task->result : task->run(store, task, err);
}

void store_writer_stop(Store *store)
{
	Error err = { 0 };
	bool running;

	lock_take(&store->lock);
	running = store->running;
	store->stopping = true;
	cond_broadcast(&store->wake);
	lock_drop(&store->lock);

	if (running)
		(void)pthread_join(store->thread, NULL);
	if (!store->queue.first)
		return;
	error_fill(&err, ERROR_STORE, CAUSE_HOST, 0, "closed before anything was written");
	queue_fail(&store->queue, &err);
}
