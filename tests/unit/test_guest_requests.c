/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests that change the guest, each where it harms no host: in namespaces of the test's own.
 */

#include "tests/unit/guest_bench.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char *contents(const Bench *bench, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);
	char *text = NULL;
	struct stat st;

	cr_assert_eq(file_read(&text, NULL, path, 65536), 0, "%s", path);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	return text;
}

static bool is_there(const Bench *bench, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);

	return access(path, F_OK) == 0;
}

static void run(const char *command)
{
	cr_assert_eq(system(command), 0, "%s", command); /* NOLINT(cert-env33-c) */
}

Test(guest_requests, an_environment_is_of_every_command_and_of_shells)
{
	BENCH(bench);
	cleanup_outcome Outcome outcome = { 0 };
	cleanup_free char *file = NULL, *after = NULL;

	say(&bench, "{'id': 1, 'op': 'set_env', 'env': {'A': '1', 'B': 'it\\u0027s\\n2'}}");
	expect_done(&bench, 1);
	say(&bench, "{'id': 2, 'op': 'set_env', 'env': {'A': '3'}}");
	expect_done(&bench, 2);
	outcome = shell(&bench, 3, "echo $A,$B,$C", ", 'env': {'C': 'c'}");
	file = contents(&bench, "env");
	say(&bench, "{'id': 4, 'op': 'set_env', 'env': {'D': ''}, 'replace': true}");
	expect_done(&bench, 4);
	after = contents(&bench, "env");

	cr_assert_str_eq(outcome.output, "3,it's 2,c\n");
	cr_assert_str_eq(file, "A='3'\nB='it'\\''s\n2'\n");
	cr_assert_str_eq(after, "D=''\n");
}

Test(guest_requests, an_environment_is_bounded_and_changes_as_a_whole)
{
	BENCH(bench);
	static char text[16001];

	memset(text, 'x', sizeof text - 1);
	for (int i = 1; i <= 4; i++) {
		say(&bench, "{'id': %d, 'op': 'set_env', 'env': {'A%d': '%s'}}", i, i, text);
		expect_done(&bench, i);
	}
	say(&bench, "{'id': 5, 'op': 'set_env', 'env': {'B': 'b', 'A5': '%s'}}", text);

	expect_error(&bench, 5, "EXHAUSTED", "env");
	cleanup_outcome Outcome outcome = shell(&bench, 6, "echo $B", "");
	cr_assert_str_eq(outcome.output, "\n");
}

Test(guest_requests, secrets_are_files_that_come_and_go)
{
	BENCH(bench);
	cleanup_free char *first = NULL, *second = NULL;

	say(&bench, "{'id': 1, 'op': 'set_secret', 'name': 'a.b', 'data': 'aGVsbG8='}");
	expect_done(&bench, 1);
	first = contents(&bench, "secrets/a.b");
	say(&bench, "{'id': 2, 'op': 'set_secret', 'name': 'a.b', 'data': ''}");
	expect_done(&bench, 2);
	second = contents(&bench, "secrets/a.b");
	say(&bench, "{'id': 3, 'op': 'set_secret', 'name': 'a.b', 'remove': true}");
	say(&bench, "{'id': 4, 'op': 'set_secret', 'name': 'a.b', 'remove': true}");
	expect_done(&bench, 3);
	expect_done(&bench, 4);

	cr_assert_str_eq(first, "hello");
	cr_assert_str_eq(second, "");
	cr_assert_not(is_there(&bench, "secrets/a.b"));
}

Test(guest_requests, a_directory_on_a_disk_gets_a_tmpfs)
{
	BENCH(bench);

	/* The daemon makes it anew for the next secret, in a namespace it shares with nobody. */
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("/var/tmp", bench.dir, NULL, MS_BIND, NULL), 0);
	closep(&bench.fd);
	(void)kill(bench.daemon, SIGTERM);
	(void)waitpid(bench.daemon, NULL, 0);
	bench_start(&bench, false);
	greet(&bench, "second");
	say(&bench, "{'id': 1, 'op': 'set_secret', 'name': 'only-here', 'data': 'AAAA'}");
	expect_done(&bench, 1);

	cr_assert(is_there(&bench, "secrets/only-here"));
	cr_assert_eq(access("/var/tmp/secrets/only-here", F_OK), -1);
}

