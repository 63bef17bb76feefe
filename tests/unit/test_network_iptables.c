/* SPDX-License-Identifier: Apache-2.0 */

/* The fallback: iptables in a network namespace of the test's own, with a real tap. */

#include "base/text.h"
#include "netfw/tap.h"
#include "runtime/network_iptables.h"
#include "runtime/vm_taps.h"
#include "tests/support/lone_job.h"
#include "tests/support/net.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <string.h>

static const char instance[] = "0123456789abcdef";

#define SPEC(cidr)                                                                           \
	"{\"network_interfaces\": [{\"interface_id\": \"eth0\"}], \"egress\": {\"rules\": [" \
	"{\"to\": [{\"cidr\": \"" cidr "\"}]}]}}"

typedef struct Host {
	Network *network;
	VmSpec *spec;
	VmResolved *resolved;
	Job job;
} Host;

static void set_up(Host *host, const char *spec)
{
	NetworkConfig config = { .max_vms = 8 };
	VmResolvedInterface *interface;
	Error err = { 0 };

	if (!net_available()) {
		(void)fprintf(stderr, "skipped: needs root and taps\n");
		cr_skip_test("needs root and taps");
	}
	net_enter();
	cr_assert_eq(prefix_parse(&config.pool4, "10.200.0.0/16"), 0);
	network_own_gateways(&config);
	*host = (Host){ .spec = spec_from_text(spec), .resolved = new0(VmResolved) };
	cr_assert_eq(network_iptables_open(&host->network, &config, &err), 0, "%s", err.what);
	host->resolved->instance_id = text_dup(instance);
	host->resolved->network_slot = 1;
	interface = record_interface(host->resolved, "eth0");
	interface->guest_mac = text_dup("02:68:74:00:00:01");
	interface->ipv4_address = text_dup("10.200.0.2");
	host->job = (Job){
		.vm_id = "vm", .spec = host->spec, .resolved = host->resolved, .cancel_fd = -1
	};
	cr_assert_eq(vm_taps_add(&host->job, (uid_t)-1, &err), 0, "%s", err.what);
}

static void tear_down(Host *host)
{
	network_free(host->network);
	spec_unref(host->spec);
	fields_clear(&vm_resolved_table, host->resolved);
	free(host->resolved);
}

Test(network_iptables, a_vm_has_rules_before_its_tap_is_up_and_none_once_it_has_gone)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *with = NULL, *links = NULL, *without = NULL;
	Error err = { 0 };

	set_up(&host, SPEC("192.0.2.0/24"));

	cr_assert_eq(network_attach(host.network, &host.job, &err), 0, "%s", err.what);

	with = net_says("iptables-save");
	links = net_says("ip -br link");
	cr_assert_not_null(strstr(with, "-d 192.0.2.0/24"), "%s", with);
	cr_assert_not_null(strstr(links, "h0123456789ab-0"), "%s", links);
	cr_assert_eq(network_interface(host.resolved)->enforcement, VM_ENFORCEMENT_IPTABLES);
	cr_assert_eq(vm_taps_remove(host.network, instance, &err), 0, "%s", err.what);
	without = net_says("iptables-save; ip6tables-save");
	cr_assert_null(strstr(without, "HEARTH"), "%s", without);
}

Test(network_iptables, a_policy_is_exchanged)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *rules = NULL;
	VmSpec *to = spec_from_text(SPEC("203.0.113.0/24"));
	Error err = { 0 };

	set_up(&host, SPEC("192.0.2.0/24"));
	cr_assert_eq(network_attach(host.network, &host.job, &err), 0, "%s", err.what);

	cr_assert_eq(network_set_policy(host.network, host.resolved, to, &err), 0, "%s", err.what);

	rules = net_says("iptables-save");
	cr_assert_not_null(strstr(rules, "203.0.113.0/24"), "%s", rules);
	cr_assert_null(strstr(rules, "192.0.2.0/24"), "%s", rules);
	spec_unref(to);
}

typedef struct Marks {
	unsigned instances, digits;
} Marks;

static void note(void *user, const char *mark)
{
	Marks *marks = user;

	marks->instances += strcmp(mark, instance) == 0;
	marks->digits += strcmp(mark, "0123456789ab") == 0;
}

Test(network_iptables, chains_are_found_and_removed_though_the_tap_is_gone)
{
	cleanup_(tear_down) Host host;
	cleanup_free char *without = NULL;
	Marks before = { 0 }, after = { 0 };
	Error err = { 0 };

	set_up(&host, SPEC("192.0.2.0/24"));
	cr_assert_eq(network_attach(host.network, &host.job, &err), 0, "%s", err.what);
	net_run("ip link del h0123456789ab-0; iptables -N HEARTH-not-ours");

	host.network->ops->find(host.network, note, &before);
	cr_assert_eq(network_remove(host.network, instance, &err), 0, "%s", err.what);
	host.network->ops->find(host.network, note, &after);

	cr_assert_eq(before.instances, 2, "of IPv4 and of IPv6");
	cr_assert_eq(before.digits, 0);
	cr_assert_eq(after.instances, 0);
	without = net_says("iptables-save; ip6tables-save");
	cr_assert_not_null(strstr(without, "HEARTH-not-ours"), "%s", without);
	cr_assert_null(strstr(without, instance), "%s", without);
	cr_assert_eq(network_remove(host.network, instance, &err), 0, "once more: %s", err.what);
}

Test(network_iptables, what_it_lacks_is_said)
{
	cleanup_(tear_down) Host host;
	char words[200];
	NetworkConfig config = { .uplink = "eth0" };
	Network *network = NULL;
	Error err = { 0 };

	set_up(&host, SPEC("192.0.2.0/24"));

	cr_assert_eq(host.network->ops->look(host.network, words, sizeof words, &err), 1);
	cr_assert_not_null(strstr(words, "without checks of MACs"), "%s", words);
	cr_assert_eq(network_iptables_open(&network, &config, &err), -1);
	cr_assert_eq(err.kind, ERROR_UNSUPPORTED);
}
