/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <string.h>

/* getopt's tradition: argv is not const, though nobody writes to it. */
static int read_arguments(Config *config, ConfigAction *action, Error *err, int count,
			  const char *const *arguments)
{
	union {
		const char *const *from;
		char *const *to;
	} same = { arguments };

	return config_read(config, action, count, same.to, err);
}

#define READ(config, action, err, ...)                                                \
	read_arguments((config), (action), (err),                                     \
		       (int)array_size(((const char *[]){ "hearthd", __VA_ARGS__ })), \
		       (const char *[]){ "hearthd", __VA_ARGS__ })

static int read_text(Config *config, const char *text, Error *err)
{
	return config_read_text(config, text, strlen(text), "test.yaml", err);
}

Test(config, without_file_and_flags_has_the_built_in_values)
{
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action = CONFIG_HELP;
	Error err = { 0 };

	int r = READ(&config, &action, &err, "--check");

	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert_eq(action, CONFIG_CHECK);
	cr_assert_str_eq(config.state_dir, "/var/lib/hearth");
	cr_assert_eq(config.listen.count, 1);
	cr_assert_str_eq(config.listen.items[0], "unix:/run/hearth/hearth.sock");
	cr_assert_str_eq(config.backend, "qemu");
	cr_assert_str_eq(config.firecracker_binary, "firecracker");
	cr_assert_eq(config.drain_timeout, 20); /* the last key */
	cr_assert_eq(config.max_vms, 10000);
	cr_assert_eq(config.pollers, 2);
	cr_assert_eq(config.message_bytes, 1048576);
	cr_assert(*config.node_id);
}

Test(config, finds_the_keeper_beside_its_own_program)
{
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action;
	Error err = { 0 };

	int r = READ(&config, &action, &err, "--check");

	cr_assert_eq(r, 0);
	cr_assert_eq(config.keeper[0], '/');
	cr_assert_str_eq(strrchr(config.keeper, '/'), "/hearth-keeper");
}

Test(config, takes_every_kind_of_value_from_a_file)
{
	cleanup_(config_clear) Config config = { 0 };
	Error err = { 0 };

	int r = read_text(&config,
			  "node_id: n1\nstate_dir: /s\nlisten: [\"unix:/a\", \"127.0.0.1:1\"]\n"
			  "qemu: {accelerator: tcg}\nfirecracker: {binary: /f}\nlimits:\n  "
			  "max_vms: 7\nlog: {format: json}\n",
			  &err);

	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert_str_eq(config.node_id, "n1");
	cr_assert_str_eq(config.state_dir, "/s");
	cr_assert_eq(config.listen.count, 2);
	cr_assert_str_eq(config.listen.items[1], "127.0.0.1:1");
	cr_assert_str_eq(config.qemu_accelerator, "tcg");
	cr_assert_str_eq(config.firecracker_binary, "/f");
	cr_assert_eq(config.max_vms, 7);
	cr_assert_str_eq(config.log_format, "json");
}

Test(config, takes_a_file_of_comments_for_nothing_said)
{
	cleanup_(config_clear) Config config = { 0 };
	Error err = { 0 };

	cr_assert_eq(read_text(&config, "", &err), 0);
	cr_assert_eq(read_text(&config, "# all\n\n  # default\n", &err), 0);
}

Test(config, prefers_a_flag_to_the_file_wherever_it_stands)
{
	char path[] = "/tmp/hearth-test-config-XXXXXX";
	cleanup_close int fd = mkstemp(path);
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action;
	Error err = { 0 };
	int r;

	cr_assert_gt(dprintf(fd, "state_dir: /file\nhistory: 99\nlisten: [\"unix:/file\"]\n"), 0);

	r = READ(&config, &action, &err, "--state-dir", "/flag", "--config", path,
		 "--listen=unix:/one", "--listen", "h:2");

	(void)unlink(path);
	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert_str_eq(config.state_dir, "/flag");
	cr_assert_eq(config.history, 99);
	cr_assert_eq(config.listen.count, 2);
	cr_assert_str_eq(config.listen.items[0], "unix:/one");
	cr_assert_str_eq(config.listen.items[1], "h:2");
}

