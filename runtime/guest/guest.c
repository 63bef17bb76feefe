/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/guest.h"

#include "runtime/guest/ops.h"

#include <string.h>

static void say_ready(const Guest *guest)
{
	GuestLine line;

	if (!guest->ready)
		return;
	guest_session_begin(guest->session, &line);
	guest_line_text(&line, "event", "ready");
	guest_session_send(guest->session, &line);
}

static void begun(void *user)
{
	say_ready(user);
}

static void over(void *user)
{
	Guest *guest = user;

	guest_commands_abandon(guest->commands);
	guest_freezer_abandon(&guest->freezer);
}

static void serve(void *user, const GuestRequest *request, const char *op)
{
	guest_ops_serve(user, request, op);
}

static void hear(void *user, const GuestRequest *line, int64_t id)
{
	Guest *guest = user;

	guest_commands_hear(guest->commands, line, id);
}

int guest_open(Guest *ret, const char *dir, bool ready)
{
	static const GuestSessionUser functions = {
		.begun = begun, .over = over, .request = serve, .stream = hear
	};

	*ret = (Guest){ .dir = dir, .ready = ready, .freezer = { .fd = -1 } };
	ret->session = guest_session_new(&functions, ret);
	ret->commands = guest_commands_new();
	ret->freezer.session = ret->session;
	if (ret->session && ret->commands)
		return 0;
	guest_close(ret);
	return -ENOMEM;
}

void guest_close(Guest *guest)
{
	closep(&guest->freezer.fd);
	guest_session_free(guest->session);
	guest_commands_free(guest->commands);
	guest_env_clear(&guest->env);
}

void guest_set_ready(Guest *guest)
{
	if (guest->ready)
		return;
	guest->ready = true;
	say_ready(guest);
}
