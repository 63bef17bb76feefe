/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

enum {
	OUTPUT_MAX = 64 * 1024,
	STAT_MAX = 4096
};

int process_identify(ProcessId *ret, pid_t pid)
{
	cleanup_free char *path = text_printf("/proc/%d/stat", (int)pid);
	cleanup_free char *stat = NULL;
	unsigned long long start;
	const char *after_name;
	char state;
	int r = file_read(&stat, NULL, path, STAT_MAX);

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	/* The name may hold spaces and parentheses; the last one ends it. */
	after_name = strrchr(stat, ')');
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's number, which fits */
	if (!after_name || sscanf(after_name + 1,
				  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
				  "%*d %*d %*d %*d %llu",
				  &state, &start) != 2)
		return -EINVAL;
	if (state == 'Z' || state == 'X')
		return -ESRCH;
	*ret = (ProcessId){ .pid = pid, .start_time = start };
	return 0;
}

int process_open(int *ret, const ProcessId *id)
{
	cleanup_close int fd = -1;
	ProcessId now;
	int r;

	if (id->pid <= 0)
		return -ESRCH;
	fd = pidfd_open(id->pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	r = process_identify(&now, id->pid);
	if (r < 0)
		return r;
	if (now.start_time != id->start_time)
		return -ESRCH;
	*ret = take_fd(fd);
	return 0;
}

int process_signal(int pidfd, int signal)
{
	return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int process_wait(int pidfd, int64_t deadline)
{
	for (;;) {
		struct pollfd poll_for = { .fd = pidfd, .events = POLLIN };
		int n = poll(&poll_for, 1, clock_left_ms(deadline));

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (clock_mono_us() >= deadline)
			return -ETIMEDOUT;
	}
}

char *process_find(const char *name)
{
	cleanup_free char *path = text_dup(getenv("PATH"));
	char *rest = path;
	const char *dir;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? text_dup(name) : NULL;
	while (path && (dir = strsep(&rest, ":"))) {
		cleanup_free char *file = text_printf("%s/%s", *dir ? dir : ".", name);

		if (access(file, X_OK) == 0)
			return take_ptr(file);
	}
	return NULL;
}

/* A descriptor to read @input from. */
static int open_input(int *ret, const char *input)
{
	cleanup_close int fd = -1;
	int r = file_in_memory(&fd, input, strlen(input));

	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	*ret = take_fd(fd);
	return 0;
}

/* @in: -1 is /dev/null. */
static int spawn(pid_t *ret, char *const argv[], int in, int out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attributes);
	if (in < 0)
		(void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	else
		(void)posix_spawn_file_actions_adddup2(&actions, in, 0);
	(void)posix_spawn_file_actions_adddup2(&actions, out, 1);
	(void)posix_spawn_file_actions_adddup2(&actions, out, 2);
	(void)posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setsigdefault(&attributes, &all);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							    POSIX_SPAWN_SETSID);
	r = posix_spawnp(ret, argv[0], &actions, &attributes, argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Reads what there is, to the limit; what is beyond it is drained. 0 at the end of the file. */
static int read_some(int fd, char *text, size_t max, size_t *used)
{
	char spill[4096];
	bool full = *used == max;
	ssize_t n = read(fd, full ? spill : text + *used, full ? sizeof spill : max - *used);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if (!full)
		*used += (size_t)n;
	return n > 0;
}

typedef struct Run {
	const char *input; /* NULL: /dev/null */
	size_t output_max;
	int cancel_fd;
	int64_t deadline;
} Run;

/* Reads until end of file; what is over the limit is drained. */
static int collect(int fd, char *text, const Run *run)
{
	size_t used = 0;
	int r = 1;

	while (r > 0) {
		struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
					{ .fd = run->cancel_fd, .events = POLLIN } };

		if (poll(fds, array_size(fds), clock_left_ms(run->deadline)) <= 0 &&
		    clock_mono_us() >= run->deadline)
			return -ETIMEDOUT;
		if (fds[1].revents)
			return -ECANCELED;
		r = read_some(fd, text, run->output_max, &used);
	}
	text[used] = '\0';
	return r;
}

static int run_program(ProcessResult *ret, char *const argv[], const Run *run)
{
	cleanup_free char *output = must_calloc(run->output_max + 1, 1);
	cleanup_close int in = -1, out = -1, given = -1, pidfd = -1;
	siginfo_t info = { 0 };
	int pipe_fds[2], r;
	pid_t pid;

	if (run->input) {
		r = open_input(&given, run->input);
		if (r < 0)
			return r;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	in = pipe_fds[0];
	out = pipe_fds[1];
	r = spawn(&pid, argv, given, out);
	if (r < 0)
		return r;
	closep(&out);
	out = -1;

	pidfd = pidfd_open(pid, 0); /* not reaped yet, so the pid is its own */
	(void)fcntl(in, F_SETFL, O_NONBLOCK);
	r = collect(in, output, run);
	if (r == 0 && pidfd >= 0)
		r = process_wait(pidfd, run->deadline);
	if (r < 0)
		(void)kill(pid, SIGKILL);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;

	ret->code = info.si_code == CLD_EXITED ? info.si_status : -1;
	ret->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	ret->output = take_ptr(output);
	return 0;
}

int process_run(ProcessResult *ret, char *const argv[], int64_t timeout)
{
	return process_run_until(ret, argv, -1, timeout);
}

int process_run_until(ProcessResult *ret, char *const argv[], int cancel_fd, int64_t timeout)
{
	const Run run = {
		.output_max = OUTPUT_MAX,
		.cancel_fd = cancel_fd,
		.deadline = clock_mono_us() + timeout,
	};

	return run_program(ret, argv, &run);
}

int process_run_with(ProcessResult *ret, char *const argv[], const char *input, size_t output_max,
		     int64_t timeout)
{
	const Run run = {
		.input = input,
		.output_max = output_max,
		.cancel_fd = -1,
		.deadline = clock_mono_us() + timeout,
	};

	return run_program(ret, argv, &run);
}

int process_boot_id(char ret[static 37])
{
	cleanup_free char *text = NULL;
	int r = file_read(&text, NULL, "/proc/sys/kernel/random/boot_id", 64);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (strlen(text) != 36)
		return -EINVAL;
	(void)stpcpy(ret, text);
	return 0;
}