Test(config, takes_one_to_sixteen_pollers)
{
	static const struct {
		const char *text;
		int result;
	} rows[] = {
		{ "limits: {pollers: 0}", -1 },
		{ "limits: {pollers: 1}", 0 },
		{ "limits: {pollers: 16}", 0 },
		{ "limits: {pollers: 17}", -1 },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_(config_clear) Config config = { 0 };
		Error err = { 0 };

		int r = read_text(&config, rows[i].text, &err);

		cr_assert_eq(r, rows[i].result, "%s: %s", rows[i].text, err.what);
	}
}

Test(config, names_every_value_that_is_out_of_range_at_once)
{
	cleanup_(config_clear) Config config = { 0 };
	Error err = { 0 };

	int r = read_text(&config,
			  "state_dir: here\nbackend: xen\nlimits: {max_vms: 0, max_calls: x}\n"
			  "listen: [\"nowhere\"]\nhistory: 18446744073709551616\n",
			  &err);

	cr_assert_eq(r, -1);
	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_eq(err.violation_count, 6);
	cr_assert(strstr(err.what, "state_dir: 'here' is not an absolute path"));
	cr_assert(strstr(err.what, "backend: 'xen' is not one of in_memory|qemu"));
	cr_assert(strstr(err.what, "limits.max_vms: 0 is not in 1 to 1000000"));
	cr_assert(strstr(err.what, "limits.max_calls: 'x' is not a whole number"));
	cr_assert(strstr(err.what, "listen: 'nowhere'"));
	cr_assert(strstr(err.what, "history: 18446744073709551616 is not in"));
}

Test(config, names_key_and_line_where_a_file_has_another_shape)
{
	static const struct {
		const char *text, *word, *line;
	} rows[] = {
		{ "limits:\n  max_vmss: 7\n", "max_vmss", "line: 2" },
		{ "nodeid: x\n", "nodeid", "line: 1" },
		{ "limits: 3\n", "limits", "line: 1" },
		{ "a: b\n- c\n", "", "" },
		{ "log:\n  level: [info]\n", "level", "line: 2" },
		{ "state_dir: /a\nstate_dir: /b\n", "state_dir", "" },
		{ "a: &x 1\nb: *x\n", "", "" },
		{ "[1]\n", "", "" },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_(config_clear) Config config = { 0 };
		Error err = { 0 };

		int r = read_text(&config, rows[i].text, &err);

		cr_assert_eq(r, -1, "%s", rows[i].text);
		cr_assert(strstr(err.what, rows[i].word), "%s: %s", rows[i].text, err.what);
		cr_assert(strstr(err.what, rows[i].line), "%s: %s", rows[i].text, err.what);
		cr_assert(strstr(err.what, "test.yaml"));
	}
}

Test(config, refuses_flags_that_it_does_not_know_or_that_lack_a_value)
{
	static const char *const rows[] = { "--foo",
					    "foo",
					    "--",
					    "-h",
					    "--listen",
					    "--help=1",
					    "--limits-max-vms=x",
					    "--limits.max-vms=1",
					    "--config" };

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_(config_clear) Config config = { 0 };
		ConfigAction action;
		Error err = { 0 };

		int r = READ(&config, &action, &err, rows[i]);

		cr_assert_eq(r, -1, "%s", rows[i]);
		cr_assert(*err.what);
	}
}

Test(config, refuses_a_file_that_is_missing_or_has_a_nul)
{
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action;
	Error missing = { 0 }, nul = { 0 };

	cr_assert_eq(READ(&config, &action, &missing, "--config", "/nonexistent/x.yaml"), -1);
	cr_assert_eq(config_read_text(&config, "history: 9\0 9", 13, "n", &nul), -1);

	cr_assert(strstr(missing.what, "/nonexistent/x.yaml"));
	cr_assert(strstr(nul.what, "NUL"));
}

