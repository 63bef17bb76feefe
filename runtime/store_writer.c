/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The queue, and the one thread that writes.
 *
 * The writer takes what waits, at most STORE_BATCH changes, and commits it as
 * one transaction; meanwhile the next batch gathers, so that the disk's
 * latency is paid once for all of it. When a commit fails, every waiting
 * intent is told so, and the outcomes go back to the front of the queue, in
 * order, to be tried again after a pause or with the next submission.
 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/store_internal.h"

#include <assert.h>
#include <signal.h>

enum {
	STORE_BATCH = 512,
	PRUNE_EXTRA = 16, /* how much faster than they come old events may go */
	PRUNE_TOMBSTONES = 64,
	STACK_BYTES = 256 << 10,
};

static const int64_t retry_first = 100 * (int64_t)USEC_PER_MSEC;
static const int64_t retry_most = 2 * (int64_t)USEC_PER_SEC;

/* What the writer took from the queue. */
typedef struct Work {
	Change *batch[STORE_BATCH];
	size_t count;
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

static int write_change(Store *store, Change *change, uint64_t revision, Error *err)
{
	cleanup_free char *text = NULL;

	change->revision = revision;
	change->record->revision = revision;
	text = record_to_text(change->record);
	if (write_event(store, change, text, err) < 0)
		return -1;
	return write_vm(store, change, text, err);
}

/* Deletes some of what is older than the history up to @revision: no batch pays for a backlog. */
static int prune_events(Store *store, uint64_t revision, size_t count, uint64_t *compacted,
			Error *err)
{
	uint64_t goal = revision > store->history ? revision - store->history : 0;
	uint64_t step = store->compacted + 2 * count + PRUNE_EXTRA;

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
	uint64_t revision = store_revision(store);
	uint64_t compacted = store->compacted;
	Db *db = &store->writer;

	if (db_run(db, SQL_BEGIN, NULL, 0, err) < 0)
		return -1;
	for (size_t i = 0; i < work->count; i++)
		if (write_change(store, work->batch[i], ++revision, err) < 0)
			return -1;
	if (prune_events(store, revision, work->count, &compacted, err) < 0)
		return -1;
	if (db_run(db, SQL_PUT_META, DB_VALUES(db_text("revision"), db_number((int64_t)revision)),
		   err) < 0 ||
	    db_run(db, SQL_COMMIT, NULL, 0, err) < 0)
		return -1;

	store->compacted = compacted;
	atomic_store(&store->revision, revision);
	return 0;
}

static void settle_written(Store *store, Work *work)
{
	lock_take(&store->lock);
	store->retry_delay = 0;
	store->failure[0] = '\0';
	lock_drop(&store->lock);

	store->publish(store->user, work->batch, work->count);
	for (size_t i = 0; i < work->count; i++) {
		Change *change = work->batch[i];

		if (change->done)
			change->done(change, NULL);
		change_unref(change);
	}
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
	char message[ERROR_MESSAGE_MAX];
	Change *change;

	(void)error_message(err, message);
	for (size_t i = 0; i < work->count; i++)
		queue_push(&all, work->batch[i]);

	lock_take(&store->lock);
	while ((change = queue_pop(&store->queue)))
		queue_push(&all, change);
	while ((change = queue_pop(&all)))
		queue_push(change->is_outcome && !store->stopping ? &store->queue : &failed,
			   change);
	store->retry_delay = store->retry_delay ? 2 * store->retry_delay : retry_first;
	if (store->retry_delay > retry_most)
		store->retry_delay = retry_most;
	store->retry_at = now + store->retry_delay;
	text_copy(store->failure, sizeof store->failure, message);
	lock_drop(&store->lock);

	queue_fail(&failed, err);
}

static void write_batch(Store *store, Work *work)
{
	Error err = { 0 };

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

static bool has_work(const Store *store) lock_requires(store->lock)
{
	if (store->stopping || store->tasks)
		return true;
	if (!store->queue.first)
		return false;
	return store->submitted || !store->retry_delay || clock_mono_us() >= store->retry_at;
}

/* Waits for work; false once the store is to close and nothing is left. */
static bool take_work(Store *store, Work *work)
{
	work->count = 0;

	lock_take(&store->lock);
	while (!has_work(store)) {
		if (store->queue.first)
			(void)cond_wait_until(&store->wake, &store->lock, store->retry_at);
		else
			cond_wait(&store->wake, &store->lock);
	}
	store->submitted = false;
	work->tasks = take_ptr(store->tasks);
	while (work->count < STORE_BATCH && store->queue.first)
		work->batch[work->count++] = queue_pop(&store->queue);
	lock_drop(&store->lock);
	return work->count || work->tasks;
}

static void *writer_main(void *arg)
{
	Store *store = arg;
	Work work;

	while (take_work(store, &work)) {
		run_tasks(store, work.tasks);
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

bool store_failing(Store *store, char *message, size_t size)
{
	bool failing;

	lock_take(&store->lock);
	failing = store->failure[0];
	if (failing)
		text_copy(message, size, store->failure);
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
