/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hearth-keeper: the parent of one VMM. Usage:
 *
 *	hearth-keeper --run-dir DIR --console-max BYTES [--console-rate BYTES] [--qmp]
 *		[--console-fifo PATH] [--metrics-fifo PATH]
 *		[--enter DIR]... [--vmm-enter DIR]... [--memory-events FILE]
 *		[--jail ROOT --uid UID [--own-group DIR] [--file-ro|--file-rw NAME=PATH]...]
 *		[--pager PROGRAM --pager-memory FILE --pager-socket PATH [--pager-enter DIR]...
 *		 [--pager-working-set FILE] [--pager-record FILE [--pager-record-for SECONDS]]
 *		 [--pager-window KIB]]
 *		-- VMM ARG...
 *	hearth-keeper --attach PID:START --uid UID [--file-ro|--file-rw NAME=PATH]...
 *		[--remove NAME]...
 *	hearth-keeper [--enter DIR]... --where
 *	hearth-keeper --tied PID -- PROGRAM ARG...
 *
 * The process that is called ends once the VMM has been executed (0), or with
 * the reason on standard error (1; 2: bad usage; 3: the jail; 5: the pager). The keeper itself is
 *its child and detached: what called it holds nothing of it.
 *
 * With a jail, what is executed is the jailer, which starts the VMM. With --attach no VMM is
 * started: the files are put into the jail of the one that runs, and those named are removed.
 * With --where it enters the control groups, and says which it is in. With --tied it becomes
 * the program, which ends when the thread that called it does, and leaves no core file.
 */

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/keeper/keeper.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	CONSOLE_MIN = 8 * 1024,
	REPORT_FD = 3,
	WHERE_MAX = 64 * 1024,
	FD_BEYOND = 16, /* no number that is to be given out */
	/* Exit codes; runtime/keeper_link.c knows them. */
	EXIT_VMM = 1,
	EXIT_USAGE = 2,
	EXIT_JAIL = 3,
	EXIT_EXHAUSTED = 4,
	EXIT_PAGER = 5,
};

static const char usage[] =
	"usage: hearth-keeper --run-dir DIR --console-max BYTES [--console-rate BYTES] [--qmp]\n"
	"           [--console-fifo PATH] [--metrics-fifo PATH]\n"
	"           [--enter DIR]... [--vmm-enter DIR]... [--memory-events FILE]\n"
	"           [--jail ROOT --uid UID [--own-group DIR] [--file-ro|--file-rw NAME=PATH]...]\n"
	"           [--pager PROGRAM --pager-memory FILE --pager-socket PATH\n"
	"            [--pager-enter DIR]... [--pager-working-set FILE]\n"
	"            [--pager-record FILE [--pager-record-for SECONDS]] [--pager-window KIB]]\n"
	"           -- VMM ARG...\n"
	"       hearth-keeper --attach PID:START --uid UID [--file-ro|--file-rw NAME=PATH]...\n"
	"           [--remove NAME]...\n"
	"       hearth-keeper [--enter DIR]... --where\n"
	"       hearth-keeper --tied PID -- PROGRAM ARG...\n";

/* The keeper says this when its VMM runs; anything else is why it does not. */
static const char started[] = "started";

typedef struct Options {
	KeeperOptions keeper;
	ProcessId attach; /* pid 0: start a VMM */
	bool where;       /* or only say where a keeper would be */
	pid_t tied;       /* or become another program, a child of this one; 0: not */
	const char *gone[JAIL_FILES_MAX];
	size_t gone_count;
} Options;

static int take_uid(uid_t *ret, const char *text)
{
	uint64_t number;

	if (text_to_u64(&number, text) < 0 || number == 0 || number >= UINT32_MAX)
		return -1;
	*ret = (uid_t)number;
	return 0;
}

static int take_pid(pid_t *ret, const char *text)
{
	uint64_t pid;

	if (text_to_u64(&pid, text) < 0 || pid < 1 || pid > INT32_MAX)
		return -1;
	*ret = (pid_t)pid;
	return 0;
}

/* "PID:START", as keeper.json has them. */
static int take_process(ProcessId *ret, const char *text)
{
	const char *colon = strchr(text, ':');
	cleanup_free char *first = text_printf("%.*s", (int)strcspn(text, ":"), text);

	return colon && take_pid(&ret->pid, first) == 0 &&
			       text_to_u64(&ret->start_time, colon + 1) == 0
		       ? 0
		       : -1;
}

/* To a whole path, as the keeper leaves this directory. */
static int take_directory(char **ret, const char *text)
{
	free(*ret);
	*ret = realpath(text, NULL);
	if (!*ret)
		perror(text);
	return *ret ? 0 : -1;
}

static int take_gone(Options *options, const char *name)
{
	if (options->gone_count == JAIL_FILES_MAX || !*name || strchr(name, '/'))
		return -1;
	options->gone[options->gone_count++] = name;
	return 0;
}

