/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Thirty-two threads write one VM each, every change waited for, in a child
 * that dies without closing; towards its end the disk is full now and then.
 * What was reported durable is there at the next opening, in order. Says how
 * many changes a second that were while there was room.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/store.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum {
	WRITERS = 32,
	RUN_MSEC = 1000,
	FULL_TIMES = 20,
};

/* What one thread has been told is durable; shared with the parent. */
typedef struct Progress {
	_Atomic uint64_t generation;
	_Atomic uint64_t revision;
	_Atomic uint64_t refused;
} Progress;

typedef struct Shared {
	Progress progress[WRITERS];
	uint64_t reached;
} Shared;

typedef struct Writer {
	Store *store;
	Progress *progress;
	Lock lock;
	Cond cond;
	uint64_t revision;
	pthread_t thread;
	unsigned number;
	bool settled; /* under lock */
} Writer;

/* On the writer's thread only, but for the last check. */
static uint64_t published = 1; /* a new store's revision */

static void publish(void *user, Change *const *batch, size_t count)
{
	(void)user;
	for (size_t i = 0; i < count; i++) {
		assert(batch[i]->revision == published + 1);
		assert(batch[i]->record->revision == batch[i]->revision);
		published = batch[i]->revision;
	}
}

static void done(Change *change, const Error *err)
{
	Writer *writer = change->user;

	assert(!err || !change->is_outcome);
	assert(err || published >= change->revision);
	lock_take(&writer->lock);
	writer->revision = err ? 0 : change->revision;
	writer->settled = true;
	cond_broadcast(&writer->cond);
	lock_drop(&writer->lock);
}

/* The revision it got, or 0 if it was refused. */
static uint64_t write_one(Writer *writer, uint64_t generation)
{
	uint64_t revision;
	VmRecord *record = record_new();
	Change *change;

	record->vm_id = text_printf("vm-%02u", writer->number);
	record->uid = text_printf("uid-%02u", writer->number);
	record->tenant = text_dup("stress");
	record->spec = spec_new();
	record->generation = generation;
	record->status.state = VM_RUNNING;
	change = change_new(generation == 1 ? CHANGE_ADDED : CHANGE_MODIFIED, record, "Written");
	change->time = clock_wall_us();
	change->is_outcome = generation % 2;
	change->done = done;
	change->user = writer;
	store_submit(writer->store, change);

	lock_take(&writer->lock);
	while (!writer->settled)
		cond_wait(&writer->cond, &writer->lock);
	writer->settled = false;
	revision = writer->revision;
	lock_drop(&writer->lock);
	return revision;
}

static void *write_many(void *arg)
{
	Writer *writer = arg;

	for (uint64_t generation = 1;;) {
		uint64_t revision = write_one(writer, generation);

		if (!revision) {
			atomic_fetch_add(&writer->progress->refused, 1);
			continue;
		}
		atomic_store(&writer->progress->revision, revision);
		atomic_store(&writer->progress->generation, generation++);
	}
	return NULL;
}

/* Readers never wait for the writer, and see only what is whole. */
static void read_along(Store *store)
{
	StoreEvent events[4];
	Error err = { 0 };
	size_t n = 0;

	if (store_list_events(store, "vm-07", "", 0, events, 4, &n, &err) < 0)
		abort();
	while (n)
		store_event_clear(&events[--n]);
	if (store_uid_used(store, "uid-none", &err) != 0)
		abort();
	clock_sleep_us(USEC_PER_MSEC);
}

static void fill_disk(bool full)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
		abort();
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		abort();
}

/* Leaves in @reached the revision it came to while there was room. */
static void run_child(const char *dir, Progress *progress, uint64_t *reached)
{
	static Writer writers[WRITERS];
	StoreConfig config = { .state_dir = dir, .history = 2000 };
	Store *store = NULL;
	Error err = { 0 };

	(void)signal(SIGXFSZ, SIG_IGN);
	if (store_open(&store, &config, &err) < 0 || store_start(store, publish, NULL, &err) < 0)
		abort();
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (Writer){ .store = store, .progress = &progress[i], .number = i };
		lock_init(&writers[i].lock);
		cond_init(&writers[i].cond);
		if (pthread_create(&writers[i].thread, NULL, write_many, &writers[i]))
			abort();
	}
	for (int64_t end = clock_mono_us() + (int64_t)RUN_MSEC * USEC_PER_MSEC;
	     clock_mono_us() < end;)
		read_along(store);
	*reached = store_revision(store);
	for (unsigned i = 0; i < FULL_TIMES; i++) {
		fill_disk(i % 2 == 0);
		read_along(store);
		clock_sleep_us(10 * (int64_t)USEC_PER_MSEC);
	}
	_exit(0); /* no close: as if killed */
}

typedef struct Found {
	const Progress *progress;
	unsigned count;
	unsigned lost;
} Found;

static void check_vm(void *user, VmRecord *record)
{
	Found *found = user;
	unsigned number = (unsigned)strtoul(record->vm_id + 3, NULL, 10);
	const Progress *progress = &found->progress[number];

	/* One more may have become durable without its writer having been told. */
	if (record->generation < progress->generation || record->revision < progress->revision)
		found->lost++;
	found->count++;
	record_unref(record);
}

typedef struct History {
	uint64_t last;
	size_t count, gaps;
} History;

static void check_change(void *user, Change *change)
{
	History *history = user;

	if (history->last && change->revision != history->last + 1)
		history->gaps++;
	history->last = change->revision;
	history->count++;
	change_unref(change);
}

static int check_after(const char *dir, const Progress *progress, uint64_t reached)
{
	StoreConfig config = { .state_dir = dir, .history = 2000 };
	Found found = { .progress = progress };
	History history = { 0 };
	Store *store = NULL;
	Error err = { 0 };
	uint64_t revision, refused = 0;

	if (store_open(&store, &config, &err) < 0 ||
	    store_load_vms(store, check_vm, &found, &err) < 0 ||
	    store_load_changes(store, 1000, check_change, &history, &err) < 0) {
		char message[ERROR_MESSAGE_MAX];

		(void)fprintf(stderr, "%s\n", error_message(&err, message));
		return 1;
	}
	revision = store_revision(store);
	store_close(store);
	for (unsigned i = 0; i < WRITERS; i++)
		refused += progress[i].refused;
	printf("%" PRIu64 " changes a second; %" PRIu64
	       " refused; %u VMs, %u lost; %zu events, %zu gaps\n",
	       reached * 1000 / RUN_MSEC, refused, found.count, found.lost, history.count,
	       history.gaps);
	return found.count != WRITERS || found.lost || history.gaps || history.last != revision ||
	       history.count != (revision <= 1000 ? revision - 1 : 1000);
}

int main(int argc, char **argv)
{
	cleanup_free char *dir =
		text_printf("%s/hearth-stress-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1, result;
	pid_t pid;

	if (shared == MAP_FAILED || !mkdtemp(dir))
		return 1;
	pid = fork();
	if (pid == 0)
		run_child(dir, shared->progress, &shared->reached);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return 1;
	result = check_after(dir, shared->progress, shared->reached);
	return file_remove_tree(dir) < 0 ? 1 : result;
}
