/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The network of VMs on a host of the test's own: namespaces with a real tap, whose other end the
 * test is, and a real filter.
 */

#include "base/clock.h"
#include "base/text.h"
#include "netfw/filter_maps.h"
#include "netfw/link.h"
#include "netfw/tap.h"
#include "runtime/network_host.h"
#include "runtime/vm_taps.h"
#include "tests/support/lone_job.h"
#include "tests/support/net.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>

enum {
	WAIT = 20 * USEC_PER_SEC,
	ALLOWED_PORT = 53,
	OTHER_PORT = 54,
};

static const char instance[] = "0123456789abcdef";
static const char world[] = "192.0.2.10";

#define SPEC(rules)                                                                                \
	"{\"network_interfaces\": [{\"interface_id\": \"eth0\"}], \"egress\": {\"rules\": [" rules \
	"]}}"
#define RULE(cidr) \
	"{\"to\": [{\"cidr\": \"" cidr "\"}], \"ports\": [{\"protocol\": \"udp\", \"port\": 53}]}"

typedef struct Host {
	Network *network;
	NetworkConfig config;
	VmSpec *spec;
	VmResolved *resolved;
	Job job;
} Host;

static void open_network(Host *host)
{
	Error err = { 0 };

	cr_assert_eq(network_host_open(&host->network, &host->config, &err), 0, "%s", err.what);
}

/* @bridge: NULL: routed. */
static void set_up_on(Host *host, const char *bridge, const char *spec)
{
	VmResolvedInterface *interface;

	if (!net_available()) {
		(void)fprintf(stderr, "skipped: needs root and taps\n");
		cr_skip_test("needs root and taps");
	}
	net_enter();
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), 0);
	*host = (Host){ .config = { .max_vms = 8, .bridge = bridge } };
	if (bridge)
		net_run("ip link add %s type bridge; ip link set %s up", bridge, bridge);
	cr_assert_eq(prefix_parse(&host->config.pool4, "10.200.0.0/16"), 0);
	network_own_gateways(&host->config);
	network_deny_builtin(&host->config);
	open_network(host);

	host->spec = spec_from_text(spec);
	host->resolved = new0(VmResolved);
	host->resolved->instance_id = text_dup(instance);
	host->resolved->network_slot = 1;
	interface = record_interface(host->resolved, "eth0");
	interface->guest_mac = text_dup("02:68:74:00:00:01");
	interface->ipv4_address = text_dup("10.200.0.2");
	interface->ipv4_gateway = text_dup("10.200.0.1");
	host->job = (Job){
		.vm_id = "vm", .spec = host->spec, .resolved = host->resolved, .cancel_fd = -1
	};
}

static void set_up(Host *host, const char *spec)
{
	set_up_on(host, NULL, spec);
}

static void tear_down(Host *host)
{
	network_free(host->network);
	spec_unref(host->spec);
	fields_clear(&vm_resolved_table, host->resolved);
	free(host->resolved);
}

static void attach(Host *host)
{
	Error err = { 0 };

	cr_assert_eq(vm_taps_add(&host->job, (uid_t)-1, &err), 0, "%s", err.what);
	cr_assert_eq(network_attach(host->network, &host->job, &err), 0, "%s", err.what);
}

static int explain(Host *host, const char *address, uint16_t port)
{
	NetworkProbe probe = { .protocol = EGRESS_UDP, .port = port };
	Error err = { 0 };
	int verdict = -1;

	cr_assert_eq(prefix_parse_address(&probe.address, address), 0);
	cr_assert_eq(
		host->network->ops->explain(host->network, host->resolved, &probe, &verdict, &err),
		0, "%s", err.what);
	return verdict;
}

static char *tap_of(void)
{
	char name[TAP_NAME_MAX];

	tap_name(name, instance, 0);
	return text_dup(name);
}