Test(config, knows_its_actions)
{
	cleanup_(config_clear) Config a = { 0 }, b = { 0 }, c = { 0 };
	ConfigAction help, version, check;
	Error err = { 0 };

	cr_assert_eq(READ(&a, &help, &err, "--help"), 0);
	cr_assert_eq(READ(&b, &version, &err, "--version"), 0);
	cr_assert_eq(READ(&c, &check, &err, "--check", "--backend", "in_memory"), 0);

	cr_assert_eq(help, CONFIG_HELP);
	cr_assert_eq(version, CONFIG_VERSION);
	cr_assert_eq(check, CONFIG_CHECK);
	cr_assert_str_eq(c.backend, "in_memory");
}

Test(config, explains_every_key_in_help)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	config_print_help(to);
	cr_assert_eq(fclose(to), 0);

	cr_assert(strstr(text, "--limits-max-vms N   [limits.max_vms]"));
	cr_assert(strstr(text, "--backend in_memory|qemu"));
	cr_assert(strstr(text, "--listen"));
	cr_assert(strstr(text, "(default: /var/lib/hearth)"));
}

Test(config, jails_are_on_and_below_the_state_directory_unless_said_otherwise)
{
	cleanup_(config_clear) Config config = { 0 }, other = { 0 };
	ConfigAction action;
	Error err = { 0 };

	cr_assert_eq(READ(&config, &action, &err, "--check", "--state-dir", "/s"), 0, "%s",
		     err.what);
	cr_assert_eq(READ(&other, &action, &err, "--check", "--jailer-mode", "off", "--jailer-dir",
			  "/j"),
		     0, "%s", err.what);

	cr_assert_str_eq(config.jailer_mode, "on");
	cr_assert_str_eq(config.jailer_dir, "/s/jail");
	cr_assert_str_eq(config.jailer_cgroup, "hearth");
	cr_assert_eq(config.jailer_first_uid, 1900000000);
	cr_assert_eq(config.jailer_uid_count, 65536);
	cr_assert_str_eq(config.image_dirs, "/");
	cr_assert_str_eq(other.jailer_mode, "off");
	cr_assert_str_eq(other.jailer_dir, "/j");
}

static void check_bad_flag(const char *flag, const char *value, const char *key)
{
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action;
	Error err = { 0 };

	cr_assert_eq(READ(&config, &action, &err, "--check", flag, value), -1, "%s", value);
	cr_assert_not_null(strstr(err.what, key), "%s: %s", value, err.what);
}

Test(config, jails_outside_of_what_can_be_are_refused)
{
	check_bad_flag("--jailer-cgroup", "a/b", "jailer.cgroup");
	check_bad_flag("--jailer-cgroup", "..", "jailer.cgroup");
	check_bad_flag("--jailer-first-uid", "0", "jailer.first_uid");
	check_bad_flag("--jailer-uid-count", "1", "jailer.uid_count");
	check_bad_flag("--jailer-mode", "maybe", "jailer.mode");
	check_bad_flag("--image-dirs", "/a:b", "image_dirs");
	check_bad_flag("--image-dirs", "/a::/b", "image_dirs");
}

Test(config, a_network_is_off_and_its_pools_are_there_all_the_same)
{
	cleanup_(config_clear) Config config = { 0 };
	NetworkConfig network = { .max_vms = 0 };
	ConfigAction action;
	Error err = { 0 };

	cr_assert_eq(READ(&config, &action, &err, "--check", "--limits-max-vms", "7"), 0, "%s",
		     err.what);
	cr_assert_eq(config_network(&config, &network, &err), 0);

	cr_assert_str_eq(config.network_mode, "off");
	cr_assert_eq(network.max_vms, 7);
	cr_assert_eq(network.pool4.family, 4);
	cr_assert_eq(network.pool4.length, 16);
	cr_assert_eq(network.pool6.family, 6);
	cr_assert_eq(network.pool6.length, 64);
	cr_assert_null(network.uplink);
	cr_assert_eq(network.enforcement, VM_ENFORCEMENT_UNSET);
	cr_assert_eq(network.new_flows, 1000);
}

