/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest_shutdown.h"

#include "base/clock.h"
#include "runtime/guest_link.h"

#include <poll.h>
#include <sys/eventfd.h>

enum {
	PATIENCE = 5 * USEC_PER_SEC
};

typedef struct Asked {
	GuestCall call;
	int answered; /* an eventfd */
	Error error;
} Asked;

static void done(GuestCall *call, const json_t *answer, const Error *err)
{
	Asked *asked = container_of(call, Asked, call);

	(void)answer;
	if (err)
		asked->error = *err;
	(void)eventfd_write(asked->answered, 1);
}

/* Until it is answered, which the link sees to; sooner if the stop is in a hurry, or the VMM has
 * ended. */
static void wait_for(Asked *asked, const Climb *climb)
{
	struct pollfd fds[] = {
		{ .fd = asked->answered, .events = POLLIN },
		{ .fd = climb->vmm, .events = POLLIN },
		{ .fd = climb->job->cancel_fd, .events = POLLIN },
	};
	eventfd_t ignored;

	while (poll(fds, array_size(fds), -1) < 0 && errno == EINTR)
		;
	if (!fds[0].revents)
		guest_link_cancel(climb->job->guest, asked->call.id);
	(void)eventfd_read(asked->answered, &ignored);
}

RungOutcome guest_shutdown_ask(Climb *climb, int64_t timeout)
{
	cleanup_close int answered = eventfd(0, EFD_CLOEXEC);
	Asked asked = { .answered = answered };

	if (answered < 0) {
		(void)error_set_errno(&asked.error, ERROR_SHUTDOWN, errno, "ask the guest");
		return stop_ladder_failed(climb, &asked.error);
	}
	asked.call = (GuestCall){
		.id = guest_link_next_id(climb->job->guest),
		.op = "shutdown",
		.request = json_object(),
		.timeout = timeout < PATIENCE ? timeout : PATIENCE,
		.done = done,
	};
	guest_link_ask(climb->job->guest, &asked.call);
	wait_for(&asked, climb);
	return error_is_set(&asked.error) ? stop_ladder_failed(climb, &asked.error) : RUNG_UNSET;
}
