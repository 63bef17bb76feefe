/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/alive.h"

#include "agent/notify.h"
#include "base/clock.h"

#include <stdatomic.h>

enum {
	ANSWER_USEC = 5 * USEC_PER_SEC, /* that a poller has for a new connection */
};

static void note(void *user)
{
	atomic_store((atomic_bool *)user, true);
}

/* Has @loop called back since it was last asked to? */
static bool loop_is_alive(Loop *loop)
{
	static atomic_bool called = true;
	static LoopSource *source;
	bool alive = atomic_exchange(&called, false);

	loop_remove(loop, source);
	source = loop_after(loop, 1, note, NULL, &called);
	/* Without a descriptor to be asked by it is given the benefit of the doubt. */
	if (!source)
		atomic_store(&called, true);
	return alive;
}

void alive_tell(Loop *loop, Server *server)
{
	static int64_t told;
	int64_t now = clock_mono_us();

	/* A round that fails leaves time for two more. */
	if (!notify_watchdog() || now < told + notify_watchdog() / 3 || !loop_is_alive(loop) ||
	    !server_answers(server, ANSWER_USEC))
		return;
	notify("WATCHDOG=1");
	told = now;
}