Test(guest_requests, ready_is_what_somebody_said)
{
	cleanup_(bench_free) Bench bench = bench_new(true);
	const char *bin = getenv("HEARTH_BIN");
	cleanup_free char *command = text_printf("%s/hearth-guest ready --dir %s", bin, bench.dir);
	cleanup_json json_t *before = NULL, *event = NULL, *after = NULL;

	greet(&bench, "first");
	say(&bench, "{'id': 1, 'op': 'ready'}");
	before = answer(&bench, 1);
	run(command);
	event = hear_with(&bench, "event");
	say(&bench, "{'id': 2, 'op': 'ready'}");
	after = answer(&bench, 2);

	cr_assert(json_is_false(json_object_get(before, "ready")));
	cr_assert_str_eq(text_in(event, "event"), "ready");
	cr_assert(json_is_true(json_object_get(after, "ready")));
	closep(&bench.fd);
	(void)kill(bench.daemon, SIGTERM);
	(void)waitpid(bench.daemon, NULL, 0);
	bench_start(&bench, true);
	greet(&bench, "second");
	json_decref(hear_with(&bench, "event"));
}

Test(guest_requests, ready_may_be_said_before_the_daemon_listens)
{
	cleanup_(bench_free) Bench bench = bench_new(true);
	const char *bin = getenv("HEARTH_BIN");
	cleanup_free char *command = text_printf(
		"%s/hearth-guest ready --dir %s && touch %s/said &", bin, bench.dir, bench.dir);

	closep(&bench.fd);
	(void)kill(bench.daemon, SIGTERM);
	(void)waitpid(bench.daemon, NULL, 0);
	run(command);
	(void)usleep(200000);
	bench_start(&bench, true);
	greet(&bench, "second");

	json_decref(hear_with(&bench, "event"));
	for (int i = 0; i < 500 && !is_there(&bench, "said"); i++)
		(void)usleep(10000);
	cr_assert(is_there(&bench, "said"));
}

Test(guest_requests, an_interface_is_set_up_and_its_addresses_replaced)
{
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	run("ip tuntap add eth7 mode tap && ip addr add 10.9.0.1/24 dev eth7 && "
	    "ip addr add 10.9.0.2/24 dev eth7 && ip -6 addr add fd09::1/64 dev eth7 && "
	    "for n in $(seq 100 199); do ip addr add 10.9.1.$n/32 dev eth7; done");
	BENCH(bench);

	say(&bench,
	    "{'id': 1, 'op': 'set_network', 'interface': 'eth7', 'mac': "
	    "'02:00:00:0A:0b:0c', 'mtu': 1400, 'ipv4': '10.9.0.2/24', 'gateway4': '10.9.0.254', "
	    "'ipv6': 'fd08::2/64', 'gateway6': 'fd08::1'}");
	expect_done(&bench, 1);
	run("ip -o link show eth7 | grep -q 'mtu 1400' && ip -o link show eth7 | grep -q "
	    "'02:00:00:0a:0b:0c' && ip -o link show eth7 | grep -q '<.*UP.*>'");
	run("[ \"$(ip -o -4 addr show dev eth7 | wc -l)\" = 1 ] && "
	    "ip -o -4 addr show dev eth7 | grep -q 'inet 10.9.0.2/24'");
	run("ip -o -6 addr show dev eth7 scope global | grep -q 'inet6 fd08::2/64' && "
	    "! ip -o -6 addr show dev eth7 | grep -q fd09");
	run("ip route show default | grep -q 'via 10.9.0.254 dev eth7' && "
	    "ip -6 route show default | grep -q 'via fd08::1 dev eth7'");
	say(&bench, "{'id': 2, 'op': 'set_network', 'interface': 'eth7', 'ipv4': '10.8.0.1/32', "
		    "'gateway4': '192.0.2.1'}");
	expect_done(&bench, 2);
	run("ip route show default | grep -q 'via 192.0.2.1 dev eth7 .*onlink'");
	say(&bench, "{'id': 3, 'op': 'set_network', 'interface': 'eth7', 'mtu': 1}");
	expect_error(&bench, 3, "FAILED", "mtu");
}

Test(guest_requests, stats_are_those_of_the_kernel)
{
	BENCH(bench);
	cleanup_json json_t *object = NULL;
	static const char *const members[] = { "uptime_ms", "memory_total", "memory_available",
					       "processes", "disk_total",   "disk_free" };

	say(&bench, "{'id': 1, 'op': 'stats'}");
	object = answer(&bench, 1);

	for (size_t i = 0; i < array_size(members); i++)
		cr_expect_gt(number_in(object, members[i]), 0, "%s", members[i]);
	cr_expect_geq(number_in(object, "load1_milli"), 0);
}

