/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/pager.h"

#include "base/clock.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/keeper/child.h"
#include "runtime/pager/state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum {
	BUFFER_SIZE = 512,
	LISTEN_TIMEOUT = 20 * USEC_PER_SEC, /* a busy host starts slowly */
	DEATHS_WITHIN = 60 * USEC_PER_SEC
};

static char *state_path(const Pager *pager)
{
	return text_printf("%s/pager.state", pager->config.run_dir);
}

static void add_optional(Words *words, const char *name, const char *value)
{
	if (value)
		words_add_option(words, name, value);
}

static void words_of(Words *words, const Pager *pager, bool take_over)
{
	const PagerOptions *options = pager->config.options;
	cleanup_free char *state = state_path(pager);

	words_add(words, options->program);
	words_printf(words, "--vmm", "%d:%" PRIu64, (int)pager->vmm.pid, pager->vmm.start_time);
	words_add_option(words, "--memory", options->memory);
	words_add_option(words, "--state", state);
	words_add_option(words, "--socket", options->socket);
	if (pager->config.uid != (uid_t)-1)
		words_printf(words, "--uid", "%" PRIu32, (uint32_t)pager->config.uid);
	if (take_over)
		words_add(words, "--take-over");
	add_optional(words, "--window", options->window);
	add_optional(words, "--working-set", options->working_set);
	add_optional(words, "--record", options->record);
	add_optional(words, "--record-for", options->record_for);
}

/* 0 or -errno. */
static int launch(Pager *pager, bool take_over)
{
	cleanup_(words_clear) Words words = { 0 };
	cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cleanup_close int output = -1, output_in = -1;
	ChildPlan plan;
	pid_t pid;

	if (null < 0 || child_pipe(&output, &output_in) < 0)
		return -errno;
	plan = (ChildPlan){ .fd = { null, output_in, output_in, -1, -1 },
			    .groups = pager->config.groups };
	words_of(&words, pager, take_over);
	pid = child_start(words.items, &plan);
	if (pid < 0)
		return pid;
	pager->pid = pid;
	pager->output = take_fd(output);
	pager->used = 0;
	return 0;
}

/* A word of its own, or something for people. */
static void take_line(Pager *pager)
{
	static const char *const known[] = { "listening", "serving", "installed" };

	pager->line[pager->used] = '\0';
	pager->used = 0;
	if (strcmp(pager->line, known[0]) == 0)
		pager->listening = true;
	for (size_t i = 0; i < array_size(known); i++)
		if (strcmp(pager->line, known[i]) == 0)
			return;
	text_copy(pager->reason, sizeof pager->reason, pager->line);
	bounded_log_write(pager->config.log, pager->line, strlen(pager->line));
	bounded_log_write(pager->config.log, "\n", 1);
}

bool pager_listen(Pager *pager)
{
	char buffer[BUFFER_SIZE];
	ssize_t n = read(pager->output, buffer, sizeof buffer);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		closep(&pager->output);
		pager->output = -1;
		return false;
	}
	for (ssize_t i = 0; i < n; i++)
		if (buffer[i] == '\n')
			take_line(pager);
		else if (pager->used < sizeof pager->line - 1)
			pager->line[pager->used++] = buffer[i];
	return true;
}

/* Until it listens, has ended, or the time is over. */
static void await_listening(Pager *pager)
{
	int64_t deadline = clock_mono_us() + LISTEN_TIMEOUT;

	while (!pager->listening && pager->output >= 0 && clock_mono_us() < deadline) {
		struct pollfd polled = { .fd = pager->output, .events = POLLIN };

		if (poll(&polled, 1, clock_left_ms(deadline)) > 0)
			(void)pager_listen(pager);
	}
}

/* It does not listen. The VMM's end is no failure of its. */
static int explain(Pager *pager, Error *err)
{
	int status = 0;

	if (pager->output >= 0)
		return error_set_cause(err, ERROR_UFFD, CAUSE_TIMEOUT,
				       "%s, pid %d, does not come to listen",
				       pager->config.options->program, (int)pager->pid);
	while (waitpid(pager->pid, &status, 0) < 0 && errno == EINTR)
		;
	pager->pid = -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (pager->reason[0])
		return error_set(err, ERROR_UFFD, "%s", pager->reason);
	return error_set(err, ERROR_UFFD, "%s ended with %s %d", pager->config.options->program,
			 WIFEXITED(status) ? "code" : "signal",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

int pager_start(Pager *ret, const PagerConfig *config, pid_t vmm, Error *err)
{
	int r;

	*ret = (Pager){ .config = *config, .pid = -1, .output = -1 };
	r = process_identify(&ret->vmm, vmm);
	if (r == -ESRCH) /* it waits to be reaped */
		return 0;
	if (r == 0)
		r = launch(ret, false);
	if (r < 0)
		return error_set_errno(err, ERROR_UFFD, -r, "start %s", config->options->program);
	await_listening(ret);
	return ret->listening ? 0 : explain(ret, err);
}

static bool fail(Pager *pager, const char *why)
{
	text_copy(pager->reason, sizeof pager->reason, why);
	pager->failed = true;
	return false;
}

static bool too_many(Pager *pager)
{
	int64_t now = clock_mono_us();

	pager->deaths[pager->death_count++ % PAGER_DEATHS_MAX] = now;
	return pager->death_count >= PAGER_DEATHS_MAX &&
	       now - pager->deaths[pager->death_count % PAGER_DEATHS_MAX] < DEATHS_WITHIN;
}

bool pager_replace(Pager *pager, int status)
{
	cleanup_free char *why = NULL;
	int r;

	while (pager->output >= 0 && pager_listen(pager))
		;
	closep(&pager->output);
	pager->output = pager->pid = -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true; /* it has seen the VMM's end, and so will its parent */
	if (WIFEXITED(status)) {
		why = text_dup(pager->reason[0] ? pager->reason : "the pager gave up");
		return fail(pager, why);
	}
	if (too_many(pager)) {
		why = text_printf("%d pagers died within %d seconds, the last of signal %d",
				  PAGER_DEATHS_MAX, (int)(DEATHS_WITHIN / USEC_PER_SEC),
				  WTERMSIG(status));
		return fail(pager, why);
	}
	r = launch(pager, true);
	if (r == 0)
		return true;
	why = text_printf("start another pager: %s", strerrordesc_np(-r));
	return fail(pager, why);
}

bool pager_has_failed(Pager *pager)
{
	cleanup_free char *path = NULL;
	PagerState seen;

	if (pager->failed || !pager->config.run_dir)
		return pager->failed;
	path = state_path(pager);
	if (state_read(&seen, path) < 0 || !counter_get(&seen.failed))
		return false;
	(void)fail(pager, seen.failure);
	return true;
}

void pager_stop(Pager *pager)
{
	if (pager->pid > 0) {
		(void)kill(pager->pid, SIGKILL);
		(void)waitpid(pager->pid, NULL, 0);
	}
	closep(&pager->output);
	pager->output = pager->pid = -1;
}
