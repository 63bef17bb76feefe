/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon of a guest, killed and started again meanwhile, and threads that ask it through one
 * link, cancel what others ask, give programs credit and input, and watch the link: each call hears
 * its end exactly once, also those that are under way when the hub is stopped, and of a program
 * that ended by itself all output has been heard by then. Nothing that was asked before the daemon
 * was killed waits for ever.
 */

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/guest/daemon.h"
#include "runtime/guest_input.h"
#include "runtime/guest_link.h"

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
	ASKERS = 5,
	HELPERS = 2,
	THREADS = ASKERS + HELPERS + 1, /* one watches */
	CALLS_MAX = 1000000,            /* of them all */
	PENDING_MAX = 72,               /* at once: more than the daemon runs programs */
	RESTARTS = 4,
	GOOD = 8,     /* calls of each kind that end well between two restarts */
	LINE = 10000, /* of input */
	LINES = 5,    /* what may be sent without asking */
	INPUT = LINES * LINE,
	CANCEL_NEAR = 100, /* which calls are cancelled: so many before the newest */
	HURRY_USEC = 5000, /* the most that some calls have */
	WATCH_USEC = 5000, /* and a watch stays */
	GIVE_UP_USEC = 120 * USEC_PER_SEC,
	NEVER_USEC = 2000 * USEC_PER_SEC,
};

/* What is asked, and what of it must be heard. */
/* clang-format off */
static const struct Kind {
	const char *op, *members;
	size_t input, output; /* lines; bytes */
	bool fails;
} kinds[] = {
	{ "ping", "{}", 0, 0, false },
	{ "stats", "{}", 0, 0, false },
	{ "exec", "{\"argv\": [\"head\", \"-c\", \"200000\", \"/dev/zero\"]}", 0, 200000, false },
	{ "exec", "{\"argv\": [\"cat\"], \"stdin\": true}", LINES, INPUT, false },
	{ "exec", "{\"argv\": [\"sleep\", \"0.1\"]}", 0, 0, false },
	{ "exec", "{\"argv\": [\"nonesuch\"]}", 0, 0, true },
};
/* clang-format on */

typedef struct Asked {
	GuestCall call;
	const struct Kind *kind;
	size_t heard;
} Asked;

/* What is to be done for a program that has begun, by another thread. */
typedef struct Job Job;
struct Job {
	Job *next;
	uint64_t id;
	size_t lines, credit;
};

typedef struct Watch {
	GuestWatch watch;
	sem_t gone;
	atomic_uint released;
} Watch;

static GuestHub *hub;
static GuestLink *way;
static atomic_bool over;
static atomic_int failures;
static atomic_uchar ends[CALLS_MAX + 1]; /* heard, by the call's id */
static atomic_ullong newest;
static atomic_uint tidings;

static Lock lock = LOCK_INIT;
static Cond changed;
/* Under lock. */
static Job *jobs;
static unsigned pending, good[array_size(kinds)];

static void fail(const char *what, uint64_t id)
{
	(void)fprintf(stderr, "%s: %llu\n", what, (unsigned long long)id);
	atomic_fetch_add(&failures, 1);
}

static void give_job(uint64_t id, size_t lines, size_t credit)
{
	Job *job = new0(Job);

	job->id = id;
	job->lines = lines;
	job->credit = credit;
	lock_take(&lock);
	job->next = jobs;
	jobs = job;
	cond_broadcast(&changed);
	lock_drop(&lock);
}

/* The last that is heard of a call; under AddressSanitizer nothing may touch it any more. */
static void end(Asked *asked, bool well)
{
	if (atomic_fetch_add(&ends[asked->call.id], 1))
		fail("heard its end again", asked->call.id);
	lock_take(&lock);
	pending--;
	good[asked->kind - kinds] += well;
	cond_broadcast(&changed);
	lock_drop(&lock);
	free(asked);
}

static void take_answer(GuestCall *call, const json_t *answer, const Error *err)
{
	Asked *asked = container_of(call, Asked, call);

	if (!answer == !err)
		fail("neither an answer nor a failure, or both", call->id);
	if (err || !call->ended)
		end(asked, !err);
	else if (asked->kind->input)
		give_job(call->id, asked->kind->input, 0);
}

static void take_output(GuestCall *call, int fd, const void *bytes, size_t count)
{
	Asked *asked = container_of(call, Asked, call);

	if (fd != 1 || memchr(bytes, asked->kind->input ? '\0' : 'x', count))
		fail("the output is another's", call->id);
	asked->heard += count;
	give_job(call->id, 0, count);
}

