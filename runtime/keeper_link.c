/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper_link.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/console.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

enum {
	FILE_MAX = 64 * 1024,
	EXIT_JAIL = 3,      /* runtime/keeper/main.c's code for a jail that cannot be made */
	EXIT_EXHAUSTED = 4, /* and for too few processes, memory, ... */
	EXIT_PAGER = 5,     /* and for a pager that does not come to listen */
	PANIC_TAIL = 16 * 1024,
	START_TIMEOUT = 30 * USEC_PER_SEC, /* a busy host executes slowly */
	RECORD_TIMEOUT = 2 * USEC_PER_SEC  /* from the VMM's end to the keeper's */
};

static const char panic_words[] = "Kernel panic - not syncing";
static const char reboot_words[] = "reboot: Restarting system";

/* Parses @run_dir/@name: 0, -ENOENT, -EINVAL when it is no object of a version known here, or why
 * that cannot be told. */
static int json_read(json_t **ret, const char *run_dir, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", run_dir, name);
	cleanup_(json_decrefp) json_t *root = NULL;
	cleanup_free char *text = NULL;
	size_t length;
	int r = file_read(&text, &length, path, FILE_MAX);

	if (r < 0)
		return r == -ENOTDIR ? -ENOENT : r == -EFBIG || r == -EISDIR ? -EINVAL : r;
	root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	/* A newer keeper's files have more members; those read here keep their meaning. */
	if (!json_is_object(root) || json_integer_value(json_object_get(root, "version")) < 1)
		return -EINVAL;
	*ret = take_ptr(root);
	return 0;
}

/* The integer @key of @root within @min and @max: 0 or -EINVAL. */
static int json_get_int(int64_t *ret, const json_t *root, const char *key, int64_t min, int64_t max)
{
	const json_t *value = json_object_get(root, key);

	if (!json_is_integer(value) || json_integer_value(value) < min ||
	    json_integer_value(value) > max)
		return -EINVAL;
	*ret = json_integer_value(value);
	return 0;
}

static int json_get_process(ProcessId *ret, const json_t *root, const char *key)
{
	const json_t *object = json_object_get(root, key);
	int64_t pid, start;

	if (json_get_int(&pid, object, "pid", 1, INT_MAX) < 0 ||
	    json_get_int(&start, object, "start_time", 0, INT64_MAX) < 0)
		return -EINVAL;
	*ret = (ProcessId){ .pid = (pid_t)pid, .start_time = (uint64_t)start };
	return 0;
}

/* Copies the text @key of @root when it fits into @size bytes: 0 or -EINVAL. */
static int json_get_text(char *ret, size_t size, const json_t *root, const char *key)
{
	const char *text = json_string_value(json_object_get(root, key));

	if (!text || strlen(text) >= size)
		return -EINVAL;
	text_copy(ret, size, text);
	return 0;
}

static int remove_file(const char *run_dir, const char *name, Error *err)
{
	cleanup_free char *path = text_printf("%s/%s", run_dir, name);

	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "remove %s", path);
	return 0;
}

static int clear_run_dir(const char *run_dir, Error *err)
{
	static const char *const names[] = { "exit.json", "metrics.json", "pager.state",
					     "keeper.json" };
	cleanup_close int alive = -1;
	KeeperState old;

	if (keeper_load(&old, run_dir) == 0 && keeper_open(&alive, &old) == 0)
		return error_set(err, ERROR_VMM_FAILED, "%s still has a keeper, pid %d", run_dir,
				 (int)old.keeper.pid);
	for (size_t i = 0; i < array_size(names); i++)
		if (remove_file(run_dir, names[i], err) < 0)
			return -1;
	return 0;
}

static ErrorKind kind_of(int code)
{
	if (code == EXIT_PAGER)
		return ERROR_UFFD;
	return code == EXIT_JAIL ? ERROR_JAILER : ERROR_VMM_FAILED;
}

/* Runs hearth-keeper to its end; its words are the error's. */
static int run_keeper(const char *path, char *const argv[], Error *err)
{
	cleanup_free char *output = NULL;
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, START_TIMEOUT);
	size_t length;

	output = result.output;
	/* Killed at its time-out, it takes keeper and VMM with it. */
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "run %s", path);
	if (result.signal)
		return error_set(err, ERROR_VMM_FAILED, "%s ended by signal %d", path,
				 result.signal);
	if (result.code == 0)
		return 0;
	length = strlen(output);
	while (length && output[length - 1] == '\n')
		output[--length] = '\0';
	return error_set_cause(err, kind_of(result.code),
			       result.code == EXIT_EXHAUSTED ? CAUSE_EXHAUSTED : CAUSE_HOST, "%s",
			       length ? output : "hearth-keeper failed without a word");
}

