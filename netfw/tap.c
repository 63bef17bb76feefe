/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/tap.h"

#include "base/text.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const char device[] = "/dev/net/tun";
static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

/* As Firecracker and QEMU open it. */
#define TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

void tap_name(char ret[static TAP_NAME_MAX], const char *instance_id, unsigned index)
{
	(void)snprintf(ret, TAP_NAME_MAX, TAP_PREFIX "%.*s-%u", TAP_DIGITS, instance_id,
		       index % 10);
}

bool tap_read_name(char ret[static TAP_DIGITS + 1], const char *name)
{
	const char *rest = name + 1 + TAP_DIGITS;

	if (name[0] != TAP_PREFIX[0] || strspn(name + 1, "0123456789abcdef") != TAP_DIGITS ||
	    rest[0] != '-' || rest[1] < '0' || rest[1] > '9' || rest[2])
		return false;
	text_copy(ret, TAP_DIGITS + 1, name + 1); /* as much as there is room for */
	return true;
}

static bool name_is_good(const char *name)
{
	size_t length = strlen(name);

	return length >= 1 && length < TAP_NAME_MAX && strspn(name, name_bytes) == length;
}

/* A descriptor of the tap @name; an existing one, or with IFF_TUN_EXCL a new one. */
static int tap_open(int *ret, const char *name, int flags)
{
	struct ifreq request = { 0 };
	cleanup_close int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	text_copy(request.ifr_name, sizeof request.ifr_name, name);
	request.ifr_flags = (short)(TAP_FLAGS | flags);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	*ret = take_fd(fd);
	return 0;
}

static int set_mtu(const char *name, uint32_t mtu)
{
	struct ifreq request = { .ifr_mtu = (int)mtu };
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	text_copy(request.ifr_name, sizeof request.ifr_name, name);
	return fd < 0 || ioctl(fd, SIOCSIFMTU, &request) < 0 ? -errno : 0;
}

/* One that belongs to nobody could be opened by everybody who may open the device. */
static int set_owner(int fd, uid_t owner)
{
	bool given = owner != (uid_t)-1;

	if (ioctl(fd, TUNSETOWNER, (unsigned long)(given ? owner : geteuid())) < 0)
		return -errno;
	return given && ioctl(fd, TUNSETGROUP, (unsigned long)owner) < 0 ? -errno : 0;
}

/* Until it is persistent it goes with its descriptor: nothing needs to be undone. */
int tap_add(const TapConfig *config, Error *err)
{
	cleanup_close int fd = -1;
	int r;

	if (!name_is_good(config->name))
		return error_set(err, ERROR_NETWORK_CONFIG,
				 "'%.32s' is no name of a tap: 1 to 15 bytes of [a-z0-9-]",
				 config->name);
	r = tap_open(&fd, config->name, IFF_TUN_EXCL);
	if (r < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, -r, "make tap %s", config->name);
	r = set_owner(fd, config->owner);
	if (r < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, -r, "give tap %s to user %u",
				       config->name, (unsigned)config->owner);
	r = config->mtu ? set_mtu(config->name, config->mtu) : 0;
	if (r < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, -r, "set the MTU of tap %s to %u",
				       config->name, (unsigned)config->mtu);
	if (ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, errno, "keep tap %s",
				       config->name);
	return 0;
}

int tap_remove(const char *name, Error *err)
{
	cleanup_close int fd = -1;
	int r;

	if (if_nametoindex(name) == 0)
		return 0;
	r = tap_open(&fd, name, 0);
	if (r < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, -r, "open tap %s", name);
	if (ioctl(fd, TUNSETPERSIST, 0UL) < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, errno, "remove tap %s", name);
	return 0;
}
