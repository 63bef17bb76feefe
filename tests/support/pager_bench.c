/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/pager_bench.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/words.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

__attribute__((__noreturn__)) static void die(const char *what)
{
	perror(what);
	exit(2);
}

PagerBench pager_bench_new(const GuestPlan *plan, const char *parent)
{
	PagerBench bench = { .plan = *plan, .pager = -1, .said = -1, .guest = { .steps = -1 } };

	(void)text_append(bench.dir, bench.dir + sizeof bench.dir, "%s/hearth-pager-XXXXXX",
			  parent);
	if (!mkdtemp(bench.dir))
		die(bench.dir);
	bench.memory = text_printf("%s/memory", bench.dir);
	bench.state = text_printf("%s/pager.state", bench.dir);
	bench.socket = text_printf("%s/pager.sock", bench.dir);
	bench.working_set = text_printf("%s/working_set", bench.dir);
	guest_make_file(bench.memory, plan);
	return bench;
}

void pager_bench_end(PagerBench *bench)
{
	if (bench->guest.steps >= 0)
		(void)guest_wait(&bench->guest, 0);
	if (bench->pager > 0)
		pager_bench_kill_pager(bench);
	if (bench->guest.report)
		(void)munmap(bench->guest.report, sizeof *bench->guest.report);
	bench->guest = (GuestProcess){ .steps = -1 };
	closep(&bench->said);
	bench->said = -1;
}

void pager_bench_free(PagerBench *bench)
{
	pager_bench_end(bench);
	(void)!file_remove_tree(bench->dir);
	free(bench->memory);
	free(bench->state);
	free(bench->socket);
	free(bench->working_set);
}

static void spawn(PagerBench *bench, char *const *argv)
{
	int said[2];

	closep(&bench->said);
	if (pipe2(said, O_CLOEXEC) < 0)
		die("pipe");
	bench->pager = fork();
	if (bench->pager < 0)
		die("start the pager");
	if (bench->pager == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(said[1], STDOUT_FILENO);
		(void)execv(argv[0], argv);
		die(argv[0]);
	}
	(void)close(said[1]);
	bench->said = said[0];
}

static void start_pager(PagerBench *bench, const char *const *options, bool take_over)
{
	const char *bin = getenv("HEARTH_BIN");
	cleanup_free char *program = text_printf("%s/hearth-pager", bin ? bin : "build/gcc/bin");
	Words words = { 0 };

	words_add(&words, program);
	words_printf(&words, "--vmm", "%d:%" PRIu64, (int)bench->guest.id.pid,
		     bench->guest.id.start_time);
	words_add_option(&words, "--memory", bench->memory);
	words_add_option(&words, "--state", bench->state);
	words_add_option(&words, "--socket", bench->socket);
	if (take_over)
		words_add(&words, "--take-over");
	while (options && *options)
		words_add(&words, *options++);
	spawn(bench, words.items);
	words_clear(&words);
}

int pager_bench_await(PagerBench *bench, const char *word)
{
	char line[64];
	size_t used = 0;

	while (read(bench->said, line + used, 1) == 1) {
		if (line[used] != '\n') {
			used += used < sizeof line - 1 ? 1 : 0;
			continue;
		}
		line[used] = '\0';
		if (strcmp(line, word) == 0)
			return 0;
		used = 0;
	}
	return -1;
}

void pager_bench_start(PagerBench *bench, GuestWork *work, const char *const *options)
{
	bench->guest = guest_start(&bench->plan, bench->socket, work);
	start_pager(bench, options, false);
	if (pager_bench_await(bench, "listening") < 0)
		die("the pager does not listen");
}

void pager_bench_hand_over(PagerBench *bench)
{
	guest_step(&bench->guest);
	if (pager_bench_await(bench, "installed") < 0)
		die("the pager does not serve");
}

void pager_bench_take_over(PagerBench *bench, const char *const *options)
{
	start_pager(bench, options, true);
}

void pager_bench_kill_pager(PagerBench *bench)
{
	(void)kill(bench->pager, SIGKILL);
	(void)waitpid(bench->pager, NULL, 0);
	bench->pager = -1;
	closep(&bench->said);
	bench->said = -1;
}

int pager_bench_wait_pager(PagerBench *bench, int64_t usec)
{
	int64_t deadline = clock_mono_us() + usec;
	int status;

	while (clock_mono_us() < deadline) {
		if (waitpid(bench->pager, &status, WNOHANG) == bench->pager) {
			bench->pager = -1;
			return status;
		}
		clock_sleep_us(1000);
	}
	return -1;
}

PagerState *pager_bench_state(const PagerBench *bench)
{
	cleanup_close int fd = open(bench->state, O_RDONLY | O_CLOEXEC);
	PagerState *state = new0(PagerState);

	if (pread(fd, state, sizeof *state, 0) != (ssize_t)sizeof *state)
		die(bench->state);
	return state;
}
