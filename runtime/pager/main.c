/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hearth-pager: brings one VMM its guest's memory, page by page. Usage:
 *
 *	hearth-pager --vmm PID:START --memory FILE --state FILE --socket PATH [--uid UID]
 *		[--take-over] [--window KIB] [--working-set FILE]
 *		[--record FILE [--record-for SECONDS]]
 *
 * On standard output it says, a line each:
 *	listening	the VMM may connect
 *	serving		it has handed its memory over, or that was taken over
 *	installed	the working set is there (at once, if there is none): who resumes the VM
 *			after this line has installed it before, who does not, beside
 *
 * It ends when the VMM has (0), or with the reason on standard error if it can never serve it
 * (1; 2: bad usage). If it dies otherwise the VMM waits, until another takes over: the same options
 * and --take-over. If the VMM had not connected yet, that one listens as the first did; if it had,
 * and the dead one did not come to write down what it was told, nobody knows what memory it waits
 * for, and that one fails (1). To end a pager is to have the VM wait, so it ignores the signals
 * that ask for that.
 */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/pager/confine.h"
#include "runtime/pager/faults.h"
#include "runtime/pager/handshake.h"
#include "runtime/pager/uffd.h"
#include "runtime/pager/watch.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum {
	WINDOW_KIB = 64,
	WINDOW_KIB_MAX = 256, /* one call for it keeps other faults waiting */
	RECORD_SECONDS = 10,
	END_PATIENCE = USEC_PER_SEC,
	CONNECT_TIMEOUT = 2 * USEC_PER_SEC, /* of a VMM that has a userfaultfd already */
	EXIT_FAILED = 1,
	EXIT_USAGE = 2
};

static const char usage[] =
	"usage: hearth-pager --vmm PID:START --memory FILE --state FILE --socket PATH [--uid UID]\n"
	"           [--take-over] [--window KIB] [--working-set FILE]\n"
	"           [--record FILE [--record-for SECONDS]]\n";

typedef struct Options {
	ProcessId vmm;
	const char *memory, *state, *socket, *working_set, *record;
	uid_t uid;
	bool take_over;
	uint64_t window_kib;
	uint64_t record_seconds;
} Options;

/* All that is served with; the process's end releases it. */
typedef struct Pager {
	const Options *options;
	int vmm;
	MemoryFile *memory;
	State *state;
	Handshake link;
	bool gone;       /* there is no such VMM any more */
	bool taken_over; /* from one that served */
	WorkingSet install;
} Pager;

static int take_process(ProcessId *ret, const char *text)
{
	const char *colon = strchr(text, ':');
	cleanup_free char *first = text_printf("%.*s", (int)strcspn(text, ":"), text);
	uint64_t pid;

	if (!colon || text_to_u64(&pid, first) < 0 || pid < 1 || pid > INT32_MAX ||
	    text_to_u64(&ret->start_time, colon + 1) < 0)
		return -1;
	ret->pid = (pid_t)pid;
	return 0;
}

static int take_number(uint64_t *ret, const char *text, uint64_t most)
{
	return text_to_u64(ret, text) == 0 && *ret >= 1 && *ret <= most ? 0 : -1;
}

static int option_take(Options *options, int option)
{
	uint64_t number;

	switch (option) {
	case 'v':
		return take_process(&options->vmm, optarg);
	case 'm':
		options->memory = optarg;
		return 0;
	case 's':
		options->state = optarg;
		return 0;
	case 'c':
		options->socket = optarg;
		return 0;
	case 'u':
		if (take_number(&number, optarg, UINT32_MAX - 1) < 0)
			return -1;
		options->uid = (uid_t)number;
		return 0;
	case 't':
		options->take_over = true;
		return 0;
	case 'w':
		return take_number(&options->window_kib, optarg, WINDOW_KIB_MAX);
	case 'i':
		options->working_set = optarg;
		return 0;
	case 'r':
		options->record = optarg;
		return 0;
	case 'f':
		return take_number(&options->record_seconds, optarg, UINT32_MAX);
	default:
		return -1;
	}
}

static int options_parse(Options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{ "vmm", required_argument, NULL, 'v' },
		{ "memory", required_argument, NULL, 'm' },
		{ "state", required_argument, NULL, 's' },
		{ "socket", required_argument, NULL, 'c' },
		{ "uid", required_argument, NULL, 'u' },
		{ "take-over", no_argument, NULL, 't' },
		{ "window", required_argument, NULL, 'w' },
		{ "working-set", required_argument, NULL, 'i' },
		{ "record", required_argument, NULL, 'r' },
		{ "record-for", required_argument, NULL, 'f' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1)
		if (option_take(options, option) < 0)
			return -1;
	return optind == argc && options->vmm.pid && options->memory && options->state &&
			       options->socket
		       ? 0
		       : -1;
}

/* Whoever started it may be gone. */
static void say(const char *word)
{
	(void)printf("%s\n", word);
	(void)fflush(stdout);
}

static void say_installed(void)
{
	say("installed");
}

static int give_up_rights(Error *err)
{
	int r = confine();

	return r < 0 ? error_set_errno(err, ERROR_UFFD, -r, "give up rights") : 0;
}

