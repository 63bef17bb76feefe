/* SPDX-License-Identifier: Apache-2.0 */

/* A host that forwards. */

#include "base/file.h"
#include "base/text.h"
#include "netfw/rules.h"

#include <fcntl.h>
#include <string.h>

enum {
	VALUE_MAX = 64
};

#define IPV6 "/proc/sys/net/ipv6/conf"

/* In /proc a file is not to be replaced, but written to. */
static int write_value(const char *path, const char *value)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static bool has_value(const char *path, const char *value)
{
	cleanup_free char *text = NULL;

	if (file_read(&text, NULL, path, VALUE_MAX) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, value) == 0;
}

static int set_value(const char *path, const char *value, Error *err)
{
	int r = has_value(path, value) ? 0 : write_value(path, value);

	return r < 0 ? error_set_errno(err, ERROR_FIREWALL, -r, "set %s to %s", path, value) : 0;
}

/* accept_ra: 1 is "unless it forwards", 2 "even so". An interface may go meanwhile. */
static int keep_routers(Error *err)
{
	cleanup_closedir DIR *dir = opendir(IPV6);
	const struct dirent *entry;

	if (!dir)
		return error_set_errno(err, ERROR_FIREWALL, errno, "read " IPV6);
	while ((entry = readdir(dir))) {
		cleanup_free char *path = text_printf(IPV6 "/%s/accept_ra", entry->d_name);
		int r = 0;

		if (strcmp(entry->d_name, "all") != 0 && strcmp(entry->d_name, "default") != 0 &&
		    has_value(path, "1"))
			r = write_value(path, "2");
		if (r < 0 && r != -ENOENT)
			return error_set_errno(err, ERROR_FIREWALL, -r, "set %s to 2", path);
	}
	return 0;
}

int rules_enable_forwarding(bool six, Error *err)
{
	static const char six_path[] = IPV6 "/all/forwarding";

	if (set_value("/proc/sys/net/ipv4/ip_forward", "1", err) < 0)
		return -1;
	if (!six || has_value(six_path, "1"))
		return 0;
	return keep_routers(err) < 0 ? -1 : set_value(six_path, "1", err);
}
