/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/keeper.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/keeper/bounded_log.h"
#include "runtime/keeper/fifo.h"
#include "runtime/keeper/metrics.h"
#include "runtime/keeper/qmp_watch.h"
#include "runtime/keeper/run_files.h"
#include "runtime/keeper/vmm.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
	BUFFER_SIZE = 16 * 1024,
	VMM_LOG_MAX = 256 * 1024,
	VMM_LOG_RATE = 64 * 1024,
	DRAIN_TIMEOUT = USEC_PER_SEC, /* for what the VMM's children still write */
	DRAIN_STEP_MS = 20,
	CHILDREN_MAX = 64 * 1024
};

static const char qmp_hello[] = "{\"execute\": \"qmp_capabilities\"}\n";

struct Keeper {
	const KeeperOptions *options;
	Vmm vmm;
	Pager pager;
	int children; /* signalfd: SIGCHLD */
	bool heard;   /* something, in the last round */
	BoundedLog *console, *output;
	int reserved; /* for exit.json */
	int metrics_fd;
	KeeperMetrics *metrics;
	QmpWatch qmp;
	bool qmp_answered;
	bool ended;
	VmmEnd end;
	bool pager_died; /* and nothing has been done about it */
	int pager_status;
	char buffer[BUFFER_SIZE];
};

static void note_end(Keeper *keeper, int status)
{
	keeper->ended = true;
	keeper->end = (VmmEnd){
		.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		.time = clock_wall_us(),
	};
}

/* Return: true while there are children. */
static bool reap(Keeper *keeper)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == keeper->vmm.pid)
			note_end(keeper, status);
		if (pid == keeper->pager.pid) {
			keeper->pager.pid = -1;
			keeper->pager_died = true;
			keeper->pager_status = status;
		}
	}
	return pid == 0;
}

/* Once all that ended has been seen: of what ends both, the pager's end is nothing by itself. */
static void mind_pager(Keeper *keeper)
{
	bool died = keeper->pager_died;

	keeper->pager_died = false;
	if (!died || keeper->ended)
		return;
	if (!pager_replace(&keeper->pager, keeper->pager_status))
		(void)kill(keeper->vmm.pid, SIGKILL);
	else if (run_files_write_keeper(keeper->options->run_dir, keeper->vmm.pid,
					keeper->pager.pid) == 0)
		run_files_sync_keeper(keeper->options->run_dir);
}

/* What the VMM left behind and this process, as the subreaper, inherited; not @spared. */
static void kill_children(pid_t spared)
{
	cleanup_free char *text = NULL;
	char *at, *next;

	if (file_read(&text, NULL, "/proc/thread-self/children", CHILDREN_MAX) < 0)
		return;
	for (at = text;; at = next) {
		long pid = strtol(at, &next, 10);

		if (next == at)
			return;
		if (pid > 1 && pid != spared)
			(void)kill((pid_t)pid, SIGKILL); /* our child: its pid is no other's */
	}
}

/* Return: bytes in the buffer; 0: none, and *@fd closed if there never will be. */
static size_t take(Keeper *keeper, int *fd)
{
	ssize_t n = read(*fd, keeper->buffer, sizeof keeper->buffer);

	keeper->heard = keeper->heard || n > 0;
	if (n > 0)
		return (size_t)n;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	closep(fd);
	*fd = -1;
	return 0;
}

