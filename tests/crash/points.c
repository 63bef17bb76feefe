/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Crash points: every call by which hearthd or hearth-keeper changes the host or the store.
 *
 * Linked into programs for tests only, which are otherwise the same objects: the linker leads each
 * of these calls here (--wrap, from the list in CMakeLists.txt). A call that succeeded is a point
 * passed, named after the call and what it was about: "file rename(keeper.json)". As the host stays
 * as it is between two changes, dying after each of them is dying anywhere.
 *
 * HEARTH_CRASH_DIR/log gets a line per point. When what HEARTH_CRASH_DIR/at names, "COUNT NAME" or
 * "COUNT *" for any, is passed for the COUNTth time since log was empty, hearthd is killed, by
 * itself or by the keeper that it is starting. Without the variable nothing happens.
 */

#include "tests/crash/points.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
	NAME_MAX_ = 160,
	DIGITS_VARY = 3, /* a word with so many digits is another one in each run */
	DYING_USEC = 100 * 1000
};

static const char dir_variable[] = "HEARTH_CRASH_DIR";
/* The agent to kill: of a keeper it is another process. */
static const char pid_variable[] = "HEARTH_CRASH_PID";
/* A keeper in a VMM's jail does not find its path any more; one that runs on has closed it. */
static int dir_fd = -1;

__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv(dir_variable);
	char pid[16];

	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	(void)setenv(pid_variable, pid, 0);
	if (dir)
		dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Appends @about's last component to @name, with a star for each word of it that varies,
 * and closes the bracket. */
static void add_about(char *name, const char *about)
{
	const char *slash = strrchr(about, '/');
	size_t used = strlen(name);

	about = slash ? slash + 1 : about;
	while (*about && used < NAME_MAX_ - 3) {
		size_t length = 0, digits = 0;

		while (isxdigit((unsigned char)about[length]))
			digits += isdigit((unsigned char)about[length++]) != 0;
		if (digits >= DIGITS_VARY) {
			name[used++] = '*';
			about += length;
			continue;
		}
		do
			name[used++] = *about++;
		while (length-- > 1 && used < NAME_MAX_ - 3);
	}
	name[used++] = ')';
	name[used] = '\0';
}

static FILE *open_in(const char *dir, const char *name, int flags)
{
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = openat(AT_FDCWD, path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = openat(dir_fd, name, flags | O_CLOEXEC, 0600);
	return fd < 0 ? NULL : fdopen(fd, flags & O_APPEND ? "a+" : "r");
}

static bool is_wanted(const char *wanted, const char *name)
{
	return strcmp(wanted, "*") == 0 || strcmp(wanted, name) == 0;
}

/* Writes @name down; true if the agent is to die of it. */
static bool note(FILE *log, const char *dir, const char *name)
{
	char line[NAME_MAX_ + 2], text[NAME_MAX_ + 16] = "", *wanted;
	FILE *at = open_in(dir, "at", O_RDONLY);
	long count = 0, left;

	if (at && !fgets(text, sizeof text, at))
		text[0] = '\0';
	if (at)
		(void)fclose(at);
	left = strtol(text, &wanted, 10);
	wanted += strspn(wanted, " ");
	wanted[strcspn(wanted, "\n")] = '\0';
	(void)fprintf(log, "%s\n", name);
	(void)fflush(log);
	if (!is_wanted(wanted, name))
		return false;
	rewind(log);
	while (fgets(line, sizeof line, log)) {
		line[strcspn(line, "\n")] = '\0';
		count += is_wanted(wanted, line);
	}
	return count == left;
}

static void die(void)
{
	const char *pid = getenv(pid_variable);

	(void)kill((pid_t)strtol(pid ? pid : "0", NULL, 10), SIGKILL);
	/* A keeper: what becomes of it is the kernel's to say. */
	(void)usleep(DYING_USEC);
}

static bool over; /* the keeper has started its VMM: what follows is none of the agent's steps */

void crash_points_end(void)
{
	over = true;
}

void crash_point(const char *kind, const char *call, const char *about)
{
	const char *dir = getenv(dir_variable);
	char name[NAME_MAX_];
	int error = errno;
	bool dies;
	FILE *log;

	if (!dir || over)
		return;
	log = open_in(dir, "log", O_RDWR | O_APPEND | O_CREAT);
	if (!log) {
		perror("crash points: log");
		abort();
	}
	(void)snprintf(name, sizeof name, "%s %s(", kind, call);
	add_about(name, about);
	(void)flock(fileno(log), LOCK_EX);
	dies = note(log, dir, name);
	(void)fclose(log);
	if (dies)
		die();
	errno = error;
}
