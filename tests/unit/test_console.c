/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/console.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef struct Bench {
	char dir[64];
} Bench;

static void bench_free(Bench *bench)
{
	(void)!file_remove_tree(bench->dir);
}

static Bench bench_new(void)
{
	Bench bench = { .dir = "/tmp/hearth-console-XXXXXX" };

	cr_assert_not_null(mkdtemp(bench.dir));
	return bench;
}

#define BENCH(name) cleanup_(bench_free) Bench name = bench_new()

static void append_to(const Bench *bench, const char *name, const char *text)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void append(const Bench *bench, const char *text)
{
	append_to(bench, "console.log", text);
}

static void rotate(const Bench *bench)
{
	cleanup_free char *from = text_printf("%s/console.log", bench->dir);
	cleanup_free char *to = text_printf("%s/console.1", bench->dir);

	cr_assert_eq(rename(from, to), 0);
}

/* All there is to read now, in pieces of 5 bytes, "!" where a gap was reported. */
static const char *rest(ConsoleReader *reader)
{
	static char text[4096];
	char *at = text;
	char piece[5];
	ssize_t n;
	bool gap;

	*at = '\0';
	while ((n = console_read(reader, piece, sizeof piece, &gap)) > 0)
		at = text_append(at, text + sizeof text, "%s%.*s", gap ? "!" : "", (int)n, piece);
	cr_assert_eq(n, 0);
	return text;
}

Test(console, is_read_from_the_oldest_kept)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader = NULL;

	append(&bench, "first ");
	rotate(&bench);
	append(&bench, "second");
	reader = console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 0);

	cr_assert_str_eq(rest(reader), "first second");
}

Test(console, the_vmms_own_words_are_read_in_the_same_way)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader = NULL;
	cleanup_(console_closep) ConsoleReader *tail = NULL;

	append(&bench, "the guest's");
	append_to(&bench, "vmm.1", "older ");
	append_to(&bench, "vmm.log", "newer");
	reader = console_open(bench.dir, CONSOLE_SOURCE_VMM, 0);
	tail = console_open(bench.dir, CONSOLE_SOURCE_VMM, 3);

	cr_assert_str_eq(rest(reader), "older newer");
	cr_assert_str_eq(rest(tail), "wer");
	append_to(&bench, "vmm.log", "est");
	cr_assert_str_eq(rest(reader), "est");
}

Test(console, a_reader_waits_for_files_that_are_not_there_yet)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 10);

	cr_assert_str_eq(rest(reader), "");
	append(&bench, "now");

	cr_assert_str_eq(rest(reader), "now");
}

Test(console, a_reader_goes_on_where_it_was)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 0);

	append(&bench, "one");
	cr_assert_str_eq(rest(reader), "one");
	append(&bench, "two");

	cr_assert_str_eq(rest(reader), "two");
	cr_assert_str_eq(rest(reader), "");
}

Test(console, one_rotation_loses_nothing)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 0);

	append(&bench, "read;");
	cr_assert_str_eq(rest(reader), "read;");
	append(&bench, "unread;");
	rotate(&bench);
	cr_assert_str_eq(rest(reader), "unread;");
	append(&bench, "new");

	cr_assert_str_eq(rest(reader), "new");
}

Test(console, two_rotations_are_a_gap_before_what_follows)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 0);

	append(&bench, "a");
	cr_assert_str_eq(rest(reader), "a");
	append(&bench, "b");
	rotate(&bench);
	append(&bench, "c");
	rotate(&bench);
	append(&bench, "d");
	rotate(&bench);
	append(&bench, "e");

	cr_assert_str_eq(rest(reader), "b!de");
}

Test(console, a_tail_begins_so_far_before_the_end)
{
	BENCH(bench);
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = { { 1, "0" },         { 5, "67890" },       { 6, "567890" },
		     { 9, "234567890" }, { 10, "1234567890" }, { 11, "1234567890" } };

	append(&bench, "12345");
	rotate(&bench);
	append(&bench, "67890");
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_(console_closep) ConsoleReader *reader =
			console_open(bench.dir, CONSOLE_SOURCE_SERIAL, rows[i].bytes);

		cr_assert_str_eq(rest(reader), rows[i].text);
	}
}

Test(console, a_file_cut_short_is_begun_again)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 0);
	cleanup_free char *path = text_printf("%s/console.log", bench.dir);

	append(&bench, "long enough");
	cr_assert_str_eq(rest(reader), "long enough");
	cr_assert_eq(truncate(path, 0), 0);
	append(&bench, "short");

	cr_assert_str_eq(rest(reader), "!short");
}

Test(console, a_directory_taken_away_is_the_end)
{
	BENCH(bench);
	cleanup_(console_closep) ConsoleReader *reader =
		console_open(bench.dir, CONSOLE_SOURCE_SERIAL, 0);

	append(&bench, "last words");
	cr_assert_str_eq(rest(reader), "last words");
	cr_assert_eq(file_remove_tree(bench.dir), 0);

	cr_assert_str_eq(rest(reader), "");
}

Test(console, a_link_in_its_place_is_not_followed)
{
	BENCH(bench);
	cleanup_free char *path = text_printf("%s/console.log", bench.dir);
	cleanup_free char *tail = NULL;

	cr_assert_eq(symlink("/etc/passwd", path), 0);
	tail = console_tail(bench.dir, CONSOLE_SOURCE_SERIAL, 100);

	cr_assert_null(tail);
}

static void check_tail(const Bench *bench, size_t max, const char *expected)
{
	cleanup_free char *tail = console_tail(bench->dir, CONSOLE_SOURCE_SERIAL, max);

	if (!expected)
		cr_assert_null(tail);
	else
		cr_assert_str_eq(tail, expected);
}

