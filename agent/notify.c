/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/notify.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
	struct sockaddr_un address;
	socklen_t size; /* 0: there is no manager */
	int64_t watchdog;
} manager;

/* "@name" is a socket without a file. */
static void set_address(const char *text)
{
	size_t length = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || length < 2 ||
	    length >= sizeof manager.address.sun_path)
		return;
	manager.address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(manager.address.sun_path, text, length);
	if (text[0] == '@')
		manager.address.sun_path[0] = '\0';
	manager.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

void notify_open(void)
{
	const char *address = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC"),
		   *pid = getenv("WATCHDOG_PID");
	uint64_t every, whose = 0;

	manager.size = 0;
	manager.watchdog = 0;
	if (address)
		set_address(address);
	/* It may be for a process that has become this one's parent. */
	if (usec && text_to_u64(&every, usec) == 0 && every <= INT64_MAX &&
	    (!pid || (text_to_u64(&whose, pid) == 0 && whose == (uint64_t)getpid())))
		manager.watchdog = (int64_t)every;
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
}

void notify(const char *state)
{
	cleanup_close int fd = -1;

	if (!manager.size)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* A manager that does not listen is told no more than that. */
	if (fd >= 0)
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL,
			      (const struct sockaddr *)&manager.address, manager.size);
}

int64_t notify_watchdog(void)
{
	return manager.watchdog;
}
