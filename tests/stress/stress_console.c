/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A console that is written and rotated without pause, read by followers that
 * come and go: what a reader gets is in order, complete unless it was told of
 * a gap, and no follower is called once it has left.
 */

#include "base/file.h"
#include "base/text.h"
#include "runtime/console.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	LINES = 40000,
	LINES_PER_FILE = 500,
	LINE_SIZE = 8, /* seven digits and a newline */
	READERS = 3,
	VISITORS = 3
};

typedef struct Stage {
	char dir[64];
	ConsoleWatch *watch;
	atomic_bool done;
	atomic_int failures;
} Stage;

typedef struct Visitor {
	Stage *stage;
	atomic_bool here;
	sem_t rung;
} Visitor;

static void fail(Stage *stage, const char *what, long a, long b)
{
	(void)fprintf(stderr, "%s: %ld, %ld\n", what, a, b);
	atomic_fetch_add(&stage->failures, 1);
}

static void ring(void *user)
{
	Visitor *visitor = user;

	if (!atomic_load(&visitor->here))
		fail(visitor->stage, "called after it had left", 0, 0);
	(void)sem_post(&visitor->rung);
}

static void *write_lines(void *arg)
{
	Stage *stage = arg;
	cleanup_free char *log = text_printf("%s/console.log", stage->dir);
	cleanup_free char *rotated = text_printf("%s/console.1", stage->dir);
	cleanup_close int fd = -1;

	for (int i = 0; i < LINES; i++) {
		char line[LINE_SIZE + 1];

		if (i % LINES_PER_FILE == 0) {
			closep(&fd);
			(void)rename(log, rotated);
			fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		}
		(void)snprintf(line, sizeof line, "%07d\n", i);
		if (write(fd, line, LINE_SIZE) != LINE_SIZE)
			fail(stage, "write", i, errno);
	}
	atomic_store(&stage->done, true);
	return NULL;
}

/* Checks @line against *@next, the number it must have, or at least behind a gap. */
static void check_line(Stage *stage, const char *line, long *next, bool gap)
{
	long number = strtol(line, NULL, 10);

	if (number != *next && !(gap && number > *next))
		fail(stage, "not the next line", number, *next);
	*next = number + 1;
}

static void *follow_lines(void *arg)
{
	Visitor *visitor = arg;
	Stage *stage = visitor->stage;
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(stage->dir, CONSOLE_SOURCE_SERIAL, 0);
	ConsoleFollow *follow;
	char line[LINE_SIZE + 1] = "";
	size_t used = 0;
	bool gap_here, gap = true; /* the first lines may be gone already */
	long next = 0;

	atomic_store(&visitor->here, true);
	follow = console_follow(stage->watch, stage->dir, CONSOLE_SOURCE_SERIAL, ring, visitor);
	while (next < LINES) {
		ssize_t n = console_read(reader, line + used, LINE_SIZE - used, &gap_here);

		if (n < 0)
			fail(stage, "read", (long)n, 0);
		if (n <= 0) {
			(void)sem_wait(&visitor->rung);
			continue;
		}
		gap = gap || gap_here;
		used += (size_t)n;
		if (used < LINE_SIZE)
			continue;
		check_line(stage, line, &next, gap);
		used = 0;
		gap = false;
	}
	console_unfollow(stage->watch, follow);
	atomic_store(&visitor->here, false);
	return NULL;
}

static void *come_and_go(void *arg)
{
	Visitor *visitor = arg;
	Stage *stage = visitor->stage;

	while (!atomic_load(&stage->done)) {
		ConsoleFollow *follow;

		atomic_store(&visitor->here, true);
		follow = console_follow(stage->watch, stage->dir, CONSOLE_SOURCE_SERIAL, ring,
					visitor);
		if (!follow)
			fail(stage, "follow", errno, 0);
		console_unfollow(stage->watch, follow);
		atomic_store(&visitor->here, false);
	}
	return NULL;
}

int main(void)
{
	Stage stage = { .dir = "/tmp/hearth-stress-XXXXXX" };
	pthread_t threads[READERS + VISITORS], writer;
	Visitor visitors[READERS + VISITORS] = { 0 };

	if (!mkdtemp(stage.dir) || !(stage.watch = console_watch_new()))
		return 2;
	for (int i = 0; i < READERS + VISITORS; i++) {
		visitors[i].stage = &stage;
		(void)sem_init(&visitors[i].rung, 0, 0);
		if (pthread_create(&threads[i], NULL, i < READERS ? follow_lines : come_and_go,
				   &visitors[i]) != 0)
			return 2;
	}
	if (pthread_create(&writer, NULL, write_lines, &stage) != 0)
		return 2;
	(void)pthread_join(writer, NULL);
	for (int i = 0; i < READERS + VISITORS; i++)
		(void)pthread_join(threads[i], NULL);
	console_watch_free(stage.watch);
	(void)!file_remove_tree(stage.dir);
	return atomic_load(&stage.failures) ? 1 : 0;
}
