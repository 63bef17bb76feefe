/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/freezer.h"

#include "runtime/guest/freeze.h"
#include "runtime/guest/request.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
	TIMEOUT_DEFAULT_MS = 10000,
	TIMEOUT_MOST_MS = 60000,
};

static int start(GuestFreezer *freezer, int64_t timeout_ms)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		(void)close(pair[0]);
		guest_freeze_hold(pair[1], guest_clock_ms() + timeout_ms);
	}
	(void)close(pair[1]);
	if (pid < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
		int r = -errno;

		(void)close(pair[0]);
		return r;
	}
	freezer->pid = pid;
	freezer->fd = pair[0];
	freezer->frozen = false;
	return 0;
}

void guest_freezer_freeze(GuestFreezer *freezer, const GuestRequest *request)
{
	int64_t timeout_ms = TIMEOUT_DEFAULT_MS;
	int r;

	if (guest_request_number(request, "timeout_ms", GUEST_OPTIONAL, TIMEOUT_MOST_MS,
				 &timeout_ms) < 0)
		return;
	if (freezer->fd >= 0) {
		guest_session_fail(request->session, request->id, GUEST_EXHAUSTED,
				   "frozen already");
		return;
	}
	r = start(freezer, timeout_ms);
	if (r < 0) {
		guest_session_fail_errno(request->session, request->id, r, "freeze");
		return;
	}
	freezer->busy = true;
	freezer->id = request->id;
}

void guest_freezer_thaw(GuestFreezer *freezer, const GuestRequest *request)
{
	if (freezer->busy) {
		guest_session_fail(request->session, request->id, GUEST_EXHAUSTED,
				   "another request is under way");
		return;
	}
	if (!freezer->frozen || send(freezer->fd, "", 1, MSG_NOSIGNAL) < 0) {
		guest_session_answer_number(request->session, request->id, "thawed", 0);
		return;
	}
	freezer->busy = true;
	freezer->id = request->id;
}

void guest_freezer_release(const GuestFreezer *freezer)
{
	if (freezer->fd >= 0)
		(void)!send(freezer->fd, "", 1, MSG_NOSIGNAL);
}

void guest_freezer_abandon(GuestFreezer *freezer)
{
	freezer->id = 0;
}

void guest_freezer_prepare(GuestFreezer *freezer, GuestPoll *poll)
{
	freezer->place = guest_poll_add(poll, freezer->fd, POLLIN);
}

static void answer(GuestFreezer *freezer, int64_t count, const char *name)
{
	if (count < 0)
		guest_session_fail_errno(freezer->session, freezer->id, (int)count, name);
	else
		guest_session_answer_number(freezer->session, freezer->id, name, count);
	freezer->busy = false;
	freezer->id = 0;
}

/* The process has said its last, so that this waits for its end no longer than that takes. */
static void finish(GuestFreezer *freezer)
{
	(void)close(freezer->fd);
	freezer->fd = -1;
	freezer->frozen = false;
	while (waitpid(freezer->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void guest_freezer_serve(GuestFreezer *freezer, const GuestPoll *poll)
{
	int64_t count;
	ssize_t n;

	if (!guest_poll_got(poll, freezer->place))
		return;
	n = recv(freezer->fd, &count, sizeof count, 0);
	/* A reset, by a thaw that came too late, says nothing of what was said before it. */
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
		return;
	if (n != (ssize_t)sizeof count)
		count = -EIO;
	/* By request, or as its time is up. */
	answer(freezer, count, freezer->frozen ? "thawed" : "frozen");
	if (freezer->frozen || count < 0)
		finish(freezer);
	else
		freezer->frozen = true;
}
