/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/notify.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager's socket: with a file, or without. */
static int listen_at(char name[static 64], bool abstract)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size;

	(void)snprintf(name, 64, "%shearth-notify-%d", abstract ? "@" : "/tmp/", getpid());
	memcpy(address.sun_path, name, strlen(name));
	if (abstract)
		address.sun_path[0] = '\0';
	else
		(void)unlink(name);
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	return fd;
}

static void is_told(bool abstract)
{
	char name[64], got[64] = "";
	cleanup_close int fd = listen_at(name, abstract);

	(void)setenv("NOTIFY_SOCKET", name, 1);
	notify_open();
	notify("READY=1\nSTATUS=well");

	cr_expect_gt(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 0);
	cr_expect_str_eq(got, "READY=1\nSTATUS=well");
	cr_expect_null(getenv("NOTIFY_SOCKET"));
	if (!abstract)
		(void)unlink(name);
}

Test(notify, a_manager_is_told)
{
	is_told(false);
	is_told(true);
}

Test(notify, without_a_manager_nothing_happens)
{
	static const char *const rows[] = { "", "relative", "/", "@", "/tmp/nobody/listens/here" };

	(void)unsetenv("NOTIFY_SOCKET");
	notify_open();
	notify("READY=1");
	for (size_t i = 0; i < array_size(rows); i++) {
		(void)setenv("NOTIFY_SOCKET", rows[i], 1);
		notify_open();
		notify("READY=1");
	}
}

Test(notify, the_watchdog_is_this_processes_or_nobodys)
{
	cleanup_free char *own = text_printf("%d", getpid());
	const struct {
		const char *usec, *pid;
		int64_t every;
	} rows[] = {
		{ "30000000", own, 30000000 },
		{ "30000000", NULL, 30000000 },
		{ "30000000", "1", 0 },
		{ "soon", own, 0 },
		{ NULL, own, 0 },
		{ "30000000", "me", 0 },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		if (rows[i].usec)
			(void)setenv("WATCHDOG_USEC", rows[i].usec, 1);
		if (rows[i].pid)
			(void)setenv("WATCHDOG_PID", rows[i].pid, 1);
		notify_open();
		cr_expect_eq(notify_watchdog(), rows[i].every, "%zu", i);
		cr_expect_null(getenv("WATCHDOG_USEC"));
		cr_expect_null(getenv("WATCHDOG_PID"));
	}
}