static void add_jail(Words *words, const KeeperJailConfig *jail)
{
	words_printf(words, "--uid", "%" PRIu32, jail->uid);
	for (size_t i = 0; i < jail->count; i++) {
		const KeeperJailFile *file = &jail->files[i];

		words_printf(words, file->read_only ? "--file-ro" : "--file-rw", "%s=%s",
			     file->name, file->path);
	}
}

static void add_pager(Words *words, const KeeperPagerConfig *pager)
{
	words_add_option(words, "--pager", pager->path);
	words_add_option(words, "--pager-memory", pager->memory_file);
	words_add_option(words, "--pager-socket", pager->socket);
	if (pager->working_set)
		words_add_option(words, "--pager-working-set", pager->working_set);
	if (pager->record)
		words_add_option(words, "--pager-record", pager->record);
	if (pager->record_seconds)
		words_printf(words, "--pager-record-for", "%" PRIu32, pager->record_seconds);
	if (pager->window_kib)
		words_printf(words, "--pager-window", "%" PRIu32, pager->window_kib);
}

/* The keeper's command line. */
static void words_of(Words *words, const KeeperConfig *config)
{
	words_add(words, config->keeper_path);
	words_add_option(words, "--run-dir", config->run_dir);
	words_printf(words, "--console-max", "%" PRIu64, config->console_max_bytes);
	words_printf(words, "--console-rate", "%" PRIu64, config->console_rate);
	if (config->qmp)
		words_add(words, "--qmp");
	if (config->console_fifo)
		words_add_option(words, "--console-fifo", config->console_fifo);
	if (config->metrics_fifo)
		words_add_option(words, "--metrics-fifo", config->metrics_fifo);
	if (config->jail) {
		words_add_option(words, "--jail", config->jail->root);
		if (config->jail->own_group)
			words_add_option(words, "--own-group", config->jail->own_group);
		add_jail(words, config->jail);
	}
	if (config->pager)
		add_pager(words, config->pager);
	for (size_t i = 0; config->groups && config->groups[i]; i++)
		words_add(words, config->groups[i]);
	words_add(words, "--");
	for (size_t i = 0; config->vmm_argv[i]; i++)
		words_add(words, config->vmm_argv[i]);
}

int keeper_start(KeeperState *ret, const KeeperConfig *config, Error *err)
{
	cleanup_(words_clear) Words words = { 0 };

	words_of(&words, config);
	if (clear_run_dir(config->run_dir, err) < 0)
		return -1;
	if (run_keeper(config->keeper_path, words.items, err) < 0)
		return -1;
	/* The VMM may have ended by now, and the keeper with it: that is for the caller to see. */
	if (keeper_load(ret, config->run_dir) < 0)
		return error_set(err, ERROR_VMM_FAILED, "%s/keeper.json cannot be read",
				 config->run_dir);
	return 0;
}

int keeper_attach(const char *keeper_path, const char *run_dir, const KeeperJailConfig *jail,
		  const char *gone, Error *err)
{
	cleanup_(words_clear) Words words = { 0 };
	KeeperState state;
	int r = keeper_load(&state, run_dir);

	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "find the VMM by %s", run_dir);
	words_add(&words, keeper_path);
	words_printf(&words, "--attach", "%d:%" PRIu64, (int)state.vmm.pid, state.vmm.start_time);
	add_jail(&words, jail);
	if (gone)
		words_add_option(&words, "--remove", gone);
	return run_keeper(keeper_path, words.items, err);
}

int keeper_load(KeeperState *ret, const char *run_dir)
{
	cleanup_(json_decrefp) json_t *root = NULL;
	KeeperState state = { 0 };
	int64_t version;
	int r = json_read(&root, run_dir, "keeper.json");

	if (r < 0)
		return r;
	if (json_get_int(&version, root, "version", 1, UINT32_MAX) < 0 ||
	    json_get_process(&state.keeper, root, "keeper") < 0 ||
	    json_get_process(&state.vmm, root, "vmm") < 0 ||
	    json_get_text(state.boot_id, sizeof state.boot_id, root, "boot_id") < 0)
		return -EINVAL;
	(void)json_get_process(&state.pager, root, "pager"); /* most VMs have none */
	state.version = (uint32_t)version;
	*ret = state;
	return 0;
}

/* 1: @state is of this boot; 0: of another; -errno. */
static int same_boot(const KeeperState *state)
{
	char now[37];
	int r = process_boot_id(now);

	return r < 0 ? r : strcmp(now, state->boot_id) == 0;
}

static int open_of_boot(int *ret, const KeeperState *state, const ProcessId *id)
{
	int r = same_boot(state);

	if (r < 0)
		return r;
	return r ? process_open(ret, id) : -ESRCH;
}

