/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/bounded_log.h"

#include "base/clock.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
	BURST_MIN = 4096, /* so that the smallest rate still lets whole lines through */
	LAST_WORDS_MAX = 4096
};

struct BoundedLog {
	char *path, *old_path;
	const char *what;
	int fd;         /* -1: could not be opened; tried again at the next write */
	uint64_t size;  /* of path */
	uint64_t limit; /* of each file */
	uint64_t rate, burst, tokens;
	int64_t refilled;
	uint64_t dropped; /* since the last marker */
	size_t kept;      /* how many of them, the last ones, are in last_words */
	char last;        /* byte written */
	char last_words[LAST_WORDS_MAX];
};

static int log_file_open(BoundedLog *log)
{
	struct stat st;
	int fd = open(log->path,
		      O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK,
		      0600);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return -EINVAL;
	}
	log->fd = fd;
	log->size = (uint64_t)st.st_size;
	return 0;
}

/* Makes room in the file written to. Where renaming fails, the bound matters more than the past. */
static void log_rotate(BoundedLog *log)
{
	if (rename(log->path, log->old_path) < 0 && errno != ENOENT) {
		if (ftruncate(log->fd, 0) == 0)
			log->size = 0;
		return;
	}
	closep(&log->fd);
	log->fd = -1;
}

/* Return: bytes that may go into the file written to, a new one if need be; 0: none. */
static size_t log_room(BoundedLog *log)
{
	if (log->fd >= 0 && log->size >= log->limit)
		log_rotate(log);
	if (log->fd < 0 && log_file_open(log) < 0)
		return 0;
	return log->size < log->limit ? (size_t)(log->limit - log->size) : 0;
}

/* Return: how many bytes the disk took. */
static size_t log_put(BoundedLog *log, const char *bytes, size_t length)
{
	size_t done = 0, room;

	while (done < length && (room = log_room(log))) {
		size_t left = length - done;
		ssize_t n = write(log->fd, bytes + done, left < room ? left : room);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		log->size += (uint64_t)n;
		done += (size_t)n;
		log->last = bytes[done - 1];
	}
	return done;
}

static void log_spend(BoundedLog *log, size_t bytes)
{
	log->tokens -= bytes < log->tokens ? bytes : log->tokens;
}

static void log_refill(BoundedLog *log)
{
	int64_t now = clock_mono_us();
	uint64_t elapsed = (uint64_t)(now - log->refilled);
	uint64_t full = log->burst - log->tokens;

	/* Divided first, so that neither a huge rate nor a long silence overflows. */
	if (elapsed >= USEC_PER_SEC || log->rate > UINT64_MAX / USEC_PER_SEC) {
		log->tokens = log->burst;
		log->refilled = now;
		return;
	}
	if (log->rate * elapsed < USEC_PER_SEC)
		return; /* less than a byte: let it add up */
	elapsed = log->rate * elapsed / USEC_PER_SEC;
	log->tokens += elapsed < full ? elapsed : full;
	log->refilled = now;
}

/*
 * Return: how many of @length bytes the rate lets through. Once it has dropped some it goes on
 * until the bucket is half full, or a flood would leave a marker for every few bytes.
 */
static size_t log_admit(BoundedLog *log, size_t length)
{
	if (!log->rate)
		return length;
	log_refill(log);
	if (log->dropped && log->tokens < log->burst / 2)
		return 0;
	return length < log->tokens ? length : (size_t)log->tokens;
}

/* Return: 0, or -1 when the disk did not take it. */
static int log_mark_dropped(BoundedLog *log)
{
	char line[128];
	const char *end = text_append(line, line + sizeof line,
				      "%s[hearth: %" PRIu64 " bytes of %s dropped]\n",
				      log->last == '\n' ? "" : "\n", log->dropped, log->what);
	size_t length = (size_t)(end - line);

	if (log_put(log, line, length) != length)
		return -1;
	log->dropped = 0;
	log->kept = 0;
	log_spend(log, length);
	return 0;
}

/* The reader's console_tail() looks for this line: what precedes it is another run's. */
static void log_mark_start(BoundedLog *log)
{
	time_t now = (time_t)(clock_wall_us() / USEC_PER_SEC);
	char when[32] = "", line[128];
	const char *end;
	struct tm tm;

	if (gmtime_r(&now, &tm))
		(void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (pread(log->fd, &log->last, 1, (off_t)log->size - 1) != 1)
		log->last = '\0';
	end = text_append(line, line + sizeof line, "%s[hearth: started %s]\n",
			  log->last == '\n' ? "" : "\n", when);
	(void)log_put(log, line, (size_t)(end - line));
}

int bounded_log_open(BoundedLog **ret, const BoundedLogConfig *config)
{
	cleanup_(bounded_log_closep) BoundedLog *log = new0(BoundedLog);
	struct stat old;
	int r;

	log->path = text_printf("%s/%s.log", config->dir, config->name);
	log->old_path = text_printf("%s/%s.1", config->dir, config->name);
	log->what = config->what;
	log->fd = -1;
	log->limit = config->max_bytes / 2;
	log->rate = config->rate;
	log->burst = config->rate > BURST_MIN ? config->rate : BURST_MIN;
	log->tokens = log->burst;
	log->refilled = clock_mono_us();
	log->last = '\n';
	r = log_file_open(log);
	if (r < 0)
		return r;
	if (log->size || stat(log->old_path, &old) == 0)
		log_mark_start(log);
	*ret = take_ptr(log);
	return 0;
}

/* Keeps the end of what is dropped: a flooding guest may die of what it says there. */
static void log_drop(BoundedLog *log, const char *bytes, size_t length)
{
	size_t keep = length < LAST_WORDS_MAX ? length : LAST_WORDS_MAX;
	size_t older = log->kept < LAST_WORDS_MAX - keep ? log->kept : LAST_WORDS_MAX - keep;

	(void)memmove(log->last_words, log->last_words + log->kept - older, older);
	(void)memcpy(log->last_words + older, bytes + length - keep, keep);
	log->kept = older + keep;
	log->dropped += length;
}

/* Writes what log_drop() kept, and how much it did not. */
static void log_put_last_words(BoundedLog *log)
{
	size_t kept = log->kept;

	log->dropped -= kept;
	if (!log->dropped || log_mark_dropped(log) == 0)
		(void)log_put(log, log->last_words, kept);
}

void bounded_log_write(BoundedLog *log, const char *bytes, size_t length)
{
	size_t admitted = log_admit(log, length);
	size_t written = 0;

	if (admitted && (!log->dropped || log_mark_dropped(log) == 0))
		written = log_put(log, bytes, admitted);
	if (log->rate)
		log_spend(log, written);
	if (written < length)
		log_drop(log, bytes + written, length - written);
}

void bounded_log_close(BoundedLog *log)
{
	if (!log)
		return;
	if (log->dropped)
		log_put_last_words(log);
	closep(&log->fd);
	free(log->path);
	free(log->old_path);
	free(log);
}