static void take_credit(GuestCall *call, size_t count)
{
	if (!count)
		fail("credit of nothing", call->id);
}

static void take_poke(GuestCall *call)
{
	if (atomic_load(&ends[call->id]))
		fail("poked after its end", call->id);
}

static void take_end(GuestCall *call, const GuestEnd *how, const Error *err)
{
	Asked *asked = container_of(call, Asked, call);
	bool well = how && how->code == 0;

	if (!how == !err)
		fail("neither an end nor a failure, or both", call->id);
	if (well && asked->heard != asked->kind->output)
		fail("not all of the output was heard", call->id);
	end(asked, well);
}

static void ask(const struct Kind *kind, int64_t timeout)
{
	Asked *asked = new0(Asked);

	asked->kind = kind;
	asked->call = (GuestCall){
		.op = kind->op,
		.request = json_loads(kind->members, 0, NULL),
		.timeout = timeout,
		.done = take_answer,
		.id = guest_link_next_id(way),
	};
	if (strcmp(kind->op, "exec") == 0) {
		asked->call.output = take_output;
		asked->call.credit = take_credit;
		asked->call.poked = take_poke;
		asked->call.ended = take_end;
	}
	atomic_store(&newest, asked->call.id);
	guest_link_ask(way, &asked->call);
}

/* False once nothing more is to be asked. */
static bool wait_turn(void)
{
	bool goes_on;

	lock_take(&lock);
	while (pending >= PENDING_MAX && !atomic_load(&over))
		cond_wait(&changed, &lock);
	goes_on = !atomic_load(&over) && atomic_load(&newest) < CALLS_MAX - THREADS;
	pending += goes_on;
	lock_drop(&lock);
	return goes_on;
}

static void *ask_away(void *arg)
{
	unsigned seed = *(const unsigned *)arg;

	while (wait_turn()) {
		const struct Kind *kind = &kinds[(size_t)rand_r(&seed) % array_size(kinds)];
		bool hurries = rand_r(&seed) % 16 == 0;
		uint64_t id;

		ask(kind, hurries ? rand_r(&seed) % HURRY_USEC : NEVER_USEC);
		id = atomic_load(&newest) - (uint64_t)rand_r(&seed) % CANCEL_NEAR;
		if (rand_r(&seed) % 4 == 0)
			guest_link_cancel(way, id);
		if (rand_r(&seed) % 4 == 0)
			guest_link_poke(way, id);
	}
	return NULL;
}

static void do_job(const Job *job)
{
	char line[LINE];
	cleanup_free char *data = NULL;

	memset(line, 'x', sizeof line);
	data = guest_encode(line, sizeof line);
	for (size_t i = 0; i < job->lines; i++)
		guest_link_tell(way, job->id, json_pack("{s:s}", "data", data));
	if (job->lines)
		guest_link_tell(way, job->id, json_pack("{s:b}", "eof", 1));
	if (job->credit)
		guest_link_allow(way, job->id, job->credit);
}

static void *help(void *arg)
{
	cleanup_free Job *job = NULL;

	(void)arg;
	do {
		freep(&job);
		lock_take(&lock);
		while (!jobs && !atomic_load(&over))
			cond_wait(&changed, &lock);
		job = jobs;
		jobs = job ? job->next : NULL;
		lock_drop(&lock);
		if (job)
			do_job(job);
	} while (job);
	return NULL;
}

static void hear(GuestWatch *watch, const GuestHeard *heard)
{
	if (atomic_load(&container_of(watch, Watch, watch)->released))
		fail("a watch heard something after its release", heard->open);
	atomic_fetch_add(&tidings, 1);
}

static void release(GuestWatch *watch)
{
	Watch *ours = container_of(watch, Watch, watch);

	atomic_fetch_add(&ours->released, 1);
	(void)sem_post(&ours->gone);
}

static void *watch_and_leave(void *arg)
{
	unsigned seed = *(const unsigned *)arg;

	while (!atomic_load(&over)) {
		Watch *ours = new0(Watch);

		ours->watch = (GuestWatch){ .heard = hear, .released = release };
		(void)sem_init(&ours->gone, 0, 0);
		guest_link_watch(way, &ours->watch);
		clock_sleep_us(rand_r(&seed) % WATCH_USEC);
		guest_link_unwatch(way);
		(void)sem_wait(&ours->gone);
		if (atomic_load(&ours->released) != 1)
			fail("a watch was released again", 0);
		free(ours);
	}
	return NULL;
}