/* @patience: usec that the VMM may take to connect; negative: any time. */
static int receive(Pager *pager, int64_t patience, Error *err)
{
	const Options *options = pager->options;
	cleanup_close int listener = -1;
	uint64_t size = memory_file_size(pager->memory);
	const HandshakePeer vmm = {
		.id = options->vmm,
		.pidfd = pager->vmm,
		.deadline = patience < 0 ? -1 : clock_mono_us() + patience,
	};

	if (handshake_listen(&listener, options->socket, options->uid, err) < 0)
		return -1;
	say("listening");
	memory_file_prepare(pager->memory); /* while the VMM gets ready */
	if (give_up_rights(err) < 0 ||
	    handshake_accept(&pager->link, listener, &vmm, size, err) < 0)
		return -1;
	return state_new(&pager->state, options->state, &options->vmm, &pager->link.regions, size,
			 err);
}

/* The one before has left nothing. A VMM with a userfaultfd is about to connect, or has been. */
static int begin_anew(Pager *pager, Error *err)
{
	cleanup_close int uffd = -1;
	int r = uffd_take_over(&uffd, pager->options->vmm.pid, pager->vmm);

	return receive(pager, r == -ENOENT ? -1 : CONNECT_TIMEOUT, err);
}

static int take_over(Pager *pager, Error *err)
{
	const Options *options = pager->options;
	int r;

	if (access(options->state, F_OK) < 0 && errno == ENOENT)
		return begin_anew(pager, err);
	if (state_open(&pager->state, options->state, &options->vmm,
		       memory_file_size(pager->memory), err) < 0)
		return -1;
	r = uffd_take_over(&pager->link.uffd, options->vmm.pid, pager->vmm);
	if (r < 0)
		return error_set_errno(err, ERROR_UFFD, -r,
				       "take the userfaultfd of the VMM, pid %d",
				       (int)options->vmm.pid);
	pager->taken_over = true;
	return give_up_rights(err);
}

/* Without it the VM is only slower. */
static void load_working_set(Pager *pager)
{
	const PagerState *shared = state_shared(pager->state);
	const char *path = pager->options->working_set;
	int r = working_set_load(&pager->install, path, shared->regions.page_size,
				 shared->memory_size);

	if (r < 0 && r != -ENOENT)
		(void)fprintf(stderr, "hearth-pager: %s: %s\n", path, strerrordesc_np(-r));
}

static int set_up(Pager *pager, Error *err)
{
	const Options *options = pager->options;
	int r = process_open(&pager->vmm, &options->vmm);

	pager->gone = r == -ESRCH;
	if (r < 0)
		return error_set_errno(err, ERROR_UFFD, -r, "find the VMM, pid %d",
				       (int)options->vmm.pid);
	if (memory_file_open(&pager->memory, options->memory, err) < 0)
		return -1;
	r = options->take_over ? take_over(pager, err) : receive(pager, -1, err);
	if (r == 0 && options->working_set)
		load_working_set(pager);
	return r;
}

static void *serve(void *user)
{
	faults_serve(user);
	return NULL;
}

/* Until the VMM's end. */
static int run(const Pager *pager, Error *err)
{
	const Options *options = pager->options;
	FaultsConfig faults = {
		.uffd = pager->link.uffd,
		.vmm = pager->vmm,
		.memory = pager->memory,
		.state = pager->state,
		.install = &pager->install,
		.window = options->window_kib * 1024,
		.taken_over = pager->taken_over,
		.installed = say_installed,
	};
	WatchConfig watch = {
		.vmm = pager->vmm,
		.state = pager->state,
		.record = options->record,
		.record_for = (int64_t)options->record_seconds * USEC_PER_SEC,
	};
	pthread_t thread;
	int r;

	say("serving");
	r = pthread_create(&thread, NULL, serve, faults_new(&faults));
	if (r != 0)
		return error_set_errno(err, ERROR_UFFD, r, "start the fault thread");
	watch_until_end(&watch);
	return 0;
}

/* Nothing of a guest's memory in a core file; no end but the VMM's, also where the VM's control
 * group is out of memory. */
static void become_steady(void)
{
	static const char never[] = "-1000";
	static const int ignored[] = { SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
				       SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ };
	static const struct rlimit none = { 0, 0 };
	cleanup_close int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (score >= 0)
		(void)!write(score, never, sizeof never - 1);
	(void)umask(077);
	(void)setrlimit(RLIMIT_CORE, &none);
	for (size_t i = 0; i < array_size(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
}

/* One that ends has no descriptors any more before that can be seen. */
static bool has_ended(const Pager *pager)
{
	if (pager->vmm < 0)
		return pager->gone;
	return process_wait(pager->vmm, clock_mono_us() + END_PATIENCE) == 0;
}

int main(int argc, char **argv)
{
	Options options = {
		.uid = (uid_t)-1,
		.window_kib = WINDOW_KIB,
		.record_seconds = RECORD_SECONDS,
	};
	Pager pager = { .options = &options, .vmm = -1, .link = { -1, -1, { 0 } } };
	Error err = { 0 };

	if (options_parse(&options, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	become_steady();
	if (set_up(&pager, &err) == 0 && run(&pager, &err) == 0)
		_exit(0); /* the fault thread cannot be called back from its read() */
	if (has_ended(&pager))
		_exit(0);
	(void)fprintf(stderr, "%s\n", err.what);
	_exit(EXIT_FAILED);
}