Test(network_host, a_vms_tap_is_up_routed_and_held_to_its_policy)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *tap = tap_of(), *link = NULL, *route = NULL;

	set_up(&host, SPEC(RULE("192.0.2.0/24")));

	attach(&host);

	link = net_says("ip -br link show %s", tap);
	route = net_says("ip route show 10.200.0.2");
	cr_assert_not_null(strstr(link, "02:68:74:ff:ff:fe"), "%s", link);
	cr_assert_not_null(strstr(route, tap), "%s", route);
	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_PASS_POLICY);
	cr_assert_eq(explain(&host, world, OTHER_PORT), FILTER_DROP_POLICY);
	cr_assert_eq(network_interface(host.resolved)->enforcement, VM_ENFORCEMENT_BPF);
}

Test(network_host, a_tap_on_a_bridge_is_held_to_its_policy_as_well)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *tap = tap_of(), *link = NULL, *left = NULL;
	char said[256] = "";
	Error err = { 0 };

	set_up_on(&host, "br0", SPEC(RULE("192.0.2.0/24")));

	attach(&host);

	link = net_says("ip link show %s", tap);
	cr_assert_not_null(strstr(link, "master br0"), "%s", link);
	cr_assert_not_null(strstr(link, "fe:68:74:00:00:01"), "%s", link);
	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_PASS_POLICY);
	cr_assert_eq(explain(&host, world, OTHER_PORT), FILTER_DROP_POLICY);
	cr_assert_eq(host.network->ops->look(host.network, said, sizeof said, &err), 0);
	cr_assert_not_null(strstr(said, "bridge br0"), "%s", said);
	cr_assert_eq(network_detach(host.network, instance, &err), 0);
	left = net_says("ip link show master br0");
	cr_assert_str_eq(left, "");
	net_run("ip link del br0");
	cr_assert_eq(host.network->ops->look(host.network, said, sizeof said, &err), -1);
	cr_assert_str_eq(err.what, "there is no bridge br0");
}

Test(network_host, without_its_bridge_there_is_no_network)
{
	NetworkConfig config = { .max_vms = 8, .bridge = "br0" };
	Network *network = NULL;
	Error err = { 0 };

	if (!net_available())
		cr_skip_test("needs root and taps");
	net_enter();

	cr_assert_eq(network_host_open(&network, &config, &err), -1);
	cr_assert_str_eq(err.what, "there is no bridge br0");
}

Test(network_host, a_pool_with_an_address_of_the_host_is_refused)
{
	NetworkConfig config = { .max_vms = 8 };
	Network *network = NULL;
	Error err = { 0 };

	if (!net_available())
		cr_skip_test("needs root and taps");
	net_enter();
	net_run("ip addr add 10.200.3.1/24 dev lo");
	cr_assert_eq(prefix_parse(&config.pool4, "10.200.0.0/16"), 0);
	network_own_gateways(&config);

	cr_assert_eq(network_host_open(&network, &config, &err), -1);
	cr_assert_eq(err.kind, ERROR_NETWORK_CONFIG);
	cr_assert(strstr(err.what, "network.pool4: 10.200.0.0/16 holds an address of this host, "
				   "10.200.3.1"),
		  "%s", err.what);
}

Test(network_host, the_host_itself_is_reached_by_naming_it_alone)
{
	cleanup_(tear_down) Host host;
	VmSpec *named;
	Error err = { 0 };

	set_up(&host, SPEC(RULE("0.0.0.0/0")));
	net_run("ip addr add 198.51.100.7/24 dev lo");
	network_free(host.network); /* an agent knows the addresses that it found */
	open_network(&host);
	attach(&host);

	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_PASS_POLICY);
	cr_assert_eq(explain(&host, "198.51.100.7", ALLOWED_PORT), FILTER_DROP_POLICY);
	cr_assert_eq(explain(&host, "10.200.0.9", ALLOWED_PORT), FILTER_DROP_POLICY);
	named = spec_from_text(SPEC(RULE("198.51.100.7/32")));
	cr_assert_eq(network_set_policy(host.network, host.resolved, named, &err), 0, "%s",
		     err.what);
	cr_assert_eq(explain(&host, "198.51.100.7", ALLOWED_PORT), FILTER_PASS_POLICY);
	spec_unref(named);
}

