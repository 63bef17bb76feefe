/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vmm_process.h"

#include "base/process.h"
#include "base/text.h"
#include "runtime/console.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	END_PATIENCE = 1 * USEC_PER_SEC,
	WORDS_MAX = 400, /* of a VMM's log, in error messages */
	TAIL_MAX = 4096, /* of the console, in exit records: a panic's trace and what came before */
};

int vmm_process_clear_socket(const char *path, Error *err)
{
	size_t longest = sizeof((struct sockaddr_un){ 0 }).sun_path - 1;

	if (strlen(path) > longest)
		return error_set(err, ERROR_VMM_FAILED,
				 "the state directory's path is too long: a socket's path has at "
				 "most %zu bytes, %s has %zu",
				 longest, path, strlen(path));
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "remove %s", path);
	return 0;
}

char **vmm_process_groups(const Launcher *launcher, const Job *job, const CgroupHost *jailers)
{
	cleanup_free char *events = NULL;
	Words words = { 0 };

	launcher_add_words(launcher, &words);
	if (!jailers) {
		launcher_add_group(launcher, job, &words);
		return words.items;
	}
	events = cgroup_memory_events(jailers, job->resolved->cgroup);
	words_add_option(&words, "--memory-events", events);
	for (size_t i = 0; i < (jailers->version == 2 ? 1 : CGROUP_COUNT_); i++)
		words_printf(&words, "--pager-enter", "%s/%s", jailers->mounts[i],
			     job->resolved->cgroup);
	return words.items;
}

int vmm_process_launch(const KeeperConfig *config, Job *job, Error *err)
{
	KeeperState state;

	if (keeper_start(&state, config, err) < 0)
		return -1;
	job->resolved->vmm_pid = (uint32_t)state.vmm.pid;
	job->resolved->keeper_pid = (uint32_t)state.keeper.pid;
	return 0;
}

bool vmm_process_ends(int vmm)
{
	return process_wait(vmm, clock_mono_us() + END_PATIENCE) == 0;
}

int vmm_process_open(int *ret, const Job *job, const char *name, Error *err)
{
	KeeperState state;
	int r = keeper_load(&state, job->run_dir);

	if (r == 0)
		r = keeper_open_vmm(ret, &state);
	if (r == -ENOENT || r == -ESRCH)
		return error_set(err, ERROR_VMM_FAILED, "%s has ended", name);
	return r < 0 ? error_set_errno(err, ERROR_VMM_FAILED, -r, "find %s by %s", name,
				       job->run_dir)
		     : 0;
}

static char *log_path(const Job *job)
{
	return text_printf("%s/vmm.log", job->run_dir);
}

off_t vmm_process_log_size(const Job *job)
{
	cleanup_free char *path = log_path(job);
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* What the VMM itself said since vmm.log had @from bytes, its end first to be kept, as one line. */
static void read_words(char ret[static WORDS_MAX], const Job *job, off_t from)
{
	cleanup_free char *path = log_path(job);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = vmm_process_log_size(job);
	ssize_t n;

	ret[0] = '\0';
	if (size < from) /* rotated */
		from = 0;
	if (size - from > WORDS_MAX - 1)
		from = size - (WORDS_MAX - 1);
	n = fd < 0 ? 0 : pread(fd, ret, WORDS_MAX - 1, from);
	while (n > 0 && strchr("\r\n", ret[n - 1]))
		n--;
	ret[n > 0 ? n : 0] = '\0';
	for (char *at = ret; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = ' ';
}

void vmm_process_undo_start(Job *job, const char *socket, off_t log_from, Error *err)
{
	char words[WORDS_MAX];
	size_t length = strlen(err->what);

	if (keeper_kill(job->run_dir, VMM_KILL_TIMEOUT) < 0)
		job->poisoned = true;
	(void)unlink(socket);
	if (log_from < 0)
		return;
	/* After its end, when all it said has been written. */
	read_words(words, job, log_from);
	if (words[0])
		(void)text_append(err->what + length, err->what + sizeof err->what, ": %s", words);
}

int vmm_process_look(Job *job, const char *name, VmmLookFn *look_at, VmState *ret, Error *err)
{
	cleanup_close int keeper = -1, vmm = -1;
	KeeperState state;
	int r = keeper_load(&state, job->run_dir);

	if (r == 0)
		r = keeper_open(&keeper, &state);
	if (r == 0)
		r = keeper_open_vmm(&vmm, &state);
	if (r == 0) {
		job->resolved->vmm_pid = (uint32_t)state.vmm.pid;
		job->resolved->keeper_pid = (uint32_t)state.keeper.pid;
		return look_at(job, vmm, ret, err);
	}
	if (r != -ENOENT && r != -ESRCH)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "find %s by %s", name,
				       job->run_dir);
	/* A VMM that has lost its keeper goes with it. */
	r = keeper_kill(job->run_dir, VMM_KILL_TIMEOUT);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "end what is left in %s",
				       job->run_dir);
	*ret = VM_STOPPED;
	return 0;
}

int vmm_process_exit_fd(Job *job, int *ret, Error *err)
{
	KeeperState state;
	int r = keeper_load(&state, job->run_dir);

	if (r == 0)
		r = keeper_open(ret, &state);
	if (r == 0)
		return 0;
	if (r != -ENOENT && r != -ESRCH)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "find the keeper of %s",
				       job->run_dir);
	/* It has ended: readable from the start. */
	r = eventfd(1, EFD_CLOEXEC);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "eventfd");
	*ret = r;
	return 0;
}

bool vmm_process_has_ended(const char *run_dir)
{
	cleanup_close int vmm = -1;
	KeeperState state;

	return keeper_load(&state, run_dir) == 0 && keeper_open_vmm(&vmm, &state) == -ESRCH;
}

void vmm_process_read_exit(Job *job, const char *socket, VmmExit *ret)
{
	KeeperExit exit;
	bool recorded = keeper_read_exit(&exit, job->run_dir) == 0;

	/* The keeper was killed, and its VMM is about to be: it is over when both are gone. Or the
	 * keeper is late, and gets a moment to record it. */
	if (!recorded && keeper_kill(job->run_dir, VMM_KILL_TIMEOUT) == 0)
		recorded = keeper_read_exit(&exit, job->run_dir) == 0;

	ret->console_tail = console_tail(job->run_dir, CONSOLE_SOURCE_SERIAL, TAIL_MAX);
	ret->reason = keeper_exit_reason(job->run_dir, recorded ? &exit : NULL, ret->console_tail);
	ret->code = recorded ? exit.code : -1;
	ret->signal = recorded ? exit.signal : 0;
	ret->time = recorded ? exit.time : clock_wall_us();
	(void)unlink(socket);
}
