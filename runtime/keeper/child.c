/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/child.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
	FD_BEYOND = 16 /* no target's number, so that moving one source never overwrites another */
};

static int fds_place(const ChildPlan *plan)
{
	int beyond[CHILD_FDS_MAX];
	int count = CHILD_FDS_MAX;

	for (int i = 0; i < count; i++) {
		beyond[i] = plan->fd[i] < 0 ? -1 : fcntl(plan->fd[i], F_DUPFD_CLOEXEC, FD_BEYOND);
		if (plan->fd[i] >= 0 && beyond[i] < 0)
			return -1;
	}
	while (beyond[count - 1] < 0)
		count--;
	for (int i = 0; i < count; i++)
		if (beyond[i] >= 0 && dup2(beyond[i], i) < 0)
			return -1;
	/* All descriptors made here are close-on-exec; this is for those inherited. */
	(void)close_range((unsigned)count, ~0U, CLOSE_RANGE_CLOEXEC);
	return 0;
}

static void signals_reset(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* @report: where the errno of a failed exec goes */
__attribute__((__noreturn__)) static void child_run(char *const argv[], const ChildPlan *plan,
						    int report, pid_t keeper)
{
	int status = fcntl(report, F_DUPFD_CLOEXEC, FD_BEYOND);
	int problem;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper) /* it died before the line above */
		_exit(127);
	signals_reset();
	if (!groups_enter(plan->groups) && fds_place(plan) == 0)
		(void)execvp(argv[0], argv);
	problem = errno;
	(void)write(status, &problem, sizeof problem);
	_exit(127);
}

/* Waits until the child has executed or said why not: 0 or its errno. */
static int status_wait(int fd)
{
	int problem = 0;
	ssize_t n;

	do
		n = read(fd, &problem, sizeof problem);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof problem ? problem : 0;
}

/* The flag is each end's own. */
int child_pipe(int *reader, int *writer)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*reader = ends[0];
	*writer = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

pid_t child_start(char *const argv[], const ChildPlan *plan)
{
	cleanup_close int status = -1, status_in = -1;
	pid_t keeper = getpid(), pid;
	int ends[2], problem;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	status = ends[0];
	status_in = ends[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_run(argv, plan, status_in, keeper);
	closep(&status_in);
	status_in = -1;
	problem = status_wait(status);
	if (!problem)
		return pid;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return -problem;
}