Test(console, the_tail_begins_at_a_line)
{
	BENCH(bench);

	check_tail(&bench, 10, NULL);
	append(&bench, "one\ntwo\nthree\n");

	check_tail(&bench, 100, "one\ntwo\nthree\n");
	check_tail(&bench, 14, "one\ntwo\nthree\n");
	check_tail(&bench, 13, "two\nthree\n");
	check_tail(&bench, 10, "two\nthree\n");
	check_tail(&bench, 9, "three\n");
	check_tail(&bench, 3, "ee\n");
}

Test(console, the_tail_spans_both_files)
{
	BENCH(bench);

	append(&bench, "one\ntw");
	rotate(&bench);
	append(&bench, "o\nthree");

	check_tail(&bench, 10, "two\nthree");
}

Test(console, the_tail_is_valid_utf8)
{
	BENCH(bench);

	append(&bench, "caf\xc3\xa9 \xff\xfe\n");

	check_tail(&bench, 100, "caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\n");
}

Test(console, the_tail_is_of_the_last_run)
{
	BENCH(bench);

	append(&bench, "old\n[hearth: started 2026-01-01T00:00:00Z]\n");
	check_tail(&bench, 100, NULL);
	append(&bench, "new\nsays [hearth: started it]\n");
	rotate(&bench);
	append(&bench, "end");

	check_tail(&bench, 100, "new\nsays [hearth: started it]\nend");
}

/* A follower's wake-ups, to be waited for. */
typedef struct Bell {
	sem_t rung;
} Bell;

static void ring(void *user)
{
	Bell *bell = user;

	(void)sem_post(&bell->rung);
}

static void bell_init(Bell *bell)
{
	(void)sem_init(&bell->rung, 0, 0);
}

/* Waits for a ring (60 s: a hang, not a time-out) and forgets further ones. */
static void bell_await(Bell *bell)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	cr_assert_eq(sem_timedwait(&bell->rung, &until), 0, "nobody rang");
	while (sem_trywait(&bell->rung) == 0)
		;
}

Test(console_watch, output_and_rotation_wake_a_follower)
{
	BENCH(bench);
	ConsoleWatch *watch = console_watch_new();
	ConsoleFollow *follow;
	Bell bell;

	bell_init(&bell);
	follow = console_follow(watch, bench.dir, CONSOLE_SOURCE_SERIAL, ring, &bell);
	cr_assert_not_null(follow);

	append(&bench, "x");
	bell_await(&bell);
	rotate(&bench);
	bell_await(&bell);
	cr_assert_eq(file_remove_tree(bench.dir), 0);
	bell_await(&bell);
	console_unfollow(watch, follow);
	console_watch_free(watch);
}

Test(console_watch, every_follower_of_a_directory_is_woken)
{
	BENCH(bench);
	BENCH(other);
	ConsoleWatch *watch = console_watch_new();
	ConsoleFollow *follows[3];
	Bell bells[3];

	for (int i = 0; i < 3; i++) {
		bell_init(&bells[i]);
		follows[i] = console_follow(watch, i == 2 ? other.dir : bench.dir,
					    CONSOLE_SOURCE_SERIAL, ring, &bells[i]);
		cr_assert_not_null(follows[i]);
	}
	append(&bench, "x");
	bell_await(&bells[0]);
	bell_await(&bells[1]);

	append(&other, "x");
	bell_await(&bells[2]);
	for (int i = 0; i < 3; i++)
		console_unfollow(watch, follows[i]);
	console_watch_free(watch);
}

Test(console_watch, a_follower_of_the_vmms_words_sleeps_through_the_guests)
{
	BENCH(bench);
	ConsoleWatch *watch = console_watch_new();
	ConsoleFollow *vmm, *serial;
	Bell quiet, loud;
	int rung;

	bell_init(&quiet);
	bell_init(&loud);
	/* Were both woken, the first to follow would be the first. */
	vmm = console_follow(watch, bench.dir, CONSOLE_SOURCE_VMM, ring, &quiet);
	serial = console_follow(watch, bench.dir, CONSOLE_SOURCE_SERIAL, ring, &loud);

	append(&bench, "x");
	bell_await(&loud);
	cr_assert_eq(sem_getvalue(&quiet.rung, &rung), 0);
	append_to(&bench, "vmm.log", "y");
	bell_await(&quiet);

	cr_assert_eq(rung, 0);
	console_unfollow(watch, vmm);
	console_unfollow(watch, serial);
	console_watch_free(watch);
}

Test(console_watch, one_followers_leaving_leaves_the_others)
{
	BENCH(bench);
	ConsoleWatch *watch = console_watch_new();
	ConsoleFollow *first, *second;
	Bell gone, bell;

	bell_init(&gone);
	bell_init(&bell);
	first = console_follow(watch, bench.dir, CONSOLE_SOURCE_SERIAL, ring, &gone);
	second = console_follow(watch, bench.dir, CONSOLE_SOURCE_SERIAL, ring, &bell);
	console_unfollow(watch, first);
	append(&bench, "x");
	bell_await(&bell);

	cr_assert_eq(sem_trywait(&gone.rung), -1);
	console_unfollow(watch, second);
	second = console_follow(watch, bench.dir, CONSOLE_SOURCE_SERIAL, ring, &bell);
	append(&bench, "y");
	bell_await(&bell);
	console_unfollow(watch, second);
	console_watch_free(watch);
}

Test(console_watch, a_directory_that_is_not_there_is_an_error)
{
	ConsoleWatch *watch = console_watch_new();
	Bell bell;

	errno = 0;
	cr_assert_null(
		console_follow(watch, "/no/such/directory", CONSOLE_SOURCE_SERIAL, ring, &bell));

	cr_assert_eq(errno, ENOENT);
	console_watch_free(watch);
}