int keeper_open(int *ret, const KeeperState *state)
{
	return open_of_boot(ret, state, &state->keeper);
}

int keeper_open_vmm(int *ret, const KeeperState *state)
{
	return open_of_boot(ret, state, &state->vmm);
}

int keeper_read_exit(KeeperExit *ret, const char *run_dir)
{
	cleanup_(json_decrefp) json_t *root = NULL;
	KeeperExit exit = { 0 };
	int64_t code, signal;
	int r = json_read(&root, run_dir, "exit.json");

	if (r < 0)
		return r;
	if (json_get_int(&code, root, "code", -1, INT_MAX) < 0 ||
	    json_get_int(&signal, root, "signal", 0, INT_MAX) < 0 ||
	    json_get_int(&exit.time, root, "time", 0, INT64_MAX) < 0)
		return -EINVAL;
	exit.code = (int)code;
	exit.signal = (int)signal;
	/* Words longer than any known today are as good as none. */
	(void)json_get_text(exit.evidence, sizeof exit.evidence, root, "evidence");
	(void)json_get_text(exit.message, sizeof exit.message, root, "message");
	*ret = exit;
	return 0;
}

/* SIGKILL to what @pidfd is of, -1 being nobody; its having ended is success. */
static int kill_open(int pidfd)
{
	int r = pidfd < 0 ? 0 : process_signal(pidfd, SIGKILL);

	return r == -ESRCH ? 0 : r;
}

static int wait_open(int pidfd, int64_t deadline)
{
	return pidfd < 0 ? 0 : process_wait(pidfd, deadline);
}

int keeper_kill(const char *run_dir, int64_t timeout)
{
	int64_t now = clock_mono_us(), deadline = now + timeout;
	int64_t patience = timeout / 2 < RECORD_TIMEOUT ? timeout / 2 : RECORD_TIMEOUT;
	cleanup_close int keeper = -1, vmm = -1;
	KeeperState state;
	int r = keeper_load(&state, run_dir);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = keeper_open(&keeper, &state);
	if (r == 0 || r == -ESRCH)
		r = keeper_open_vmm(&vmm, &state);
	if (r < 0 && r != -ESRCH)
		return r;
	r = kill_open(vmm);
	if (r == 0 && wait_open(keeper, now + patience) < 0)
		r = kill_open(keeper);
	if (r == 0)
		r = wait_open(keeper, deadline);
	return r < 0 ? r : wait_open(vmm, deadline);
}

static ExitReason reason_without_record(const char *run_dir)
{
	cleanup_close int alive = -1;
	KeeperState state;

	if (keeper_load(&state, run_dir) < 0)
		return EXIT_UNKNOWN;
	if (same_boot(&state) == 0)
		return EXIT_HOST_REBOOT;
	return keeper_open(&alive, &state) == -ESRCH ? EXIT_KEEPER_LOST : EXIT_UNKNOWN;
}

/* The words stand before registers and traces, which may fill more than @tail. */
static bool has_panicked(const char *run_dir, const char *tail)
{
	cleanup_free char *more = NULL;

	if (tail && strstr(tail, panic_words))
		return true;
	more = console_tail(run_dir, CONSOLE_SOURCE_SERIAL, PANIC_TAIL);
	return more && strstr(more, panic_words);
}

ExitReason keeper_exit_reason(const char *run_dir, const KeeperExit *exit, const char *tail)
{
	if (!exit)
		return reason_without_record(run_dir);
	if (strcmp(exit->evidence, "guest-shutdown") == 0)
		return EXIT_GUEST_SHUTDOWN;
	if (strcmp(exit->evidence, "guest-panic") == 0)
		return EXIT_GUEST_PANIC;
	if (strcmp(exit->evidence, "guest-reset") == 0)
		return has_panicked(run_dir, tail) ? EXIT_GUEST_PANIC : EXIT_GUEST_REBOOT;
	if (strcmp(exit->evidence, "memory") == 0)
		return EXIT_VMM_OOM;
	if (strcmp(exit->evidence, "pager") == 0)
		return EXIT_PAGER_FAILED;
	/* QEMU takes SIGTERM, SIGINT and SIGHUP as a wish and ends with 0. */
	if (exit->signal || strcmp(exit->evidence, "host-signal") == 0)
		return EXIT_VMM_SIGNAL;
	if (exit->code != 0)
		return EXIT_VMM_ERROR;
	if (has_panicked(run_dir, tail))
		return EXIT_GUEST_PANIC;
	/* A VMM without a word of its own, Firecracker: the kernel's last line is what there is. */
	return tail && strstr(tail, reboot_words) ? EXIT_GUEST_REBOOT : EXIT_GUEST_EXITED;
}