/* Those are given to the pager as they are. */
static int pager_option_take(PagerOptions *pager, int option)
{
	switch (option) {
	case 'P':
		pager->program = optarg;
		return 0;
	case 'M':
		pager->memory = optarg;
		return 0;
	case 'S':
		pager->socket = optarg;
		return 0;
	case 'I':
		pager->working_set = optarg;
		return 0;
	case 'R':
		pager->record = optarg;
		return 0;
	case 'F':
		pager->record_for = optarg;
		return 0;
	case 'W':
		pager->window = optarg;
		return 0;
	case 'E':
		return groups_add(&pager->jail_groups, optarg);
	default:
		return -1;
	}
}

static int option_take(Options *options, int option)
{
	KeeperOptions *keeper = &options->keeper;

	switch (option) {
	case 'd':
		return take_directory(&keeper->run_dir, optarg);
	case 'm':
		return text_to_u64(&keeper->console_max, optarg);
	case 'r':
		return text_to_u64(&keeper->console_rate, optarg);
	case 'q':
		keeper->qmp = true;
		return 0;
	case 'c':
		keeper->console_fifo = optarg;
		return 0;
	case 'f':
		keeper->metrics_fifo = optarg;
		return 0;
	case 'j':
		return take_directory(&keeper->jail.root, optarg);
	case 'g':
		keeper->jail.own_group = optarg;
		return 0;
	case 'u':
		return take_uid(&keeper->jail.uid, optarg);
	case 'o':
	case 'w':
		return jail_add_file(&keeper->jail, optarg, option == 'o');
	case 'e':
		return groups_add(&keeper->groups, optarg);
	case 'v':
		return groups_add(&keeper->vmm_groups, optarg);
	case 'y':
		keeper->memory_events = optarg;
		return 0;
	case 'h':
		options->where = true;
		return 0;
	case 't':
		return take_pid(&options->tied, optarg);
	case 'a':
		return take_process(&options->attach, optarg);
	case 'x':
		return take_gone(options, optarg);
	default:
		return pager_option_take(&keeper->pager, option);
	}
}

/* Is there all that goes with what is asked for? */
static int options_check(const Options *options)
{
	const KeeperOptions *keeper = &options->keeper;

	if ((options->attach.pid || keeper->jail.root) && !keeper->jail.uid)
		return -1;
	if (keeper->pager.program && (!keeper->pager.memory || !keeper->pager.socket))
		return -1;
	if (options->where || options->attach.pid)
		return 0;
	if (options->tied)
		return keeper->vmm_argv[0] ? 0 : -1;
	return keeper->run_dir && keeper->vmm_argv[0] ? 0 : -1;
}

static int options_parse(Options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{ "run-dir", required_argument, NULL, 'd' },
		{ "console-max", required_argument, NULL, 'm' },
		{ "console-rate", required_argument, NULL, 'r' },
		{ "console-fifo", required_argument, NULL, 'c' },
		{ "metrics-fifo", required_argument, NULL, 'f' },
		{ "qmp", no_argument, NULL, 'q' },
		{ "jail", required_argument, NULL, 'j' },
		{ "own-group", required_argument, NULL, 'g' },
		{ "uid", required_argument, NULL, 'u' },
		{ "file-ro", required_argument, NULL, 'o' },
		{ "file-rw", required_argument, NULL, 'w' },
		{ "enter", required_argument, NULL, 'e' },
		{ "vmm-enter", required_argument, NULL, 'v' },
		{ "memory-events", required_argument, NULL, 'y' },
		{ "where", no_argument, NULL, 'h' },
		{ "tied", required_argument, NULL, 't' },
		{ "attach", required_argument, NULL, 'a' },
		{ "remove", required_argument, NULL, 'x' },
		{ "pager", required_argument, NULL, 'P' },
		{ "pager-memory", required_argument, NULL, 'M' },
		{ "pager-socket", required_argument, NULL, 'S' },
		{ "pager-working-set", required_argument, NULL, 'I' },
		{ "pager-record", required_argument, NULL, 'R' },
		{ "pager-record-for", required_argument, NULL, 'F' },
		{ "pager-window", required_argument, NULL, 'W' },
		{ "pager-enter", required_argument, NULL, 'E' },
		{ 0 },
	};
	KeeperOptions *keeper = &options->keeper;
	int option;

	while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1)
		if (option_take(options, option) < 0)
			return -1;
	keeper->vmm_argv = argv + optind;
	if (keeper->console_max < CONSOLE_MIN)
		keeper->console_max = CONSOLE_MIN;
	return options_check(options);
}

/* Passes on what the keeper, @pid, says on @fd: this program's exit status. */
static int report_relay(int fd, pid_t pid)
{
	char words[ERROR_WHAT_MAX + 1];
	size_t used = 0;
	int status = 0;
	ssize_t n;

	do {
		n = read(fd, words + used, sizeof words - 1 - used);
		if (n > 0)
			used += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	words[used] = '\0';
	if (strcmp(words, started) == 0)
		return 0;
	(void)fprintf(stderr, "%s\n", used ? words : "hearth-keeper ended before it began");
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	return EXIT_VMM;
}

static int report_send(int fd, const char *words)
{
	size_t length = strlen(words);

	return write(fd, words, length) == (ssize_t)length ? 0 : -1;
}

/* Until the VMM is known to run, the death of @parent is this process' as well. */
static int die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return -1;
	return 0;
}

