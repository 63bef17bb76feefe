/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * For the keeper's tests: a run directory with the real hearth-keeper in it,
 * found in $HEARTH_BIN, and shell scripts that play the VMM.
 */

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/console.h"
#include "runtime/keeper_link.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* A run directory and what is started in it; shell scripts play the VMM. */
typedef struct Bench {
	char dir[64];
	char *keeper;
	KeeperState state;
	int keeper_fd;
} Bench;

enum {
	WAIT = 60 * USEC_PER_SEC, /* long enough to never matter */
	CONSOLE_MAX = 64 * 1024,
	VMM_LOG_MAX = 256 * 1024,
	CONTENTS_MAX = 16 * 1024 * 1024
};

static inline void bench_free(Bench *bench)
{
	(void)!keeper_kill(bench->dir, WAIT);
	closep(&bench->keeper_fd);
	(void)!file_remove_tree(bench->dir);
	free(bench->keeper);
}

static inline Bench bench_new(void)
{
	const char *bin = getenv("HEARTH_BIN");
	Bench bench = { .dir = "/tmp/hearth-keeper-XXXXXX", .keeper_fd = -1 };

	cr_assert_not_null(bin, "HEARTH_BIN must name the directory of hearth-keeper");
	bench.keeper = text_printf("%s/hearth-keeper", bin);
	cr_assert_eq(access(bench.keeper, X_OK), 0, "%s is missing", bench.keeper);
	cr_assert_not_null(mkdtemp(bench.dir));
	return bench;
}

static inline int start_with(Bench *bench, const char *program, const char *script,
			     KeeperConfig config, Error *err)
{
	char *const argv[] = { text_dup(program), text_dup("-c"), text_dup(script), NULL };
	int r;

	config.keeper_path = bench->keeper;
	config.run_dir = bench->dir;
	if (!config.console_max_bytes)
		config.console_max_bytes = CONSOLE_MAX;
	config.vmm_argv = argv;
	r = keeper_start(&bench->state, &config, err);
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	return r;
}

static inline void start(Bench *bench, const char *script)
{
	Error err = { 0 };

	cr_assert_eq(start_with(bench, "/bin/sh", script, (KeeperConfig){ 0 }, &err), 0, "%s",
		     err.what);
	closep(&bench->keeper_fd);
	bench->keeper_fd = -1;
	(void)!keeper_open(&bench->keeper_fd, &bench->state);
}

/* Waits for the keeper's end and reads what it left. */
static inline KeeperExit ended(Bench *bench)
{
	KeeperExit exit = { 0 };

	if (bench->keeper_fd >= 0)
		cr_assert_eq(process_wait(bench->keeper_fd, clock_mono_us() + WAIT), 0);
	cr_assert_eq(keeper_read_exit(&exit, bench->dir), 0);
	return exit;
}

static inline char *contents(const Bench *bench, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);
	char *text = NULL;

	return file_read(&text, NULL, path, CONTENTS_MAX) < 0 ? NULL : text;
}

static inline void put(const Bench *bench, const char *name, const char *text)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);

	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
}

/* Waits until @name holds @text. */
static inline void await_text(const Bench *bench, const char *name, const char *text)
{
	int64_t deadline = clock_mono_us() + WAIT;

	for (;;) {
		cleanup_free char *now = contents(bench, name);

		if (now && strstr(now, text))
			return;
		cr_assert_lt(clock_mono_us(), deadline, "%s never said '%s'", name, text);
		clock_sleep_us(10000);
	}
}

/* The number behind @before in @text. */
static inline unsigned long long number_after(const char *text, const char *before, int base)
{
	const char *at = strstr(text, before);

	cr_assert_not_null(at, "no '%s' in '%s'", before, text);
	return strtoull(at + strlen(before), NULL, base);
}

static inline off_t size_of(const Bench *bench, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

#define BENCH(name) cleanup_(bench_free) Bench name = bench_new()
