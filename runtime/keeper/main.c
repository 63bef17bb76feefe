/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hearth-keeper: the parent of one VMM. Usage:
 *
 *	hearth-keeper --run-dir DIR --console-max BYTES [--console-rate BYTES] [--qmp] -- VMM ARG...
 *
 * The process that is called ends once the VMM has been executed (0), or with
 * the reason on standard error (1; 2: bad usage). The keeper itself is its
 * child and detached: what called it holds nothing of it.
 */

#include "base/text.h"
#include "runtime/keeper/keeper.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	CONSOLE_MIN = 8 * 1024,
	REPORT_FD = 3,
	FD_BEYOND = 16 /* no number that is to be given out */
};

static const char usage[] =
	"usage: hearth-keeper --run-dir DIR --console-max BYTES [--console-rate BYTES] [--qmp] -- "
	"VMM ARG...\n";

/* The keeper says this when its VMM runs; anything else is why it does not. */
static const char started[] = "started";

static int option_take(KeeperOptions *options, int option)
{
	switch (option) {
	case 'd':
		free(options->run_dir);
		options->run_dir = realpath(optarg, NULL); /* the keeper leaves this directory */
		if (!options->run_dir)
			perror(optarg);
		return options->run_dir ? 0 : -1;
	case 'm':
		return text_to_u64(&options->console_max, optarg);
	case 'r':
		return text_to_u64(&options->console_rate, optarg);
	case 'q':
		options->qmp = true;
		return 0;
	default:
		return -1;
	}
}

static int options_parse(KeeperOptions *options, int argc, char **argv)
{
	static const struct option known[] = {
		{ "run-dir", required_argument, NULL, 'd' },
		{ "console-max", required_argument, NULL, 'm' },
		{ "console-rate", required_argument, NULL, 'r' },
		{ "qmp", no_argument, NULL, 'q' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1)
		if (option_take(options, option) < 0)
			return -1;
	options->vmm_argv = argv + optind;
	if (!options->run_dir || !options->vmm_argv[0])
		return -1;
	if (options->console_max < CONSOLE_MIN)
		options->console_max = CONSOLE_MIN;
	return 0;
}

/* Passes on what the keeper says on @fd: this program's exit status. */
static int report_relay(int fd)
{
	char words[ERROR_WHAT_MAX + 1];
	size_t used = 0;
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
	return 1;
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

static int keeper_run(const KeeperOptions *options)
{
	cleanup_(keeper_freep) Keeper *keeper = NULL;
	Error err = { 0 };

	if (keeper_new(&keeper, options, &err) < 0) {
		(void)report_send(REPORT_FD, err.what);
		return 1;
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
	int report[2];

	/* An agent that dies in the middle of a start leaves nothing of it. */
	if (die_with(getppid()) < 0)
		return 1;
	if (pipe2(report, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		perror("start hearth-keeper");
		return 1;
	}
	if (pid > 0) {
		(void)close(report[1]);
		return report_relay(report[0]);
	}
	if (die_with(caller) < 0 || detach(report[1]) < 0)
		return 1;
	return keeper_run(options);
}

int main(int argc, char **argv)
{
	KeeperOptions options = { 0 };
	int status = 2;

	if (options_parse(&options, argc, argv) == 0)
		status = keeper_start_detached(&options);
	else
		(void)fputs(usage, stderr);
	free(options.run_dir);
	return status;
}
