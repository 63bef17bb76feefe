/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/vmm.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
	CONSOLE_FD = 3,
	QMP_FD = 4,
	FD_BEYOND = 16 /* no target's number, so that moving one source never overwrites another */
};

/* The child's ends, by the numbers they will have; -1: none. */
typedef struct ChildFds {
	int fd[QMP_FD + 1];
	int status; /* where the errno of a failed exec goes */
	const Groups *groups;
} ChildFds;

static int fds_place(const ChildFds *fds)
{
	int beyond[QMP_FD + 1];
	unsigned last = CONSOLE_FD;

	for (int i = 0; i <= QMP_FD; i++) {
		beyond[i] = fds->fd[i] < 0 ? -1 : fcntl(fds->fd[i], F_DUPFD_CLOEXEC, FD_BEYOND);
		if (fds->fd[i] >= 0 && beyond[i] < 0)
			return -1;
	}
	for (int i = 0; i <= QMP_FD; i++)
		if (beyond[i] >= 0 && dup2(beyond[i], i) < 0)
			return -1;
	if (beyond[QMP_FD] >= 0)
		last = QMP_FD;
	/* All descriptors made here are close-on-exec; this is for those inherited. */
	(void)close_range(last + 1, ~0U, CLOSE_RANGE_CLOEXEC);
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

__attribute__((__noreturn__)) static void child_run(char *const argv[], const ChildFds *fds,
						    pid_t keeper)
{
	int status = fcntl(fds->status, F_DUPFD_CLOEXEC, FD_BEYOND);
	int problem;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper) /* it died before the line above */
		_exit(127);
	signals_reset();
	if (!groups_enter(fds->groups) && fds_place(fds) == 0)
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

/* Only the reading end does not block: the flag is each end's own. */
static int pipe_make(int *reader, int *writer)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*reader = ends[0];
	*writer = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

static int socket_make(int *ours, int *theirs)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	*ours = ends[0];
	*theirs = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

/* Return: its pid once it has been executed, -errno otherwise. */
static pid_t child_start(char *const argv[], ChildFds *fds)
{
	cleanup_close int status = -1, status_in = -1;
	pid_t keeper = getpid(), pid;
	int ends[2], problem;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	status = ends[0];
	status_in = fds->status = ends[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_run(argv, fds, keeper);
	closep(&status_in);
	status_in = -1;
	problem = status_wait(status);
	if (!problem)
		return pid;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return -problem;
}

int vmm_start(Vmm *ret, char *const argv[], const VmmWants *wanted, Error *err)
{
	cleanup_close int console = -1, output = -1, ours = -1;
	cleanup_close int null = -1, console_in = -1, output_in = -1, theirs = -1;
	ChildFds fds;
	pid_t pid;

	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "open /dev/null");
	if (pipe_make(&output, &output_in) < 0 ||
	    (wanted->console && pipe_make(&console, &console_in) < 0) ||
	    (wanted->qmp && socket_make(&ours, &theirs) < 0))
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "pipes for %s", argv[0]);
	fds = (ChildFds){ .fd = { null, output_in, output_in, console_in, theirs },
			  .groups = wanted->groups };
	pid = child_start(argv, &fds);
	if (pid < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -pid, "exec %s", argv[0]);

	*ret = (Vmm){
		.pid = pid,
		.console = take_fd(console),
		.output = take_fd(output),
		.qmp = take_fd(ours),
	};
	return 0;
}
