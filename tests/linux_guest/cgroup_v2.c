/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What runtime/cgroup.h and runtime/jail.h do on a kernel whose controllers are all in version 2.
 *
 * For a guest (tests/e2e/test_cgroup_v2.py): it says what it finds, a line each, and judges
 * nothing. First it writes a group itself as the jailer does, then the jailer does it, if it is
 * there, with tests/linux_guest/firecracker_stand_in.c for a VMM.
 */

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/jail.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	LONG = 60 * USEC_PER_SEC,
	SHORT = 50 * USEC_PER_MSEC,
	LOOK_AGAIN = 10 * USEC_PER_MSEC,
	FILE_MAX = 4096,
	USER = 1900000007,
};

static const char jailer[] = "/bin/jailer";
static const char stand_in[] = "/bin/firecracker-stand-in";
static const char firecracker[] = "/bin/firecracker";
static const char instance[] = "0123456789abcdef";
static const VmLimits limits = { .cpu_millis = 500, .memory_mib = 64, .pids = 33 };

static void say(const char *format, ...) printf_like(1, 2);

static void say(const char *format, ...)
{
	va_list args;

	printf("cgroup-v2: ");
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static const char *words_of(int r)
{
	return r == 0 ? "done" : strerrorname_np(r < 0 ? -r : r);
}

static char *path_of(const CgroupHost *host, const char *group, const char *file)
{
	return text_printf("%s/%s%s%s", host->mounts[CGROUP_MEMORY], group, *file ? "/" : "", file);
}

static int tell(const CgroupHost *host, const char *group, const char *file, const char *text)
{
	cleanup_free char *path = path_of(host, group, file);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static void make_group(const CgroupHost *host, const char *group)
{
	cleanup_free char *path = path_of(host, group, "");

	if (mkdir(path, 0755) < 0)
		say("mkdir %s: %s", path, words_of(errno));
}

static bool is_there(const CgroupHost *host, const char *group)
{
	cleanup_free char *path = path_of(host, group, "");

	return access(path, F_OK) == 0;
}

/* As the jailer does it. */
static void write_words(const CgroupHost *host, const char *group)
{
	char words[CGROUP_WORDS_MAX][CGROUP_WORD_MAX];
	size_t count = cgroup_words(host, &limits, words);

	for (size_t i = 0; i < count; i++) {
		char *value = strchr(words[i], '=');

		*value++ = '\0';
		say("own: %s=%s: %s", words[i], value,
		    words_of(tell(host, group, words[i], value)));
	}
}

/* A child in @group that no SIGTERM ends. */
static pid_t put_child(const CgroupHost *host, const char *group)
{
	char text[16];
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (pid == 0) {
		(void)signal(SIGTERM, SIG_IGN);
		for (;;)
			(void)pause();
	}
	(void)snprintf(text, sizeof text, "%d", (int)pid);
	if (tell(host, group, "cgroup.procs", text) < 0)
		say("cannot put a process into %s", group);
	return pid;
}

static int signal_of(pid_t pid)
{
	int status = 0;

	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void verify_own(const CgroupHost *host, const char *what, pid_t pid)
{
	Error err = { 0 };
	int r = cgroup_verify(host, "hearth-own/vm", &limits, pid, &err);

	say("own: %s: %s", what, r == 0 ? "verified" : err.what);
}

static void end_own(const CgroupHost *host, const char *group, int64_t timeout)
{
	int r = cgroup_end(host, group, timeout);

	say("own: end of %s: %s, %s", group, words_of(r), is_there(host, group) ? "there" : "gone");
}

static void try_own(const CgroupHost *host)
{
	pid_t first, second, other;

	make_group(host, "hearth-own");
	(void)!tell(host, ".", "cgroup.subtree_control", "+cpu +memory +pids");
	(void)!tell(host, "hearth-own", "cgroup.subtree_control", "+cpu +memory +pids");
	make_group(host, "hearth-own/vm");
	make_group(host, "hearth-own/other");
	write_words(host, "hearth-own/vm");
	first = put_child(host, "hearth-own/vm");
	second = put_child(host, "hearth-own/vm");
	other = put_child(host, "hearth-own/other");

	verify_own(host, "a member", first);
	verify_own(host, "a process of another group", other);
	(void)!tell(host, "hearth-own/vm", "memory.swap.max", "max");
	verify_own(host, "with swap", first);
	make_group(host, "hearth-own/other/below");
	end_own(host, "hearth-own/vm", LONG);
	say("own: its processes ended with %d and %d", signal_of(first), signal_of(second));
	say("own: the other's is %s", waitpid(other, NULL, WNOHANG) == 0 ? "alive" : "dead");
	end_own(host, "hearth-own/vm", 0);
	end_own(host, "hearth-own/other", SHORT);
	end_own(host, "hearth-own/other/below", LONG);
	end_own(host, "hearth-own/other", LONG);
}

/* Runs @argv and waits for its end: not for that of what it leaves behind. */
static int run(char **argv)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		(void)execv(argv[0], argv);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Waits for @name in the jail; what is in it, to free. */
static char *await_file(const Jail *jail, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", jail->root, name);
	int64_t deadline = clock_mono_us() + LONG;
	char *text = NULL;

	while (file_read(&text, NULL, path, FILE_MAX) < 0 && clock_mono_us() < deadline)
		clock_sleep_us(LOOK_AGAIN);
	return text ? text : text_dup("");
}

static void make_file(const Jail *jail, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", jail->root, name);
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		say("cannot make %s", path);
}

static void verify_jail(const Jail *jail, const char *what, pid_t pid)
{
	Error err = { 0 };
	int r = jail_verify(jail, pid, &err);

	say("jail: %s: %s", what, r == 0 ? "verified" : err.what);
}

static void say_usage(const Jail *jail)
{
	CgroupUsage usage;

	cgroup_usage(&usage, &jail->cgroups, jail->group);
	say("jail: usage: pids %llu memory %llu peak %llu cpu %llu throttled %llu",
	    (unsigned long long)usage.pids, (unsigned long long)usage.memory_bytes,
	    (unsigned long long)usage.memory_peak_bytes, (unsigned long long)usage.cpu_usec,
	    (unsigned long long)usage.cpu_throttled_usec);
}

static void look_into(Jail *jail)
{
	cleanup_free char *pid_text = await_file(jail, "firecracker-stand-in.pid");
	cleanup_free char *said = NULL;
	pid_t pid = (pid_t)strtol(pid_text, NULL, 10);

	/* Only now that the jailer has left the group. */
	make_file(jail, "go");
	said = await_file(jail, "ready");
	say("jail: the VMM says: %s", said);
	verify_jail(jail, "its VMM", pid);
	say_usage(jail);
	jail->limits.pids++;
	verify_jail(jail, "with another limit", pid);
}

static void try_jail(const BackendConfig *config)
{
	cleanup_(jail_freep) Jail *jail = NULL;
	cleanup_(words_freep) char **argv = NULL;
	Error err = { 0 };
	int code;

	if (jail_begin(&jail, &config->jail, stand_in, instance, &err) < 0 ||
	    jail_make(jail, &err) < 0) {
		say("jail: %s", err.what);
		return;
	}
	jail->uid = USER;
	jail->limits = limits;
	argv = jail_argv(jail, NULL, 0);
	code = run(argv);
	say("jail: the jailer ended with %d", code);
	if (code == 0)
		look_into(jail);
	say("jail: removal: %s", jail_remove(config, instance, &err) == 0 ? "done" : err.what);
	say("jail: its group is %s, its directory %s, the parent %s",
	    is_there(&jail->cgroups, jail->group) ? "there" : "gone",
	    access(jail->root, F_OK) == 0 ? "there" : "gone",
	    is_there(&jail->cgroups, config->jail.group) ? "there" : "gone");
}

static void try_probe(const BackendConfig *config)
{
	BackendConfig with = *config;
	BackendInfo info = { 0 };

	with.firecracker_path = firecracker;
	if (jail_probe(&info, &with) < 0)
		say("probe: a shortage");
	say("probe: %s", info.available ? "works" : info.message);
}

int main(void)
{
	const BackendConfig config = {
		.jail = { .jailer_path = jailer,
			  .dir = "/jails",
			  .group = "hearth",
			  .probe_uid = USER + 1 },
	};
	CgroupHost host;
	char why[200];

	/* As the keeper: what the jailer leaves behind is its child. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (cgroup_find(&host, NULL, why, sizeof why) < 0) {
		say("%s", why);
		return 1;
	}
	say("version %d at %s, %s", host.version, host.mounts[CGROUP_CPU],
	    host.swap ? "with a limit of swap" : "without a limit of swap");
	try_own(&host);
	if (access(jailer, X_OK) == 0)
		try_jail(&config);
	if (access(jailer, X_OK) == 0 && access(firecracker, X_OK) == 0)
		try_probe(&config);
	say("end");
	return 0;
}