/* Until port 53 of @address is answered with @verdict. */
static void wait_for(Host *host, const char *address, int verdict)
{
	int64_t deadline = clock_mono_us() + WAIT;

	while (explain(host, address, ALLOWED_PORT) != verdict && clock_mono_us() < deadline)
		clock_sleep_us(INT64_C(50) * USEC_PER_MSEC);
	cr_assert_eq(explain(host, address, ALLOWED_PORT), verdict);
}

Test(network_host, an_address_that_the_host_gets_later_is_denied_and_one_that_goes_is_not)
{
	cleanup_(tear_down) Host host;
	VmSpec *to;
	Error err = { 0 };

	set_up(&host, SPEC(RULE("0.0.0.0/0")));
	attach(&host);
	cr_assert_eq(explain(&host, "198.51.100.7", ALLOWED_PORT), FILTER_PASS_POLICY);

	net_run("ip addr add 198.51.100.7/24 dev lo");

	wait_for(&host, "198.51.100.7", FILTER_DROP_POLICY);
	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_PASS_POLICY);
	to = spec_from_text(SPEC(RULE("198.51.0.0/16")));
	cr_assert_eq(network_set_policy(host.network, host.resolved, to, &err), 0, "%s", err.what);
	cr_assert_eq(explain(&host, "198.51.100.7", ALLOWED_PORT), FILTER_DROP_POLICY);
	net_run("ip addr del 198.51.100.7/24 dev lo");
	wait_for(&host, "198.51.100.7", FILTER_PASS_POLICY);
	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_DROP_POLICY);
	spec_unref(to);
}

typedef struct Marks {
	unsigned count;
	char last[20];
} Marks;

static void note(void *user, const char *mark)
{
	Marks *marks = user;

	marks->count++;
	(void)snprintf(marks->last, sizeof marks->last, "%s", mark);
}

Test(network_host, taps_of_our_group_are_found_and_others_are_not)
{
	cleanup_(tear_down) Host host;
	Marks marks = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	attach(&host);
	net_run("ip tuntap add haaaaaaaaaaaa-0 mode tap"); /* not in our group */
	net_run("ip tuntap add tap7 mode tap && ip link set tap7 group 0x6874");

	host.network->ops->find(host.network, note, &marks);

	cr_assert_eq(marks.count, 1);
	cr_assert_str_eq(marks.last, "0123456789ab");
}

Test(network_host, a_vm_whose_tap_is_gone_is_forgotten)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *tap = tap_of();
	Marks marks = { 0 };
	NetworkProbe probe = { .protocol = EGRESS_UDP, .port = ALLOWED_PORT };
	Error err = { 0 };
	uint32_t gone;
	int verdict;

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	attach(&host);
	gone = link_index(tap);
	net_run("ip link del %s", tap);

	host.network->ops->find(host.network, note, &marks);

	cr_assert_eq(marks.count, 0);
	/* A tap that gets the number is no VM's. */
	net_run("ip link add name %s index %u type veth", tap, gone);
	cr_assert_eq(prefix_parse_address(&probe.address, world), 0);
	cr_assert_eq(
		host.network->ops->explain(host.network, host.resolved, &probe, &verdict, &err),
		-1);
	cr_assert_eq(err.kind, ERROR_FIREWALL);
}

Test(network_host, a_policy_is_exchanged_while_the_vm_runs)
{
	cleanup_(tear_down) Host host;
	VmSpec *to;
	Error err = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	attach(&host);
	to = spec_from_text(SPEC(RULE("203.0.113.0/24")));

	cr_assert_eq(network_set_policy(host.network, host.resolved, to, &err), 0, "%s", err.what);

	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_DROP_POLICY);
	cr_assert_eq(explain(&host, "203.0.113.1", ALLOWED_PORT), FILTER_PASS_POLICY);
	spec_unref(to);
}

