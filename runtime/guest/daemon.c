/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/daemon.h"

#include "runtime/guest/dir.h"
#include "runtime/guest/guest.h"
#include "runtime/guest/ready.h"
#include "runtime/guest/transport.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

typedef struct Daemon {
	Guest guest;
	GuestTransport transport;
	GuestPoll poll;
	int signals, ready;
	size_t signals_place, ready_place;
} Daemon;

static int fail(int r, const char *what)
{
	(void)fprintf(stderr, "hearth-guest: %s: %s\n", what, strerror(-r));
	return r;
}

/* Only from now on do signals reach the daemon by the descriptor. */
static int open_signals(void)
{
	sigset_t set;
	int fd;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD,
		     SIG_DFL); /* whoever starts it may ignore it, and then none is reaped */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Signals of one kind are merged: each child is asked after. Return: false to end. */
static bool take_signals(Daemon *daemon)
{
	struct signalfd_siginfo info;
	bool child = false;

	while (read(daemon->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo != SIGCHLD)
			return false;
		child = true;
	}
	if (child) {
		guest_commands_reap(daemon->guest.commands);
		guest_power_reap(&daemon->guest.power);
	}
	return true;
}

static void take_ready(Daemon *daemon)
{
	if (!guest_ready_hear(daemon->ready))
		return;
	guest_set_ready(&daemon->guest);
	(void)!guest_ready_keep(daemon->guest.dir);
}

static void prepare(Daemon *daemon)
{
	GuestPoll *poll = &daemon->poll;

	guest_poll_clear(poll);
	daemon->signals_place = guest_poll_add(poll, daemon->signals, POLLIN);
	daemon->ready_place = guest_poll_add(poll, daemon->ready, POLLIN);
	guest_transport_prepare(&daemon->transport, poll);
	guest_commands_prepare(daemon->guest.commands, poll);
	guest_freezer_prepare(&daemon->guest.freezer, poll);
	guest_power_prepare(&daemon->guest.power, poll);
}

/* One turn. Return: false to end. */
static bool turn(Daemon *daemon)
{
	GuestPoll *poll = &daemon->poll;
	size_t output;

	prepare(daemon);
	guest_poll_wait(poll);
	if (guest_poll_got(poll, daemon->signals_place) && !take_signals(daemon))
		return false;
	if (guest_poll_got(poll, daemon->ready_place))
		take_ready(daemon);
	guest_freezer_serve(&daemon->guest.freezer, poll);
	/*
	 * Before the commands: nothing else wakes one that has waited for room to say something,
	 * or has heard something. Of one that begins here nothing has been polled yet.
	 */
	guest_transport_serve(&daemon->transport, poll);
	guest_commands_serve(daemon->guest.commands, poll);
	(void)guest_session_output(daemon->guest.session, &output);
	guest_power_serve(&daemon->guest.power, !output);
	return true;
}

static int open_daemon(Daemon *daemon, const GuestDaemonConfig *config)
{
	bool ready = !config->wait_ready;
	int r = guest_dir_make(config->dir);

	if (r < 0)
		return fail(r, config->dir);
	daemon->signals = open_signals();
	if (daemon->signals < 0)
		return fail(daemon->signals, "signals");
	daemon->ready = guest_ready_listen(config->dir);
	if (daemon->ready < 0)
		return fail(daemon->ready, "guest.sock");
	r = guest_open(&daemon->guest, config->dir, ready || guest_ready_was_kept(config->dir));
	if (r < 0)
		return fail(r, "memory");
	r = guest_transport_open(&daemon->transport, daemon->guest.session, config->socket);
	return r < 0 ? fail(r, config->socket) : 0;
}

int guest_daemon_run(const GuestDaemonConfig *config)
{
	static Daemon daemon; /* too large for the stack */
	int r = open_daemon(&daemon, config);

	if (r < 0)
		return r;
	while (turn(&daemon))
		;
	guest_transport_close(&daemon.transport);
	guest_close(&daemon.guest);
	closep(&daemon.ready);
	closep(&daemon.signals);
	return 0;
}