/* Lets go of everything that is the caller's; @report becomes REPORT_FD. */
static int detach(int report)
{
	int null = open("/dev/null", O_RDWR);
	int from[REPORT_FD + 1];

	if (setsid() < 0 || chdir("/") < 0)
		return -1;
	(void)umask(077);
	/* Out of the way first: either may have one of the numbers to be given out. */
	for (int i = 0; i <= REPORT_FD; i++)
		from[i] = fcntl(i < REPORT_FD ? null : report, F_DUPFD_CLOEXEC, FD_BEYOND);
	for (int i = 0; i <= REPORT_FD; i++)
		if (from[i] < 0 || dup2(from[i], i) < 0)
			return -1;
	(void)fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
	closefrom(REPORT_FD + 1);
	return 0;
}

static int exit_code(const Error *err)
{
	if (err->cause == CAUSE_EXHAUSTED)
		return EXIT_EXHAUSTED;
	if (err->kind == ERROR_UFFD)
		return EXIT_PAGER;
	return err->kind == ERROR_JAILER ? EXIT_JAIL : EXIT_VMM;
}

static int keeper_run(const KeeperOptions *options)
{
	cleanup_(keeper_freep) Keeper *keeper = NULL;
	Error err = { 0 };

	if (keeper_new(&keeper, options, &err) < 0) {
		(void)report_send(REPORT_FD, err.what);
		return exit_code(&err);
	}
	/* Nobody left to hear of it: the VM must not run unknown. */
	if (prctl(PR_SET_PDEATHSIG, 0) < 0 || report_send(REPORT_FD, started) < 0)
		return 1;
	(void)close(REPORT_FD);
	keeper_serve(keeper);
	return 0;
}

static int keeper_start_detached(const KeeperOptions *options)
{
	pid_t caller = getpid(), pid;
	Error err = { 0 };
	int report[2];

	/* An agent that dies in the middle of a start leaves nothing of it. */
	if (die_with(getppid()) < 0)
		return 1;
	if (pipe2(report, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		(void)error_set_errno(&err, ERROR_VMM_FAILED, errno, "start hearth-keeper");
		(void)fprintf(stderr, "%s\n", err.what);
		return exit_code(&err);
	}
	if (pid > 0) {
		(void)close(report[1]);
		if (options->jail.own_group)
			jail_hasten(options->jail.own_group);
		return report_relay(report[0], pid);
	}
	if (die_with(caller) < 0 || detach(report[1]) < 0)
		return 1;
	return keeper_run(options);
}

/* Into the jail of a VMM that runs already. */
static int attach(const Options *options)
{
	cleanup_close int vmm = -1;
	Error err = { 0 };
	int r = process_open(&vmm, &options->attach);

	if (r < 0)
		r = error_set_errno(&err, ERROR_VMM_FAILED, -r, "find the VMM, pid %d",
				    (int)options->attach.pid);
	else
		r = jail_attach(&options->keeper.jail, vmm, options->gone, options->gone_count,
				&err);
	if (r == 0)
		return 0;
	(void)fprintf(stderr, "%s\n", err.what);
	return exit_code(&err);
}

/* Where a keeper would be. */
static int say_where(const Options *options)
{
	const char *astray = groups_enter(&options->keeper.groups);
	cleanup_free char *text = NULL;

	if (astray) {
		(void)fprintf(stderr, "enter the control group %s: %s\n", astray,
			      strerrordesc_np(errno));
		return EXIT_VMM;
	}
	if (file_read(&text, NULL, "/proc/self/cgroup", WHERE_MAX) < 0)
		return EXIT_VMM;
	(void)fputs(text, stdout);
	return 0;
}

/* A VMM that is only tried. */
static int become(pid_t parent, char *const *argv)
{
	static const struct rlimit none = { 0, 0 };

	if (die_with(parent) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return EXIT_VMM;
	(void)execvp(argv[0], argv);
	(void)fprintf(stderr, "%s: %s\n", argv[0], strerrordesc_np(errno));
	return EXIT_VMM;
}

int main(int argc, char **argv)
{
	Options options = { 0 };
	int status = EXIT_USAGE;

	if (options_parse(&options, argc, argv) < 0)
		(void)fputs(usage, stderr);
	else if (options.where)
		status = say_where(&options);
	else if (options.tied)
		status = become(options.tied, options.keeper.vmm_argv);
	else if (options.attach.pid)
		_exit(attach(&options)); /* nothing of this process fits into a jail's root */
	else
		status = keeper_start_detached(&options.keeper);
	free(options.keeper.run_dir);
	jail_clear(&options.keeper.jail);
	return status;
}