Test(network_host, the_next_agent_takes_over_what_runs)
{
	cleanup_(tear_down) Host host;
	NetworkCounters before = { 0 }, after = { 0 };
	cleanup_free char *tap = tap_of();
	cleanup_close int guest = -1;
	Error err = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	attach(&host);
	guest = net_attach(tap);
	net_send(guest, &(NetUdp){ .from = "10.200.0.2", .to = world, .port = OTHER_PORT });
	cr_assert_eq(host.network->ops->counters(host.network, host.resolved, &before, &err), 0);

	network_free(host.network);
	open_network(&host);
	cr_assert_eq(network_attach(host.network, &host.job, &err), 0, "%s", err.what);

	cr_assert_eq(host.network->ops->counters(host.network, host.resolved, &after, &err), 0);
	cr_assert_eq(explain(&host, world, ALLOWED_PORT), FILTER_PASS_POLICY);
	cr_assert_eq(memcmp(&before, &after, sizeof before), 0);
}

Test(network_host, a_vm_that_is_detached_and_its_tap_leave_nothing)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *tap = tap_of(), *links = NULL, *routes = NULL;
	Error err = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	attach(&host);

	cr_assert_eq(vm_taps_remove(host.network, instance, &err), 0, "%s", err.what);

	links = net_says("ip -br link");
	routes = net_says("ip route");
	cr_assert_null(strstr(links, tap), "%s", links);
	cr_assert_null(strstr(routes, "10.200.0.2"), "%s", routes);
	cr_assert_eq(vm_taps_remove(host.network, instance, &err), 0, "once more: %s", err.what);
}

Test(network_host, one_whose_tap_is_not_there_is_not_attached)
{
	cleanup_(tear_down) Host host;
	VmResolvedInterface *interface;
	Error err = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	interface = network_interface(host.resolved);
	interface->host_device = text_dup("hnone-0");

	cr_assert_eq(network_attach(host.network, &host.job, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, "hnone-0"), "%s", err.what);
}

typedef struct Told {
	atomic_uint count;
	NetworkEvent last;
} Told;

static void take(void *user, const NetworkEvent *event)
{
	Told *told = user;

	told->last = *event;
	atomic_fetch_add(&told->count, 1);
}

Test(network_host, a_denied_packet_is_told_of)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *tap = tap_of();
	cleanup_close int guest = -1;
	int64_t began = clock_wall_us(), deadline = clock_mono_us() + WAIT;
	Told told = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	attach(&host);
	host.network->ops->watch(host.network, take, &told);
	guest = net_attach(tap);

	while (!atomic_load(&told.count) && clock_mono_us() < deadline) {
		net_send(guest, &(NetUdp){ .from = "10.200.0.2", .to = world, .port = OTHER_PORT });
		clock_sleep_us(INT64_C(10) * USEC_PER_MSEC);
	}
	host.network->ops->watch(host.network, NULL, NULL);

	cr_assert_gt(atomic_load(&told.count), 0);
	cr_assert_eq(told.last.slot, 1);
	cr_assert_geq(told.last.time, began - USEC_PER_SEC);
	cr_assert_leq(told.last.time, clock_wall_us() + USEC_PER_SEC);
	cr_assert_geq(told.last.verdict, FILTER_FIRST_DROP);
}

Test(network_host, what_others_take_away_is_missed)
{
	cleanup_(tear_down) Host host;
	char words[200];
	Error err = { 0 };

	set_up(&host, SPEC(RULE("192.0.2.0/24")));
	cr_assert_eq(host.network->ops->look(host.network, words, sizeof words, &err), 0, "%s",
		     err.what);
	cr_assert_not_null(strstr(words, "dropped 0 packets"), "%s", words);

	net_run("nft delete table bridge hearth");

	cr_assert_eq(host.network->ops->look(host.network, words, sizeof words, &err), -1);
	cr_assert_eq(err.kind, ERROR_FIREWALL);
}