Test(guest_requests, shutdown_asks_init_first)
{
	/* LeakSanitizer needs a thread, and there is none after unshare(CLONE_NEWPID). */
	if (SANITIZED)
		cr_skip_test("not with sanitizers");
	BENCH(bench);
	cleanup_free char *path = text_printf("%s/poweroff", bench.dir);
	cleanup_free char *own = text_printf("%s:%s", bench.dir, getenv("PATH"));
	cleanup_free char *script = text_printf("#!/bin/sh\necho asked >>%s/asked\n", bench.dir);

	closep(&bench.fd);
	(void)kill(bench.daemon, SIGTERM);
	(void)waitpid(bench.daemon, NULL, 0);
	cr_assert_eq(file_replace(path, script, strlen(script)), 0);
	cr_assert_eq(chmod(path, 0755), 0);
	(void)setenv("PATH", own, 1);
	/* Should all go wrong, it is the init of this namespace that ends, and no host. */
	cr_assert_eq(unshare(CLONE_NEWPID), 0);
	bench_start(&bench, false);
	greet(&bench, "second");
	say(&bench, "{'id': 1, 'op': 'shutdown'}");
	expect_done(&bench, 1);
	for (int i = 0; i < 500 && !is_there(&bench, "asked"); i++)
		(void)usleep(10000);

	cr_assert(is_there(&bench, "asked"));
}

/* A root without any disk of the host's, and a disk of the test's own. Return: is there one? */
static bool enter_disks(void)
{
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	/* NOLINTNEXTLINE(cert-env33-c) */
	if (system("exec 2>/dev/null; f=$(mktemp) && truncate -s 16M $f && mkfs.ext4 -q $f && "
		   "mount -t tmpfs none /mnt && cd /mnt && mkdir -p disk proc dev/shm old && "
		   "mount -o loop $f disk; r=$?; rm -f $f; [ $r = 0 ] && "
		   "mount --bind /proc proc && mount --bind /dev/shm dev/shm") != 0)
		return false;
	cr_assert_eq(syscall(SYS_pivot_root, "/mnt", "/mnt/old"), 0);
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(umount2("/old", MNT_DETACH), 0);
	return true;
}

static void write_to_disk(void)
{
	cleanup_close int fd = open("/disk/x", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
}

Test(guest_requests, file_systems_freeze_until_the_time_is_up_or_thaw)
{
	cleanup_json json_t *frozen = NULL, *thawed = NULL, *again = NULL, *late = NULL;
	int64_t before;

	if (!enter_disks())
		cr_skip_test("no disk can be made here");
	BENCH(bench);

	say(&bench, "{'id': 1, 'op': 'freeze', 'timeout_ms': 30000}");
	frozen = answer(&bench, 1);
	say(&bench, "{'id': 2, 'op': 'freeze'}");
	expect_error(&bench, 2, "EXHAUSTED", "frozen already");
	say(&bench, "{'id': 3, 'op': 'thaw'}");
	thawed = answer(&bench, 3);
	before = clock_mono_us();
	say(&bench, "{'id': 4, 'op': 'freeze', 'timeout_ms': 500}");
	again = answer(&bench, 4);
	write_to_disk();

	cr_assert_geq(clock_mono_us() - before, 400000);
	(void)usleep(200000); /* until the daemon knows */
	say(&bench, "{'id': 5, 'op': 'thaw'}");
	late = answer(&bench, 5);
	cr_assert_eq(number_in(frozen, "frozen"), 1);
	cr_assert_eq(number_in(thawed, "thawed"), 1);
	cr_assert_eq(number_in(again, "frozen"), 1);
	cr_assert_eq(number_in(late, "thawed"), 0);
}

Test(guest_requests, settings_wait_for_no_frozen_disk)
{
	cleanup_json json_t *frozen = NULL, *thawed = NULL;

	if (!enter_disks())
		cr_skip_test("no disk can be made here");
	/* Its directory is on that disk, and has a file system of its own in memory. */
	cleanup_(bench_free) Bench bench = bench_in("/disk", false);
	greet(&bench, "first");

	say(&bench, "{'id': 1, 'op': 'freeze', 'timeout_ms': 30000}");
	frozen = answer(&bench, 1);
	say(&bench, "{'id': 2, 'op': 'set_env', 'env': {'A': 'a'}}");
	expect_done(&bench, 2);
	say(&bench, "{'id': 3, 'op': 'set_secret', 'name': 'a', 'data': 'AAAA'}");
	expect_done(&bench, 3);
	say(&bench, "{'id': 4, 'op': 'thaw'}");
	thawed = answer(&bench, 4);

	cr_assert_eq(number_in(frozen, "frozen"), 1);
	cr_assert_eq(number_in(thawed, "thawed"), 1);
}