static pid_t start_daemon(const GuestDaemonConfig *config)
{
	pid_t daemon = fork();

	if (daemon == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(guest_daemon_run(config) < 0);
	}
	return daemon;
}

/* Of the process that starts the daemon, and again at each byte it reads: threads must not fork.
 * Return: its exit code; not 0 if a daemon has ended otherwise than it was made to. */
static int keep_daemon(const GuestDaemonConfig *config, int orders)
{
	pid_t daemon = start_daemon(config);
	int status;
	char order;

	while (read(orders, &order, 1) == 1) {
		(void)kill(daemon, SIGKILL);
		if (waitpid(daemon, &status, 0) != daemon || !WIFSIGNALED(status))
			return 1;
		daemon = start_daemon(config);
	}
	(void)kill(daemon, SIGTERM);
	return waitpid(daemon, &status, 0) != daemon || status;
}

static pid_t fork_keeper(const GuestDaemonConfig *config, int *orders)
{
	int fds[2];
	pid_t keeper;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	keeper = fork();
	if (keeper == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(fds[1]);
		_exit(keep_daemon(config, fds[0]));
	}
	(void)close(fds[0]);
	*orders = fds[1];
	return keeper;
}

static bool is_well(unsigned times) lock_requires(&lock)
{
	for (size_t i = 0; i < array_size(kinds); i++)
		if (!kinds[i].fails && good[i] < times)
			return false;
	return true;
}

/* Until each kind has ended well so often, and all up to @id have ended; false if that never comes.
 */
static bool wait_for(unsigned times, uint64_t id)
{
	int64_t deadline = clock_mono_us() + GIVE_UP_USEC;
	bool in_time = true;
	uint64_t first = 1;

	lock_take(&lock);
	while (in_time && (first <= id || !is_well(times))) {
		if (first <= id && atomic_load(&ends[first]))
			first++;
		else
			in_time = cond_wait_until(&changed, &lock, deadline);
	}
	lock_drop(&lock);
	if (!in_time)
		fail("has not ended, or no more end well", first);
	return in_time;
}

/* The daemon ends in the midst of calls, begins anew, and is of use again. */
static void restart_again_and_again(int orders)
{
	uint64_t before = 0;

	for (unsigned i = 1; wait_for(GOOD * i, before) && i <= RESTARTS; i++) {
		before = atomic_load(&newest);
		if (write(orders, "", 1) != 1)
			fail("nobody restarts the daemon", i);
	}
}

/* With calls under way, and asked meanwhile. */
static void stop_all(pthread_t threads[static THREADS])
{
	uint64_t asked;

	guest_hub_stop(hub);
	atomic_store(&over, true);
	lock_take(&lock);
	cond_broadcast(&changed);
	lock_drop(&lock);
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	asked = guest_link_next_id(way) - 1;
	for (uint64_t id = 1; id <= asked; id++)
		if (atomic_load(&ends[id]) != 1)
			fail("has not heard its end once", id);
	guest_hub_free(hub);
	guest_link_unref(way);
}

static void run(const char *socket, int orders)
{
	static void *(*const works[THREADS])(void *) = {
		ask_away, ask_away, ask_away, ask_away, ask_away, help, help, watch_and_leave,
	};
	pthread_t threads[THREADS];
	unsigned seeds[THREADS];

	cond_init(&changed);
	hub = guest_hub_new();
	if (!hub)
		abort();
	way = guest_link_new(hub, socket, false);
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&threads[i], NULL, works[i], &seeds[i]))
			abort();
	}
	restart_again_and_again(orders);
	stop_all(threads);
}

int main(void)
{
	char dir[] = "/dev/shm/hearth-guest-XXXXXX"; /* a tmpfs, as the daemon wants it */
	cleanup_free char *socket = mkdtemp(dir) ? text_printf("%s/host.sock", dir) : NULL;
	const GuestDaemonConfig config = { .dir = dir, .socket = socket };
	int orders, status;
	pid_t keeper;

	(void)signal(SIGPIPE, SIG_IGN);
	keeper = socket ? fork_keeper(&config, &orders) : -1;
	if (keeper < 0)
		return 2;
	run(socket, orders);
	(void)close(orders);
	if (waitpid(keeper, &status, 0) != keeper || status)
		fail("a daemon has ended badly", (uint64_t)status);
	(void)!file_remove_tree(dir);
	(void)printf("%llu calls, watches heard %u times\n",
		     (unsigned long long)atomic_load(&newest), atomic_load(&tidings));
	return atomic_load(&failures) != 0;
}