Test(config, a_network_is_read_in_whole)
{
	cleanup_(config_clear) Config config = { 0 };
	NetworkConfig network = { .max_vms = 0 };
	ConfigAction action;
	Error err = { 0 };
	size_t builtin;

	cr_assert_eq(READ(&config, &action, &err, "--check", "--network-mode", "routed",
			  "--network-pool4", "10.0.0.0/24", "--network-pool6", "none",
			  "--network-uplink", "eth0", "--network-enforcement", "iptables",
			  "--network-denied", "10.0.0.0/8,2001:db8::/32", "--network-resolvers",
			  "192.0.2.53,2001:db8::53", "--network-new-flows-per-second", "0"),
		     0, "%s", err.what);
	cr_assert_eq(config_network(&config, &network, &err), 0);

	cr_assert_eq(network.pool4.length, 24);
	cr_assert_eq(network.pool6.family, 0);
	cr_assert_str_eq(network.uplink, "eth0");
	cr_assert_eq(network.enforcement, VM_ENFORCEMENT_IPTABLES);
	cr_assert_eq(network.new_flows, 0);
	cr_assert_eq(network.resolver_count, 2);
	cr_assert_eq(network.resolvers[1].family, 6);
	cr_assert_not(network.host_resolvers);
	cr_assert_eq(network.denied[0].length, 8);
	cr_assert_eq(network.denied[1].family, 6);
	builtin = network.denied_count - 2;
	cr_assert_gt(builtin, 2);
	cr_assert_eq(prefix_compare(&network.denied[network.denied_count - 1], &network.pool4), 0);
}

Test(config, networks_that_cannot_be_are_refused)
{
	check_bad_flag("--network-mode", "bridge", "network.bridge: mode bridge needs one");
	check_bad_flag("--network-bridge", "br0", "network.bridge: only with network.mode bridge");
	check_bad_flag("--network-gateway4", "10.0.0.1/24", "network.gateway4: only with");
	check_bad_flag("--network-mode", "on", "network.mode");
	check_bad_flag("--network-pool4", "10.0.0.0", "network.pool4");
	check_bad_flag("--network-pool4", "10.0.0.1/24", "network.pool4: '10.0.0.1/24': host bits");
	check_bad_flag("--network-pool4", "10.0.0.0/33", "network.pool4");
	check_bad_flag("--network-pool4", "10.0.0.0/31", "network.pool4: is too small");
	check_bad_flag("--network-pool4", "10.0.0.0/7", "network.pool4: is too large");
	check_bad_flag("--network-pool4", "fd00::/64", "network.pool4");
	check_bad_flag("--network-pool4", "169.254.0.0/17", "network.pool4: overlaps");
	check_bad_flag("--network-pool4", "224.0.0.0/16", "network.pool4: overlaps");
	check_bad_flag("--network-pool6", "fe80::/64", "network.pool6: overlaps");
	check_bad_flag("--network-pool6", "fd00::/127", "network.pool6: is too small");
	check_bad_flag("--network-uplink", "a/b", "network.uplink");
	check_bad_flag("--network-uplink", "0123456789abcdef", "network.uplink");
	check_bad_flag("--network-enforcement", "nft", "network.enforcement");
	check_bad_flag("--network-denied", "10.0.0.0/8,", "network.denied");
	check_bad_flag("--network-denied", "10.0.0.0/8,10.1.2.3", "network.denied: '10.1.2.3'");
	check_bad_flag("--network-resolvers", "localhost", "network.resolvers: 'localhost'");
	check_bad_flag("--network-resolvers", "192.0.2.1,", "network.resolvers");
	check_bad_flag("--network-resolvers", "192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4",
		       "network.resolvers: more than 3");
	check_bad_flag("--network-new-flows-per-second", "1000001", "new_flows_per_second");
}

