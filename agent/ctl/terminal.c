/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/terminal.h"

#include "base/cleanup.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

enum {
	USUAL_ROWS = 24,
	USUAL_COLUMNS = 80,
	SIZE_MAX_EACH = 10000, /* of the contract */
};

static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGPIPE, SIGTERM };

static struct termios before;
static volatile sig_atomic_t is_raw;

bool terminal_is_there(void)
{
	return isatty(STDIN_FILENO) != 0;
}

static uint32_t sane(unsigned short size, uint32_t otherwise)
{
	if (size == 0)
		return otherwise;
	return size < SIZE_MAX_EACH ? size : SIZE_MAX_EACH;
}

void terminal_size(uint32_t *rows, uint32_t *columns)
{
	struct winsize size = { 0 };

	(void)ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	*rows = sane(size.ws_row, USUAL_ROWS);
	*columns = sane(size.ws_col, USUAL_COLUMNS);
}

void terminal_restore(void)
{
	if (!is_raw)
		return;
	/* At once: who does not read what is shown must not hold it up. */
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	is_raw = 0; /* last: a signal meanwhile restores it as well */
}

static void restore_and_end(int number)
{
	terminal_restore();
	(void)signal(number, SIG_DFL);
	(void)raise(number); /* which follows when this returns */
}

/* All signals are blocked in the handler: SIGTTOU too, which would stop a background process. */
static void watch_endings(void)
{
	struct sigaction action = { .sa_handler = restore_and_end };
	sigset_t set;

	(void)sigfillset(&action.sa_mask);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < array_size(ending); i++) {
		(void)sigaction(ending[i], &action, NULL);
		(void)sigaddset(&set, ending[i]);
	}
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int terminal_set_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return -errno;
	raw = before;
	cfmakeraw(&raw);
	/* Before the terminal: there is no moment in which nobody would restore it. */
	is_raw = 1;
	(void)atexit(terminal_restore);
	watch_endings();
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0 ? -errno : 0;
}
