/* SPDX-License-Identifier: Apache-2.0 */

/* On real devices, under names of the test's own. */

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "netfw/tap.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

enum {
	OWNER = 61234,
	STRANGER = 61235,
	TUN_MAJOR = 10,
	TUN_MINOR = 200,
	COMMAND_TIMEOUT = 30 * 1000000,
};

/* Each test is a process of its own, and so has a name of its own. */
static char name[TAP_NAME_MAX];

static void skip(const char *why)
{
	(void)fprintf(stderr, "skipped: %s\n", why);
	cr_skip_test("%s", why);
}

static void set_up(void)
{
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0)
		skip("taps need root and /dev/net/tun");
	(void)snprintf(name, sizeof name, "ht%d", (int)getpid());
}

static void tear_down(void)
{
	Error err = { 0 };

	if (*name)
		cr_expect_eq(tap_remove(name, &err), 0, "%s", err.what);
}

TestSuite(tap, .init = set_up, .fini = tear_down);

static bool is_there(const char *device)
{
	return if_nametoindex(device) != 0;
}

/* What the kernel says of the device's @attribute. */
static void check_attribute(const char *attribute, const char *wanted)
{
	cleanup_free char *path = text_printf("/sys/class/net/%s/%s", name, attribute);
	cleanup_free char *text = NULL;

	cr_assert_eq(file_read(&text, NULL, path, 4096), 0, "%s", path);
	text[strcspn(text, "\n")] = '\0';
	cr_assert_str_eq(text, wanted, "%s", attribute);
}

static void add(const TapConfig *config)
{
	Error err = { 0 };

	cr_assert_eq(tap_add(config, &err), 0, "%s", err.what);
}

static TapConfig owned(void)
{
	return (TapConfig){ .name = name, .owner = OWNER };
}