static void serve_qmp(Keeper *keeper)
{
	qmp_watch_feed(&keeper->qmp, keeper->buffer, take(keeper, &keeper->vmm.qmp));
	if (!keeper->qmp.greeted || keeper->qmp_answered || keeper->vmm.qmp < 0)
		return;
	keeper->qmp_answered = true;
	(void)send(keeper->vmm.qmp, qmp_hello, sizeof qmp_hello - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One round: at most a buffer from each, so that none keeps the others waiting. */
static void serve_once(Keeper *keeper, int timeout_ms)
{
	struct pollfd polled[] = {
		{ .fd = keeper->children, .events = POLLIN },
		{ .fd = keeper->vmm.console, .events = POLLIN },
		{ .fd = keeper->vmm.output, .events = POLLIN },
		{ .fd = keeper->vmm.qmp, .events = POLLIN },
		{ .fd = keeper->metrics_fd, .events = POLLIN },
		{ .fd = keeper->pager.output, .events = POLLIN },
	};
	struct signalfd_siginfo info;

	keeper->heard = false;
	if (poll(polled, array_size(polled), timeout_ms) <= 0)
		return;
	if (polled[0].revents) {
		(void)read(keeper->children, &info, sizeof info);
		(void)reap(keeper);
		mind_pager(keeper);
	}
	if (polled[1].revents)
		bounded_log_write(keeper->console, keeper->buffer,
				  take(keeper, &keeper->vmm.console));
	if (polled[2].revents)
		bounded_log_write(keeper->output, keeper->buffer,
				  take(keeper, &keeper->vmm.output));
	if (polled[3].revents)
		serve_qmp(keeper);
	if (polled[4].revents)
		metrics_feed(keeper->metrics, keeper->buffer, take(keeper, &keeper->metrics_fd));
	if (polled[5].revents && keeper->pager.output >= 0)
		(void)pager_listen(&keeper->pager);
}

/* Of a FIFO, which this process holds open itself, there is no end to wait for. */
static bool pipes_open(const Keeper *keeper)
{
	bool console = keeper->vmm.console >= 0 && !keeper->options->console_fifo;

	return console || keeper->heard || keeper->vmm.output >= 0 || keeper->vmm.qmp >= 0;
}

/* Reads what is still in the pipes; processes that hold them open are ended. The pager, which has a
 * working set to save, ends by itself. */
static void drain(Keeper *keeper)
{
	int64_t deadline = clock_mono_us() + DRAIN_TIMEOUT;
	bool more = true;

	while (more && clock_mono_us() < deadline) {
		kill_children(keeper->pager.pid);
		serve_once(keeper, DRAIN_STEP_MS);
		more = reap(keeper) || pipes_open(keeper);
	}
}

static void explain_end(Keeper *keeper)
{
	VmmEnd *end = &keeper->end;
	bool badly = end->signal || end->code;

	end->evidence = keeper->qmp.evidence;
	end->message = "";
	/* Which may be what pagers die of, too. */
	if (end->signal == SIGKILL && groups_ran_out(keeper->options->memory_events)) {
		end->evidence = "memory";
	} else if (keeper->pager.failed || (badly && pager_has_failed(&keeper->pager))) {
		end->evidence = "pager";
		end->message = keeper->pager.reason;
	}
}

/* Where even the reserve does not do, the older half of the logs makes way. */
static void write_exit(Keeper *keeper)
{
	static const char *const expendable[] = { "vmm.1", "console.1", "vmm.log" };
	const char *dir = keeper->options->run_dir;

	explain_end(keeper);
	for (size_t i = 0; run_files_write_exit(dir, keeper->reserved, &keeper->end) < 0; i++) {
		cleanup_free char *path = NULL;

		if (i == array_size(expendable))
			return;
		path = text_printf("%s/%s", dir, expendable[i]);
		(void)unlink(path);
	}
}

static int watch_children(void)
{
	static const int ignored[] = { SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
				       SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ };
	sigset_t set;

	for (size_t i = 0; i < array_size(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_logs(Keeper *keeper, Error *err)
{
	const KeeperOptions *options = keeper->options;
	BoundedLogConfig console = {
		.dir = options->run_dir,
		.name = "console",
		.what = "console output",
		.max_bytes = options->console_max,
		.rate = options->console_rate,
	};
	BoundedLogConfig output = {
		.dir = options->run_dir,
		.name = "vmm",
		.what = "VMM output",
		.max_bytes = VMM_LOG_MAX,
		.rate = VMM_LOG_RATE,
	};
	int r = bounded_log_open(&keeper->console, &console);

	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "open %s/console.log",
				       options->run_dir);
	r = bounded_log_open(&keeper->output, &output);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "open %s/vmm.log",
				       options->run_dir);
	return 0;
}

static int start_vmm(Keeper *keeper, Error *err)
{
	const KeeperOptions *options = keeper->options;
	const KeeperJail *jail = &options->jail;
	const VmmWants wants = { !options->console_fifo, options->qmp, &options->vmm_groups };
	uid_t owner = jail->root ? jail->uid : (uid_t)-1;
	cleanup_close int console = -1;
	pid_t jailer;
	int r = 0;

	if (jail->root && jail_furnish(jail, err) < 0)
		return -1;
	if (options->console_fifo)
		r = fifo_open(&console, options->console_fifo, owner);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "make %s", options->console_fifo);
	if (options->metrics_fifo)
		r = fifo_open(&keeper->metrics_fd, options->metrics_fifo, owner);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "make %s", options->metrics_fifo);
	if (vmm_start(&keeper->vmm, options->vmm_argv, &wants, err) < 0)
		return -1;
	if (options->console_fifo)
		keeper->vmm.console = take_fd(console);
	if (!jail->root)
		return 0;
	jailer = keeper->vmm.pid;
	keeper->vmm.pid = -1; /* nobody's, as soon as it is reaped */
	r = jail_find_vmm(&keeper->vmm.pid, jailer, keeper->vmm.output, err);
	if (r < 0)
		kill_children(-1);
	return r;
}

static int start_pager(Keeper *keeper, Error *err)
{
	const KeeperOptions *options = keeper->options;
	const PagerConfig config = {
		.options = &options->pager,
		.run_dir = options->run_dir,
		.groups = options->jail.root ? &options->pager.jail_groups : &options->vmm_groups,
		.uid = options->jail.root ? options->jail.uid : (uid_t)-1,
		.log = keeper->output,
	};

	return options->pager.program ? pager_start(&keeper->pager, &config, keeper->vmm.pid, err)
				      : 0;
}

int keeper_new(Keeper **ret, const KeeperOptions *options, Error *err)
{
	cleanup_(keeper_freep) Keeper *keeper = new0(Keeper);
	const char *astray;
	int r;

	keeper->options = options;
	keeper->reserved = keeper->metrics_fd = -1;
	keeper->metrics = metrics_new(options->run_dir);
	keeper->vmm = (Vmm){ .pid = -1, .console = -1, .output = -1, .qmp = -1 };
	keeper->pager = (Pager){ .pid = -1, .output = -1 };
	keeper->children = watch_children();
	if (keeper->children < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "signalfd");
	astray = groups_enter(&options->groups);
	if (astray)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "enter the control group %s",
				       astray);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "become a subreaper");
	r = run_files_reserve_exit(&keeper->reserved, options->run_dir);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "reserve %s/exit.json",
				       options->run_dir);
	if (open_logs(keeper, err) < 0 || start_vmm(keeper, err) < 0 ||
	    start_pager(keeper, err) < 0)
		return -1;
	r = run_files_write_keeper(options->run_dir, keeper->vmm.pid, keeper->pager.pid);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "write %s/keeper.json",
				       options->run_dir);
	*ret = take_ptr(keeper);
	return 0;
}

void keeper_serve(Keeper *keeper)
{
	run_files_sync_keeper(keeper->options->run_dir);
	while (!keeper->ended)
		serve_once(keeper, -1);
	drain(keeper);
	bounded_log_close(take_ptr(keeper->console));
	bounded_log_close(take_ptr(keeper->output));
	write_exit(keeper);
}

void keeper_free(Keeper *keeper)
{
	if (!keeper)
		return;
	if (keeper->vmm.pid > 0 && !keeper->ended) {
		(void)kill(keeper->vmm.pid, SIGKILL);
		(void)waitpid(keeper->vmm.pid, NULL, 0);
	}
	pager_stop(&keeper->pager);
	bounded_log_close(keeper->console);
	bounded_log_close(keeper->output);
	closep(&keeper->vmm.console);
	closep(&keeper->vmm.output);
	closep(&keeper->vmm.qmp);
	closep(&keeper->children);
	closep(&keeper->reserved);
	closep(&keeper->metrics_fd);
	metrics_free(keeper->metrics);
	free(keeper);
}
