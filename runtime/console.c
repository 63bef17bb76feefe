/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/console.h"

#include "base/text.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The reader holds the file it is in open, so that rotation takes nothing from
 * it and no other file gets its inode number. At the file's end it compares
 * inodes to learn whether that file is still console.log (there is no more),
 * has become console.1 (console.log follows it), or is neither (at least one
 * file between was lost).
 */

enum {
	LOOKS_MAX = 4 /* at two names that a rotation changes meanwhile */
};

static const char *const names[] = {
	[CONSOLE_SOURCE_UNSET] = NULL,
	[CONSOLE_SOURCE_SERIAL] = "console",
	[CONSOLE_SOURCE_VMM] = "vmm",
};
static_assert(array_size(names) == CONSOLE_SOURCE_COUNT_, "name every source");

struct ConsoleReader {
	char *log_path, *old_path;
	int fd;   /* -1: no file seen yet */
	bool gap; /* to be told with the next bytes */
};

/* What the two names stand for at one moment; -1: nothing. */
typedef struct ConsoleFiles {
	int log, old;
	struct stat log_stat, old_stat;
} ConsoleFiles;

static void files_close(ConsoleFiles *files)
{
	closep(&files->log);
	closep(&files->old);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static int open_file(struct stat *st, const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	return take_fd(fd);
}

/*
 * Fills @ret, which is empty. console.log is opened first: if console.1 is another file
 * afterwards, it is the one before that console.log, whatever was rotated meanwhile.
 * Return: 0, -EAGAIN when they moved too quickly, -errno.
 */
static int files_open(ConsoleFiles *ret, const ConsoleReader *reader)
{
	for (int i = 0; i < LOOKS_MAX; i++) {
		ret->log = open_file(&ret->log_stat, reader->log_path);
		ret->old = open_file(&ret->old_stat, reader->old_path);
		if (ret->log < 0 && ret->log != -ENOENT)
			return ret->log;
		if (ret->old < 0 && ret->old != -ENOENT)
			return ret->old;
		if (ret->log < 0 || ret->old < 0 || !same_file(&ret->log_stat, &ret->old_stat))
			return 0;
		files_close(ret);
		*ret = (ConsoleFiles){ .log = -1, .old = -1 };
	}
	return -EAGAIN;
}

static void enter_file(ConsoleReader *reader, int *fd)
{
	closep(&reader->fd);
	reader->fd = take_fd(*fd);
}

/* Goes to @tail_bytes before the end, or to the oldest there is. */
static void begin_at(ConsoleReader *reader, ConsoleFiles *files, uint64_t tail_bytes)
{
	uint64_t log_size = files->log < 0 ? 0 : (uint64_t)files->log_stat.st_size;
	uint64_t old_size = files->old < 0 ? 0 : (uint64_t)files->old_stat.st_size;

	if (files->log >= 0 && tail_bytes && log_size >= tail_bytes) {
		(void)lseek(files->log, (off_t)(log_size - tail_bytes), SEEK_SET);
		enter_file(reader, &files->log);
		return;
	}
	if (files->old < 0) {
		enter_file(reader, &files->log);
		return;
	}
	tail_bytes -= tail_bytes ? log_size : 0;
	if (tail_bytes && tail_bytes < old_size)
		(void)lseek(files->old, (off_t)(old_size - tail_bytes), SEEK_SET);
	enter_file(reader, &files->old);
}

const char *console_name(ConsoleSource source)
{
	assert(source > CONSOLE_SOURCE_UNSET && source < CONSOLE_SOURCE_COUNT_);
	return names[source];
}

ConsoleReader *console_open(const char *run_dir, ConsoleSource source, uint64_t tail_bytes)
{
	cleanup_(files_close) ConsoleFiles files = { .log = -1, .old = -1 };
	ConsoleReader *reader = new0(ConsoleReader);

	reader->log_path = text_printf("%s/%s.log", run_dir, console_name(source));
	reader->old_path = text_printf("%s/%s.1", run_dir, console_name(source));
	reader->fd = -1;
	if (files_open(&files, reader) == 0)
		begin_at(reader, &files, tail_bytes);
	return reader;
}

void console_close(ConsoleReader *reader)
{
	if (!reader)
		return;
	closep(&reader->fd);
	free(reader->log_path);
	free(reader->old_path);
	free(reader);
}

/* Bytes of the file the reader is in; one that was cut short is begun again. */
static ssize_t read_here(ConsoleReader *reader, char *buffer, size_t size)
{
	struct stat st;
	ssize_t n;

	if (reader->fd < 0)
		return 0;
	do
		n = read(reader->fd, buffer, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n > 0 || fstat(reader->fd, &st) < 0 || st.st_size >= lseek(reader->fd, 0, SEEK_CUR))
		return n;
	reader->gap = true;
	(void)lseek(reader->fd, 0, SEEK_SET);
	n = read(reader->fd, buffer, size);
	return n < 0 ? -errno : n;
}

typedef enum Next {
	NEXT_NONE,    /* now */
	NEXT_FOLLOWS, /* right after the file the reader is in */
	NEXT_BEHIND_GAP,
} Next;

/* At the end of a file: what is to be read after it. Closes those of @files that are not. */
static Next find_next(const ConsoleReader *reader, ConsoleFiles *files)
{
	struct stat here;

	if (files_open(files, reader) < 0 || (files->log < 0 && files->old < 0))
		return NEXT_NONE; /* being rotated, or removed */
	if (reader->fd < 0)
		return NEXT_FOLLOWS;
	if (fstat(reader->fd, &here) < 0 || (files->log >= 0 && same_file(&here, &files->log_stat)))
		return NEXT_NONE;
	if (files->old < 0 || !same_file(&here, &files->old_stat))
		return NEXT_BEHIND_GAP;
	closep(&files->old);
	files->old = -1;
	return files->log >= 0 ? NEXT_FOLLOWS : NEXT_NONE;
}

ssize_t console_read(ConsoleReader *reader, char *buffer, size_t size, bool *gap)
{
	ssize_t n = read_here(reader, buffer, size);

	*gap = false;
	while (n == 0) {
		cleanup_(files_close) ConsoleFiles files = { .log = -1, .old = -1 };
		Next next = find_next(reader, &files);

		if (next == NEXT_NONE)
			return 0;
		/* The keeper may have written between that end and the rotation. */
		n = read_here(reader, buffer, size);
		if (n != 0)
			break;
		reader->gap = reader->gap || next == NEXT_BEHIND_GAP;
		enter_file(reader, files.old >= 0 ? &files.old : &files.log);
		n = read_here(reader, buffer, size);
	}
	if (n > 0) {
		*gap = reader->gap;
		reader->gap = false;
	}
	return n;
}