Test(config, a_bridges_network_is_read)
{
	cleanup_(config_clear) Config config = { 0 };
	NetworkConfig network = { .max_vms = 0 };
	ConfigAction action;
	Error err = { 0 };
	char text[PREFIX_TEXT_MAX];

	cr_assert_eq(READ(&config, &action, &err, "--check", "--network-mode", "bridge",
			  "--network-bridge", "br0", "--network-pool4", "192.168.1.128/25",
			  "--network-gateway4", "192.168.1.1/24", "--network-pool6", "none"),
		     0, "%s", err.what);
	cr_assert_eq(config_network(&config, &network, &err), 0);

	cr_assert_str_eq(network.bridge, "br0");
	cr_assert_str_eq(prefix_format(&network.gateway4, text), "192.168.1.1/32");
	cr_assert_eq(network.length4, 24);
	cr_assert_eq(network.gateway6.family, 0);
}

/* A bridge with @flag, which is refused. */
static void check_bad_bridge(const char *flag, const char *value, const char *problem)
{
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action;
	Error err = { 0 };

	cr_assert_eq(READ(&config, &action, &err, "--check", "--network-mode", "bridge",
			  "--network-bridge", "br0", "--network-pool4", "192.168.1.0/24",
			  "--network-pool6", "fd01::/64", flag, value),
		     -1, "%s %s", flag, value);
	cr_assert(strstr(err.what, problem), "%s: %s", problem, err.what);
}

Test(config, a_bridges_network_that_cannot_be_is_refused)
{
	check_bad_bridge("--network-bridge", "a/b", "network.bridge: 'a/b' is no name");
	check_bad_bridge("--network-bridge", "hbr0", "network.bridge: must not begin with 'h'");
	check_bad_bridge("--network-bridge", "none", "network.bridge: mode bridge needs one");
	check_bad_bridge("--network-pool4", "none", "network.pool4: mode bridge needs one");
	check_bad_bridge("--network-uplink", "eth0", "network.uplink: not with");
	check_bad_bridge("--network-resolvers", "192.0.2.1", "network.resolvers: not with");
	check_bad_bridge("--network-gateway4", "192.168.1.1", "network.gateway4: '192.168.1.1'");
	check_bad_bridge("--network-gateway4", "192.168.1.1/33", "network.gateway4: ");
	check_bad_bridge("--network-gateway4", "fd01::1/64", "no ADDRESS/LENGTH of IPv4");
	check_bad_bridge("--network-gateway4", "192.168.1.0/24", "is the network, and no address");
	check_bad_bridge("--network-gateway4", "192.168.2.1/24", "network.pool4 does not lie in");
	check_bad_bridge("--network-gateway4", "192.168.1.7/24", "and not its first address");
	check_bad_bridge("--network-gateway6", "fd02::1/64", "network.pool6 does not lie in");
}

Test(config, a_routed_network_has_room_for_so_many_vms)
{
	cleanup_(config_clear) Config most = { 0 }, more = { 0 };
	ConfigAction action;
	Error none = { 0 }, err = { 0 };

	cr_assert_eq(READ(&most, &action, &none, "--check", "--network-mode", "routed",
			  "--limits-max-vms", "65535"),
		     0, "%s", none.what);
	cr_assert_eq(READ(&more, &action, &err, "--check", "--network-mode", "routed",
			  "--limits-max-vms", "65536"),
		     -1);

	cr_assert_not_null(strstr(err.what, "limits.max_vms"), "%s", err.what);
}

Test(config, a_routed_network_needs_a_pool)
{
	cleanup_(config_clear) Config config = { 0 };
	ConfigAction action;
	Error err = { 0 };

	cr_assert_eq(READ(&config, &action, &err, "--check", "--network-mode", "routed",
			  "--network-pool4", "none", "--network-pool6", "none"),
		     -1);

	cr_assert_not_null(strstr(err.what, "network.pool4"), "%s", err.what);
}
