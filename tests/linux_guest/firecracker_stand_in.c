/* SPDX-License-Identifier: Apache-2.0 */

/*
 * In the place of Firecracker, for tests of its jail where there is no /dev/kvm.
 *
 * Linked statically, as the jail has no libraries. When "/go" is there it tries to have more of
 * everything than its control group allows, writes into "/ready" what came of it, and stays,
 * whatever SIGTERM says.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MIB = 1024 * 1024,
	PAGE = 4096,
	MEMORY_MIB = 192, /* far above the limit */
	PROCESSES = 200,  /* the same */
	SPIN_MSEC = 500,
	MSEC_PER_SEC = 1000,
	NSEC_PER_MSEC = 1000000,
};

static void sleep_msec(long msec)
{
	const struct timespec span = { .tv_nsec = msec * NSEC_PER_MSEC };

	(void)nanosleep(&span, NULL);
}

static long long now_msec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * MSEC_PER_SEC + now.tv_nsec / NSEC_PER_MSEC;
}

static void spin(void)
{
	long long end = now_msec() + SPIN_MSEC;

	while (now_msec() < end)
		;
}

/* The signal that ends a child which takes memory; 0: it got all of it. */
static int take_memory(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		volatile char *memory = malloc((size_t)MEMORY_MIB * MIB);

		for (size_t i = 0; memory && i < (size_t)MEMORY_MIB * MIB; i += PAGE)
			memory[i] = 1;
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* How many children it can have. */
static int take_processes(void)
{
	int count = 0;

	while (count < PROCESSES) {
		pid_t pid = fork();

		if (pid < 0)
			return count;
		if (pid == 0)
			for (;;)
				(void)pause();
		count++;
	}
	return count;
}

static void tell(const char *text)
{
	int fd = open("/ready.new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || rename("/ready.new", "/ready") < 0)
		(void)fprintf(stderr, "cannot write /ready: %s\n", strerror(errno));
}

int main(void)
{
	char text[200];
	int ended_by, count;

	(void)signal(SIGTERM, SIG_IGN);
	while (access("/go", F_OK) < 0)
		sleep_msec(10);
	spin();
	ended_by = take_memory();
	count = take_processes();
	(void)snprintf(text, sizeof text, "memory ended by %d, %d children", ended_by, count);
	tell(text);
	for (;;)
		(void)pause();
}