/* Attaches as Firecracker does; -errno. */
static int attach(const char *node)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open(node, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	text_copy(request.ifr_name, sizeof request.ifr_name, name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	return fd;
}

/* What a process of @user gets that attaches by @node: 0, or an errno. */
static int attach_as(uid_t user, const char *node)
{
	int status = 0;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int r = setgroups(0, NULL) < 0 || setgid(user) < 0 || setuid(user) < 0
				? -errno
				: attach(node);

		_exit(r < 0 ? -r : 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void run(const char *command)
{
	char *argv[] = { text_dup("/bin/sh"), text_dup("-c"), text_dup(command), NULL };
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, COMMAND_TIMEOUT);

	cr_assert(r == 0 && result.code == 0, "%s: %s", command, r == 0 ? result.output : "");
	free(result.output);
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
}

Test(tap, a_tap_stays_down_and_belongs_to_its_owner)
{
	TapConfig config = owned();

	config.mtu = 1400;
	add(&config);

	check_attribute("owner", "61234");
	check_attribute("group", "61234");
	check_attribute("mtu", "1400");
	check_attribute("operstate", "down");
	check_attribute("flags", "0x1002"); /* broadcast, multicast; not up */
	/* tap, no packet information, virtio header, persistent */
	check_attribute("tun_flags", "0x5802");
}

Test(tap, removing_leaves_nothing_and_may_be_repeated)
{
	TapConfig config = owned();
	Error err = { 0 };

	add(&config);

	cr_assert_eq(tap_remove(name, &err), 0, "%s", err.what);
	cr_assert_not(is_there(name));
	cr_assert_eq(tap_remove(name, &err), 0, "%s", err.what);
	cr_assert_not(is_there(name));
}

Test(tap, one_that_is_there_is_not_taken_over)
{
	TapConfig config = owned();
	Error err = { 0 };

	add(&config);
	config.owner = STRANGER;

	cr_assert_eq(tap_add(&config, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, name), "%s", err.what);
	check_attribute("owner", "61234");
}

Test(tap, one_that_is_in_use_is_left_alone)
{
	const TapConfig config = owned();
	Error err = { 0 };
	int fd;

	add(&config);
	fd = attach("/dev/net/tun");
	cr_assert_geq(fd, 0);

	cr_assert_eq(tap_remove(name, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, "busy"), "%s", err.what);
	(void)close(fd);
	cr_assert(is_there(name));
}

Test(tap, bad_names_are_refused)
{
	static const char *const bad[] = {
		"", ".", "..", "a/b", "a b", "A", "a:0", "tap%d", "a\n", "ä", "sixteen-bytes-xx"
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		const TapConfig config = { .name = bad[i], .owner = OWNER };
		Error err = { 0 };

		cr_assert_eq(tap_add(&config, &err), -1, "%s", bad[i]);

		cr_assert_eq(err.kind, ERROR_NETWORK_CONFIG, "%s: %s", bad[i], err.what);
	}
}

Test(tap, a_failure_half_way_leaves_nothing)
{
	TapConfig config = owned();
	Error err = { 0 };

	config.mtu = 1000000;

	cr_assert_eq(tap_add(&config, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, "MTU"), "%s", err.what);
	cr_assert_not(is_there(name));
}

static void check_foreign(const char *kind)
{
	cleanup_free char *make = text_printf("ip link add %s type %s", name, kind);
	cleanup_free char *unmake = text_printf("ip link del %s", name);
	const TapConfig config = owned();
	Error err = { 0 }, other = { 0 };

	run(make);

	cr_expect_eq(tap_remove(name, &err), -1);
	cr_expect_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_expect_not_null(strstr(err.what, name), "%s", err.what);
	cr_expect_eq(tap_add(&config, &other), -1);
	cr_expect_eq(other.kind, ERROR_NETWORK_SETUP);

	cr_expect(is_there(name));
	run(unmake);
}

Test(tap, a_veth_of_that_name_is_not_touched)
{
	check_foreign("veth");
}

Test(tap, a_bridge_of_that_name_is_not_touched)
{
	check_foreign("bridge");
}

/* A device node that every user may open; the directory it is in, to be removed and freed. */
static char *make_node(char **node)
{
	char *dir = text_dup("/tmp/hearth-tap-XXXXXX");

	cr_assert_not_null(mkdtemp(dir));
	*node = text_printf("%s/tun", dir);
	cr_assert_eq(chmod(dir, 0755), 0);
	cr_assert_eq(mknod(*node, S_IFCHR, makedev(TUN_MAJOR, TUN_MINOR)), 0);
	cr_assert_eq(chmod(*node, 0666), 0);
	return dir;
}

Test(tap, only_its_owner_attaches_without_privileges)
{
	cleanup_free char *node = NULL;
	cleanup_free char *dir = make_node(&node);
	const TapConfig config = owned();

	add(&config);

	cr_expect_eq(attach_as(OWNER, node), 0);
	cr_expect_eq(attach_as(STRANGER, node), EPERM);

	cr_assert_eq(file_remove_tree(dir), 0);
}

Test(tap, nobody_attaches_without_privileges_to_a_tap_without_an_owner)
{
	cleanup_free char *node = NULL;
	cleanup_free char *dir = make_node(&node);
	const TapConfig config = { .name = name, .owner = (uid_t)-1 };

	add(&config);

	cr_expect_eq(attach_as(STRANGER, node), EPERM);
	cr_expect_eq(attach_as(0, node), 0);
	check_attribute("mtu", "1500");

	cr_assert_eq(file_remove_tree(dir), 0);
}

Test(tap_name, it_fits_and_tells_vms_and_interfaces_apart)
{
	char first[TAP_NAME_MAX], second[TAP_NAME_MAX];

	tap_name(first, "0123456789abcdef", 0);
	tap_name(second, "0123456789abcdef", 7);

	cr_assert_str_eq(first, "h0123456789ab-0");
	cr_assert_str_eq(second, "h0123456789ab-7");
}
