/* SPDX-License-Identifier: Apache-2.0 */

/* What the runtime answers about egress, and denied packets on their way to those who watch. */

#include "base/text.h"
#include "tests/support/suite_node.h"

#include <criterion/criterion.h>
#include <string.h>

static void open_network(void)
{
	node = (TestNode){ .has_network = true };
	test_node_open(&node);
}

TestSuite(egress_calls, .init = open_network, .fini = remove_node);

/* A VM with an interface that may reach everything. */
static void create_open(const char *vm_id, VmDesired desired)
{
	VmSpec *spec = test_spec(desired, NULL);
	VmInterface *interface = field_list_add(&spec->network_interfaces, &vm_interface_table);

	interface->interface_id = text_dup("eth0");
	spec->egress = new0(VmEgressPolicy);
	spec->egress->rules = (FieldList){ new0(VmEgressRule), 1 };
	create(vm_id, spec, desired == VM_DESIRED_RUNNING ? VM_RUNNING : VM_CREATED);
}

static EgressExplanation explain(const char *vm_id, const char *address)
{
	NetworkProbe probe = { .protocol = EGRESS_TCP, .port = 443 };
	EgressExplanation said;
	Error err = { 0 };

	cr_assert_eq(network_parse_address(&probe.address, address), 0);
	cr_assert_eq(runtime_explain_egress(node.runtime, vm_id, NULL, &probe, &said, &err), 0,
		     "%s", err.what);
	return said;
}

Test(egress_calls, of_a_vm_at_rest_the_policy_is_asked)
{
	EgressExplanation said;

	create_open("web-1", VM_DESIRED_UNSET);

	said = explain("web-1", "1.1.1.1");

	cr_assert_eq(said.verdict, FILTER_PASS_POLICY);
	cr_assert_eq(said.rule, 0);
	cr_assert_not(said.enforced);
	cr_assert_eq(explain("web-1", "169.254.169.254").verdict, FILTER_DROP_POLICY);
	cr_assert_eq(explain("web-1", "169.254.169.254").rule, -1);
}

Test(egress_calls, of_a_running_vm_its_filter_is_asked_and_has_the_last_word)
{
	EgressExplanation said;

	create_open("web-1", VM_DESIRED_RUNNING);
	fake_answer(node.fake, FILTER_DROP_NEW_FLOWS);

	said = explain("web-1", "1.1.1.1");

	cr_assert_eq(said.verdict, FILTER_DROP_NEW_FLOWS);
	cr_assert_eq(said.rule, -1);
	cr_assert(said.enforced);
	fake_answer(node.fake, FILTER_PASS_POLICY);
	cr_assert_eq(explain("web-1", "1.1.1.1").rule, 0);
}

Test(egress_calls, a_filter_that_does_not_answer_is_told_of)
{
	NetworkProbe probe = { .protocol = EGRESS_TCP, .port = 443 };
	EgressExplanation said;
	Error err = { 0 };

	create_open("web-1", VM_DESIRED_RUNNING);
	cr_assert_eq(network_parse_address(&probe.address, "1.1.1.1"), 0);
	fake_fail(node.fake, FAKE_EXPLAIN, 1);

	cr_assert_eq(runtime_explain_egress(node.runtime, "web-1", NULL, &probe, &said, &err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
}

Test(egress_calls, counters_are_those_of_the_present_run)
{
	cleanup_(egress_state_clear) EgressState at_rest = { 0 }, running = { 0 };
	Error err = { 0 };

	create_open("web-1", VM_DESIRED_UNSET);
	cr_assert_eq(runtime_get_egress(node.runtime, "web-1", NULL, &at_rest, &err), 0);
	run(VM_OP_START, "web-1", VM_RUNNING);
	cr_assert_eq(runtime_get_egress(node.runtime, "web-1", NULL, &running, &err), 0);

	cr_assert_not(at_rest.has_counters);
	cr_assert_not_null(at_rest.record);
	cr_assert(running.has_counters);
	cr_assert_eq(running.counters.from_vm.packets[FILTER_PASS_FLOW], 101);
	cr_assert_eq(running.counters.to_vm.passed_bytes, 9000);
}

Test(egress_calls, an_incarnation_that_is_no_more_is_a_conflict)
{
	cleanup_(egress_state_clear) EgressState state = { 0 };
	Error err = { 0 };

	create_open("web-1", VM_DESIRED_UNSET);

	cr_assert_eq(runtime_get_egress(node.runtime, "web-1", "other", &state, &err), -1);

	cr_assert_eq(err.kind, ERROR_CONFLICT);
}

/* A watcher that counts how often it was woken. */
typedef struct Woken {
	EgressWatcher watcher;
	unsigned times;
} Woken;

static void wake(EgressWatcher *watcher)
{
	container_of(watcher, Woken, watcher)->times++;
}

static void deny(uint32_t slot, uint16_t port)
{
	const NetworkEvent event = {
		.time = 1, .slot = slot, .verdict = FILTER_DROP_POLICY, .target_port = port
	};

	fake_deny(node.fake, &event);
}

Test(egress_calls, a_denied_packet_is_told_with_the_vm_it_is_of)
{
	EgressHub *hub = runtime_egress_hub(node.runtime);
	Woken woken = { .watcher.wake = wake };
	uint64_t at = egress_hub_latest(hub), missed;
	EgressEvent event[2];

	create_open("web-1", VM_DESIRED_RUNNING);
	create_open("web-2", VM_DESIRED_RUNNING);
	egress_watch(hub, &woken.watcher);

	deny(2, 80);
	deny(9, 81); /* nobody's */

	egress_unwatch(hub, &woken.watcher);
	cr_assert_eq(woken.times, 1);
	cr_assert_eq(egress_hub_read(hub, &at, event, 2, &missed), 1);
	cr_assert_str_eq(event[0].vm_id, "web-2");
	cr_assert_eq(event[0].packet.target_port, 80);
	cr_assert_eq(missed, 0);
}

Test(egress_calls, what_nobody_watches_is_not_kept)
{
	EgressHub *hub = runtime_egress_hub(node.runtime);

	create_open("web-1", VM_DESIRED_RUNNING);

	deny(1, 80);

	cr_assert_eq(egress_hub_latest(hub), 0);
}

Test(egress_calls, one_who_reads_too_slowly_is_told_how_much_was_missed)
{
	cleanup_(egress_hub_freep) EgressHub *hub = egress_hub_new();
	EgressEvent event = { .vm_id = "web-1" }, got[2];
	uint64_t at = 0, missed;

	for (unsigned i = 1; i <= EGRESS_EVENTS_KEPT + 3; i++) {
		event.packet.target_port = (uint16_t)i;
		egress_hub_publish(hub, &event);
	}

	cr_assert_eq(egress_hub_read(hub, &at, got, 2, &missed), 2);
	cr_assert_eq(missed, 3);
	cr_assert_eq(got[0].packet.target_port, 4);
	cr_assert_eq(egress_hub_read(hub, &at, got, 2, &missed), 2);
	cr_assert_eq(missed, 0);
	cr_assert_eq(got[0].packet.target_port, 6);
}
