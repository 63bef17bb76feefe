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
	STAT_MAX = 4096,
	INHERITED_FIRST = 3,
	ASK_MS = 100, /* between two questions whether to go on */
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

char *process_beside(const char *path, const char *name)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	int length = slash ? (int)(slash - path) + 1 : 0;

	return text_printf("%.*s%s", length, path ? path : "", name);
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

/* Those that a program is to have. */
typedef struct Descriptors {
	int in, out;    /* in: -1 is /dev/null */
	int *inherited; /* copies, close-on-exec */
	size_t count;
} Descriptors;

static void descriptors_clear(Descriptors *descriptors)
{
	closep(&descriptors->in);
	closep(&descriptors->out);
	while (descriptors->count)
		(void)close(descriptors->inherited[--descriptors->count]);
	free(descriptors->inherited);
}

/* Copies what is to be inherited, out of the way of the numbers that it gets. */
static int copy_inherited(Descriptors *descriptors, const int *fds, size_t count)
{
	descriptors->inherited = new0_array(int, count);
	for (size_t i = 0; i < count; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, INHERITED_FIRST + (int)count);

		if (fd < 0)
			return -errno;
		descriptors->inherited[descriptors->count++] = fd;
	}
	return 0;
}

static void add_descriptors(posix_spawn_file_actions_t *actions, const Descriptors *descriptors)
{
	int next = INHERITED_FIRST;

	if (descriptors->in < 0)
		(void)posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	else
		(void)posix_spawn_file_actions_adddup2(actions, descriptors->in, 0);
	(void)posix_spawn_file_actions_adddup2(actions, descriptors->out, 1);
	(void)posix_spawn_file_actions_adddup2(actions, descriptors->out, 2);
	for (size_t i = 0; i < descriptors->count; i++)
		(void)posix_spawn_file_actions_adddup2(actions, descriptors->inherited[i], next++);
	(void)posix_spawn_file_actions_addclosefrom_np(actions, next);
}

static int spawn(pid_t *ret, char *const argv[], const Descriptors *descriptors)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attributes);
	add_descriptors(&actions, descriptors);
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
	const ProcessOptions *options;
	int cancel_fd;
	int64_t deadline;
} Run;

/* May it go on? 0 or -errno. */
static int check_run(const Run *run)
{
	const ProcessOptions *options = run->options;

	if (clock_mono_us() >= run->deadline)
		return -ETIMEDOUT;
	return options->go_on && !options->go_on(options->user) ? -ECANCELED : 0;
}

/* How long it may be left alone, in ms. */
static int time_alone(const Run *run)
{
	int left = clock_left_ms(run->deadline);

	return run->options->go_on && left > ASK_MS ? ASK_MS : left;
}

/* Reads until end of file; what is over the limit is drained. */
static int collect(int fd, char *text, const Run *run)
{
	size_t used = 0;
	int r = 1;

	while (r > 0) {
		struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
					{ .fd = run->cancel_fd, .events = POLLIN } };

		(void)poll(fds, array_size(fds), time_alone(run));
		if (fds[1].revents)
			return -ECANCELED;
		r = check_run(run);
		if (r == 0)
			r = read_some(fd, text, run->options->output_max, &used);
	}
	text[used] = '\0';
	return r;
}

/* It may have closed its output and still be there. */
static int wait_for_end(int pidfd, const Run *run)
{
	int r;

	do {
		r = process_wait(pidfd, clock_mono_us() + (int64_t)time_alone(run) * USEC_PER_MSEC);
		if (r != -ETIMEDOUT)
			return r;
		r = check_run(run);
	} while (r == 0);
	return r;
}

/* Starts it; @ret is what it says. */
static int start(pid_t *ret, int *said, char *const argv[], const ProcessOptions *options)
{
	cleanup_(descriptors_clear) Descriptors descriptors = { .in = -1, .out = -1 };
	cleanup_close int in = -1;
	int pipe_fds[2];
	int r = options->input ? open_input(&descriptors.in, options->input) : 0;

	if (r == 0)
		r = copy_inherited(&descriptors, options->inherited, options->inherited_count);
	if (r < 0)
		return r;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	in = pipe_fds[0];
	descriptors.out = pipe_fds[1];
	(void)fcntl(in, F_SETFL, O_NONBLOCK);
	r = spawn(ret, argv, &descriptors);
	if (r < 0)
		return r;
	*said = take_fd(in);
	return 0;
}

static int run_program(ProcessResult *ret, char *const argv[], const Run *run)
{
	cleanup_free char *output = must_calloc(run->options->output_max + 1, 1);
	cleanup_close int said = -1, pidfd = -1;
	siginfo_t info = { 0 };
	pid_t pid = -1;
	int r = start(&pid, &said, argv, run->options);

	if (r < 0)
		return r;
	pidfd = pidfd_open(pid, 0); /* not reaped yet, so the pid is its own */
	r = collect(said, output, run);
	if (r == 0 && pidfd >= 0)
		r = wait_for_end(pidfd, run);
	if (r < 0)
		(void)kill(run->options->kill_group ? -pid : pid, SIGKILL);
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
	const ProcessOptions options = { .output_max = OUTPUT_MAX };
	const Run run = {
		.options = &options,
		.cancel_fd = cancel_fd,
		.deadline = clock_mono_us() + timeout,
	};

	return run_program(ret, argv, &run);
}

int process_run_options(ProcessResult *ret, char *const argv[], const ProcessOptions *options)
{
	const Run run = {
		.options = options,
		.cancel_fd = -1,
		.deadline = clock_mono_us() + options->timeout,
	};

	return run_program(ret, argv, &run);
}

int process_run_with(ProcessResult *ret, char *const argv[], const char *input, size_t output_max,
		     int64_t timeout)
{
	const ProcessOptions options = {
		.input = input,
		.output_max = output_max,
		.timeout = timeout,
	};

	return process_run_options(ret, argv, &options);
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
