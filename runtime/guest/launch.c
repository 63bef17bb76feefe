/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
	GROUPS_MAX = 1024,
	FILES_MAX = 1024, /* more than whoever starts the daemon leaves open */
};

/* Both ends of all there is between the daemon and a program; with a terminal, input of both is
 * output too. */
typedef struct Ends {
	int status, input, output, errors; /* the daemon's */
	int child_status, child_input, child_output, child_errors;
} Ends;

typedef struct Identity {
	uid_t uid;
	gid_t gid;
	char name[64]; /* empty: in no list of users */
} Identity;

static void close_ends(Ends *ends)
{
	const int *const all[] = { &ends->status,       &ends->input,        &ends->output,
				   &ends->errors,       &ends->child_status, &ends->child_input,
				   &ends->child_output, &ends->child_errors };

	for (size_t i = 0; i < array_size(all); i++)
		closep(all[i]);
}

/* The daemon's end does not block, the program's is as programs expect it. */
static int open_pipe(int *reader, int *writer, const int *own)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	*reader = pair[0];
	*writer = pair[1];
	return fcntl(*own, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int open_null(int *ret)
{
	*ret = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

static int open_pipes(Ends *ends, const GuestExecSpec *spec)
{
	int r = spec->input ? open_pipe(&ends->child_input, &ends->input, &ends->input)
			    : open_null(&ends->child_input);

	if (r == 0)
		r = open_pipe(&ends->output, &ends->child_output, &ends->output);
	if (r == 0)
		r = open_pipe(&ends->errors, &ends->child_errors, &ends->errors);
	return r;
}

static int open_terminal(Ends *ends, const GuestExecSpec *spec)
{
	struct winsize size = { .ws_row = (unsigned short)spec->rows,
				.ws_col = (unsigned short)spec->cols };
	char path[64];

	ends->output = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (ends->output < 0 || grantpt(ends->output) < 0 || unlockpt(ends->output) < 0)
		return -errno;
	if (ptsname_r(ends->output, path, sizeof path) != 0)
		return -ENODEV;
	ends->child_output = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ends->child_output < 0 || ioctl(ends->child_output, TIOCSWINSZ, &size) < 0)
		return -errno;
	if (!spec->input)
		return open_null(&ends->child_input);
	ends->input = fcntl(ends->output, F_DUPFD_CLOEXEC, 3);
	return ends->input < 0 ? -errno : 0;
}

static int find_user(Identity *ret, const char *user)
{
	const struct passwd *entry = getpwnam(user);
	unsigned long number;

	if (entry) {
		*ret = (Identity){ .uid = entry->pw_uid, .gid = entry->pw_gid };
		(void)snprintf(ret->name, sizeof ret->name, "%s", entry->pw_name);
		return 0;
	}
	if (strspn(user, "0123456789") != strlen(user))
		return -ENOENT;
	/* One that is too large is ULONG_MAX; all ones are nobody. */
	number = strtoul(user, NULL, 10);
	if (number >= (uid_t)-1)
		return -ENOENT;
	ret->uid = (uid_t)number;
	entry = getpwuid(ret->uid);
	/* A number nobody has is a group of its own, rather than root's. */
	ret->gid = entry ? entry->pw_gid : ret->uid;
	(void)snprintf(ret->name, sizeof ret->name, "%s", entry ? entry->pw_name : "");
	return 0;
}

/* musl's initgroups() fails beyond 32 groups. */
static int set_groups(const Identity *who)
{
	static gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;

	if (!*who->name)
		return setgroups(0, NULL);
	if (getgrouplist(who->name, who->gid, groups, &count) < 0) {
		errno = E2BIG;
		return -1;
	}
	return setgroups((size_t)count, groups);
}

static int become(const char *user, int terminal)
{
	Identity who = { 0 };
	int r = user ? find_user(&who, user) : 0;

	if (!user || r < 0)
		return r;
	if (terminal >= 0)
		(void)!fchown(terminal, who.uid, (gid_t)-1);
	if (set_groups(&who) < 0 || setgid(who.gid) < 0 || setuid(who.uid) < 0)
		return -errno;
	return 0;
}

__attribute__((__noreturn__)) static void give_up(int status, GuestLaunchStage stage, int error,
						  const char *what)
{
	GuestLaunchResult result = { .stage = stage, .error = error };

	(void)snprintf(result.what, sizeof result.what, "%s", what);
	(void)!write(status, &result, sizeof result);
	_exit(127);
}

/* Whoever started the daemon may have had it ignore some, as shells do with what they start in the
 * background. */
static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What the daemon has of whoever started it: its own files are closed anyway. */
static void close_when_executed(void)
{
	if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	/* Before Linux 5.11. */
	for (int fd = 3; fd < FILES_MAX; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

__attribute__((__noreturn__)) static void run(const Ends *ends, const GuestExecSpec *spec)
{
	int errors = spec->tty ? ends->child_output : ends->child_errors;
	int input = ends->child_input < 0 ? ends->child_output : ends->child_input;
	char *const *argv;
	int r;

	/* execvp() changes none of them; a cast would lose the const. */
	memcpy(&argv, &spec->argv, sizeof argv);
	reset_signals();
	(void)umask(022);
	(void)setsid();
	if ((spec->tty && ioctl(ends->child_output, TIOCSCTTY, 0) < 0) || dup2(input, 0) < 0 ||
	    dup2(ends->child_output, 1) < 0 || dup2(errors, 2) < 0)
		give_up(ends->child_status, GUEST_LAUNCH_TERMINAL, errno, "terminal");
	r = become(spec->user, spec->tty ? 1 : -1);
	if (r < 0)
		give_up(ends->child_status, GUEST_LAUNCH_USER, -r, spec->user);
	if (chdir(spec->cwd) < 0)
		give_up(ends->child_status, GUEST_LAUNCH_CWD, errno, spec->cwd);
	close_when_executed();
	environ = spec->env.variables;
	(void)execvp(argv[0], argv);
	give_up(ends->child_status, GUEST_LAUNCH_PROGRAM, errno, argv[0]);
}

int guest_launch(GuestLaunch *ret, const GuestExecSpec *spec)
{
	cleanup_(close_ends) Ends ends = { -1, -1, -1, -1, -1, -1, -1, -1 };
	int r = open_pipe(&ends.status, &ends.child_status, &ends.status);
	pid_t pid;

	if (r == 0)
		r = spec->tty ? open_terminal(&ends, spec) : open_pipes(&ends, spec);
	if (r < 0)
		return r;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run(&ends, spec);
	*ret = (GuestLaunch){
		.pid = pid,
		.status = take_fd(ends.status),
		.input = take_fd(ends.input),
		.output = take_fd(ends.output),
		.errors = take_fd(ends.errors),
	};
	return 0;
}
