/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/power.h"

#include "base/cleanup.h"

#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>

enum {
	ANSWER_MS = 1000,
};

typedef struct Step {
	const char *argument;
	bool program; /* or reboot(2) */
	int64_t patience_ms;
} Step;

static const Step steps[] = {
	{ .program = true, .patience_ms = 10000 },
	{ .program = true, .argument = "-f", .patience_ms = 5000 },
	{ .patience_ms = 5000 },
};

void guest_power_ask(GuestPower *power, bool reboot)
{
	if (power->asked)
		return;
	*power = (GuestPower){ .asked = true,
			       .reboot = reboot,
			       .next_at = guest_clock_ms() + ANSWER_MS };
}

void guest_power_prepare(const GuestPower *power, GuestPoll *poll)
{
	guest_poll_by(poll, power->asked ? power->next_at : -1);
}

static void end_now(bool restart)
{
	(void)reboot(restart ? RB_AUTOBOOT : RB_POWER_OFF);
}

static void add_system_path(void)
{
	static const char system_path[] = "/sbin:/usr/sbin:/bin:/usr/bin";
	const char *own = getenv("PATH");
	char path[4096];

	(void)snprintf(path, sizeof path, "%s%s%s", own ? own : "", own ? ":" : "", system_path);
	(void)setenv("PATH", path, 1);
}

/* In a process of its own, for sync() takes as long as the disks do. */
__attribute__((__noreturn__)) static void take(const Step *step, bool restart)
{
	const char *name = restart ? "reboot" : "poweroff";
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (step->program) {
		add_system_path();
		(void)execlp(name, name, step->argument, (char *)NULL);
		(void)execlp("busybox", "busybox", name, step->argument, (char *)NULL);
		_exit(127);
	}
	sync();
	end_now(restart);
	_exit(1);
}

static void next_step(GuestPower *power)
{
	const Step *step = &steps[power->step];
	pid_t pid;

	/* Whatever the steps before wait for, this is the last word. */
	if (power->step == array_size(steps)) {
		end_now(power->reboot);
		power->asked = false;
		return;
	}
	power->step++;
	power->next_at = guest_clock_ms() + step->patience_ms;
	pid = fork();
	if (pid == 0)
		take(step, power->reboot);
	power->child = pid > 0 ? pid : 0;
}

void guest_power_serve(GuestPower *power, bool answered)
{
	if (!power->asked)
		return;
	if (guest_clock_ms() >= power->next_at || (answered && !power->step))
		next_step(power);
}

void guest_power_reap(GuestPower *power)
{
	int status;

	if (!power->child || waitpid(power->child, &status, WNOHANG) != power->child)
		return;
	power->child = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		power->next_at = 0;
}
