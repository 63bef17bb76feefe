/* SPDX-License-Identifier: Apache-2.0 */

/* Networks as the runtime uses them: what VMs are leased, and their policies. */

#include "runtime/vm.h"
#include "tests/support/full_disk.h"
#include "tests/unit/update_suite.h"

static void open_with_pools(const char *pool4, const char *pool6)
{
	node = (TestNode){ .has_network = true };
	if (pool4)
		cr_assert_eq(prefix_parse(&node.network.pool4, pool4), 0);
	if (pool6)
		cr_assert_eq(prefix_parse(&node.network.pool6, pool6), 0);
	network_own_gateways(&node.network);
	test_node_open(&node);
}

static void open_network(void)
{
	open_with_pools("10.9.0.0/24", "fd09::/64");
}

static void open_again(void)
{
	test_node_close(&node);
	test_node_open(&node);
}

TestSuite(network, .init = open_network, .fini = remove_node);
TestSuite(network_of_its_own, .fini = remove_node); /* each opens its node itself */

/* A spec with one interface. */
static VmSpec *with_interface(VmDesired desired, const char *fault)
{
	VmSpec *spec = test_spec(desired, fault);
	VmInterface *interface = field_list_add(&spec->network_interfaces, &vm_interface_table);

	interface->interface_id = text_dup("eth0");
	return spec;
}

static VmInterface *first_of(VmSpec *spec)
{
	return spec->network_interfaces.items;
}

static VmSpec *with_ipv4(const char *address)
{
	VmSpec *spec = with_interface(VM_DESIRED_UNSET, NULL);

	first_of(spec)->ipv4_address = text_dup(address);
	return spec;
}

/* @spec with a policy of @count rules that allow everything. */
static VmSpec *with_rules(VmSpec *spec, size_t count)
{
	static const VmEgressRule none;
	VmEgressRule *rules = new0_array(VmEgressRule, count);

	for (size_t i = 0; i < count; i++)
		rules[i] = none;
	spec->egress = new0(VmEgressPolicy);
	spec->egress->rules = (FieldList){ rules, count };
	return spec;
}

static void create_fails(const char *vm_id, VmSpec *spec, ErrorKind kind, const char *words)
{
	TestAnswer answer = test_create(&node, vm_id, spec);
	char message[ERROR_MESSAGE_MAX];

	(void)error_message(&answer.err, message);
	cr_assert_eq(answer.err.kind, kind, "%s", message);
	cr_assert_not_null(strstr(message, words), "%s", message);
}

static void assert_leases(const char *vm_id, uint32_t slot, const char *mac, const char *ipv4,
			  const char *ipv6)
{
	cleanup_(record_unrefp) VmRecord *record = look(vm_id);
	const VmResolvedInterface *interface = network_interface(record->status.resolved);

	cr_assert_not_null(interface);
	cr_assert_eq(record->status.resolved->network_interfaces.count, 1);
	cr_assert_eq(record->status.resolved->network_slot, slot);
	cr_assert_str_eq(interface->guest_mac, mac);
	cr_assert(text_equal(interface->ipv4_address, ipv4), "%s", interface->ipv4_address);
	cr_assert(text_equal(interface->ipv6_address, ipv6), "%s", interface->ipv6_address);
}

static VmEnforcement enforcement_of(const char *vm_id)
{
	cleanup_(record_unrefp) VmRecord *record = look(vm_id);

	return network_interface(record->status.resolved)->enforcement;
}

Test(network, a_vm_is_leased_a_slot_a_mac_and_addresses_with_their_gateways)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	const VmResolvedInterface *interface;

	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);
	create("web-2", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);

	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.2", "fd09::2");
	assert_leases("web-2", 2, "02:68:74:00:00:02", "10.9.0.3", "fd09::3");
	record = look("web-1");
	interface = network_interface(record->status.resolved);
	cr_assert_str_eq(interface->ipv4_gateway, "10.9.0.1");
	cr_assert_str_eq(interface->ipv6_gateway, "fd09::1");
	cr_assert_eq(interface->enforcement, VM_ENFORCEMENT_UNSET);
}

Test(network, a_vm_without_interfaces_is_leased_nothing)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	record = look("web-1");
	cr_assert_eq(record->status.resolved->network_slot, 0);
	cr_assert_eq(record->status.resolved->network_interfaces.count, 0);
	cr_assert_eq(fake_calls(node.fake, FAKE_ATTACH), 0);
}

Test(network_of_its_own, a_node_without_a_pool_of_a_family_leases_none)
{
	open_with_pools(NULL, "fd09::/64");

	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);

	assert_leases("web-1", 1, "02:68:74:00:00:01", NULL, "fd09::2");
	create_fails("web-2", with_ipv4("10.9.0.5"), ERROR_INVALID_REQUEST, "no pool");
}

Test(network, what_is_asked_for_is_what_is_had)
{
	VmSpec *spec = with_ipv4("10.9.0.77");

	first_of(spec)->ipv6_address = text_dup("fd09:0::4d");
	first_of(spec)->guest_mac = text_dup("02:AA:00:00:00:01");
	create("web-1", spec, VM_CREATED);

	assert_leases("web-1", 1, "02:aa:00:00:00:01", "10.9.0.77", "fd09::4d");
}

Test(network, an_address_of_another_vm_is_refused_and_named)
{
	VmSpec *mac = with_interface(VM_DESIRED_UNSET, NULL);

	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);
	first_of(mac)->guest_mac = text_dup("02:68:74:00:00:01");

	create_fails("web-2", with_ipv4("10.9.0.2"), ERROR_NETWORK_CONFIG,
		     "spec.network_interfaces[0].ipv4_address: 10.9.0.2 is another VM's");
	create_fails("web-2", mac, ERROR_NETWORK_CONFIG, "guest_mac");

	create("web-2", with_ipv4("10.9.0.3"), VM_CREATED);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	create("web-3", with_ipv4("10.9.0.2"), VM_CREATED);
}

Test(network, addresses_that_are_not_for_vms_are_violations)
{
	static const char *const bad[] = { "10.9.1.2", "10.9.0.0", "10.9.0.1", "10.9.0.255" };

	for (size_t i = 0; i < array_size(bad); i++)
		create_fails("web-1", with_ipv4(bad[i]), ERROR_INVALID_REQUEST,
			     "spec.network_interfaces[0].ipv4_address");
}

Test(network_of_its_own, a_pool_that_is_exhausted_says_so_and_leases_again_what_comes_back)
{
	open_with_pools("10.9.0.0/29", NULL); /* five */

	for (int i = 0; i < 5; i++) {
		cleanup_free char *vm_id = text_printf("web-%d", i);

		create(vm_id, with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);
	}
	create_fails("web-5", with_interface(VM_DESIRED_UNSET, NULL), ERROR_CAPACITY,
		     "ipv4_addresses");
	run(VM_OP_DESTROY, "web-2", VM_DESTROYED);

	create("web-5", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);

	assert_leases("web-5", 6, "02:68:74:00:00:06", "10.9.0.4", NULL);
}

Test(network, validation_leases_nothing)
{
	cleanup_(spec_unrefp) VmSpec *spec = with_ipv4("10.9.0.9");
	const CreateCall call = { .vm_id = "web-1",
				  .uid = "",
				  .tenant = "",
				  .spec = spec,
				  .validate_only = true,
				  .principal = "test" };
	TestAnswer answer;

	answer = test_create_call(&node, &call);

	cr_assert_not_null(answer.record);
	test_answer_clear(&answer);
	create("web-2", with_ipv4("10.9.0.9"), VM_CREATED);
}

Test(network, leases_outlive_the_agent)
{
	create("web-1", with_ipv4("10.9.0.9"), VM_CREATED);
	create("web-2", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);

	open_again();

	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.9", "fd09::2");
	create_fails("web-3", with_ipv4("10.9.0.9"), ERROR_NETWORK_CONFIG, "another VM's");
	create("web-3", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);
	assert_leases("web-3", 4, "02:68:74:00:00:03", "10.9.0.3", "fd09::4");
}

Test(network_of_its_own, on_a_bridge_macs_are_numbered_as_addresses_are)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	node = (TestNode){ .has_network = true, .network.bridge = "br0" };
	cr_assert_eq(prefix_parse(&node.network.pool4, "10.9.0.128/25"), 0);
	cr_assert_eq(prefix_parse_address(&node.network.gateway4, "10.9.0.7"), 0);
	test_node_open(&node);

	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);

	assert_leases("web-1", 1, "02:68:0a:09:00:82", "10.9.0.130", NULL);
	record = look("web-1");
	cr_assert_str_eq(network_interface(record->status.resolved)->ipv4_gateway, "10.9.0.7");
}

Test(network_of_its_own, vms_at_rest_are_leased_what_a_node_without_network_had_not)
{
	node = (TestNode){ 0 };
	test_node_open(&node);
	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);
	cr_assert_eq(prefix_parse(&node.network.pool4, "10.9.0.0/24"), 0);
	network_own_gateways(&node.network);
	node.has_network = true;

	open_again();

	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.2", NULL);
}

Test(network, leases_outlive_runs)
{
	create("web-1", with_interface(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	cr_assert_eq(enforcement_of("web-1"), VM_ENFORCEMENT_BPF);

	run(VM_OP_STOP, "web-1", VM_STOPPED);

	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.2", "fd09::2");
	cr_assert_eq(enforcement_of("web-1"), VM_ENFORCEMENT_UNSET);
	cr_assert_eq(fake_rules(node.fake, 1), -1);
}

Test(network, an_update_at_rest_leases_and_gives_back)
{
	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	update_goes(with_interface(VM_DESIRED_UNSET, NULL), RUNTIME_UPDATE_INTERFACES);
	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.2", "fd09::2");
	update_goes(with_ipv4("10.9.0.50"), RUNTIME_UPDATE_INTERFACES);
	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.50", "fd09::2");
	create("web-2", with_ipv4("10.9.0.2"), VM_CREATED);
	update_fails(with_ipv4("10.9.0.2"), RUNTIME_UPDATE_INTERFACES, ERROR_NETWORK_CONFIG,
		     "another VM's");
	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.50", "fd09::2");
	update_goes(test_spec(VM_DESIRED_UNSET, NULL), RUNTIME_UPDATE_INTERFACES);

	create("web-3", with_ipv4("10.9.0.50"), VM_CREATED);
}

Test(network, a_create_that_cannot_be_written_down_gives_back_what_it_leased)
{
	TestAnswer answer;

	fill_disk(true);
	answer = test_create(&node, "web-1", with_ipv4("10.9.0.50"));
	fill_disk(false);

	cr_assert_eq(answer.err.kind, ERROR_STORE);
	create("web-2", with_ipv4("10.9.0.50"), VM_CREATED);
}

Test(network, an_update_that_cannot_be_written_down_keeps_the_old_and_frees_the_new)
{
	cleanup_(spec_unrefp) VmSpec *values = with_ipv4("10.9.0.50");
	VmCall call = { .vm_id = "web-1",
			.update = values,
			.update_mask = RUNTIME_UPDATE_INTERFACES };
	TestAnswer answer;

	create("web-1", with_ipv4("10.9.0.40"), VM_CREATED);
	fill_disk(true);
	answer = test_call(&node, VM_OP_UPDATE, &call);
	fill_disk(false);

	cr_assert_eq(answer.err.kind, ERROR_STORE);
	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.40", "fd09::2");
	create_fails("web-2", with_ipv4("10.9.0.40"), ERROR_NETWORK_CONFIG, "another VM's");
	create("web-2", with_ipv4("10.9.0.50"), VM_CREATED);
	run(VM_OP_START, "web-1", VM_RUNNING);
}

Test(network, an_update_that_is_only_validated_leases_nothing)
{
	cleanup_(spec_unrefp) VmSpec *values = with_ipv4("10.9.0.50");
	VmCall call = { .vm_id = "web-1",
			.update = values,
			.update_mask = RUNTIME_UPDATE_INTERFACES,
			.validate_only = true };
	TestAnswer answer;

	create("web-1", with_ipv4("10.9.0.40"), VM_CREATED);
	answer = test_call(&node, VM_OP_UPDATE, &call);

	cr_assert_not_null(answer.record);
	test_answer_clear(&answer);
	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.40", "fd09::2");
	create("web-2", with_ipv4("10.9.0.50"), VM_CREATED);
}

Test(network, a_start_attaches_with_the_policy_and_a_destroy_detaches)
{
	create("web-1", with_rules(with_interface(VM_DESIRED_RUNNING, NULL), 2), VM_RUNNING);
	cr_assert_eq(fake_rules(node.fake, 1), 2);

	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);

	cr_assert_eq(fake_rules(node.fake, 1), -1);
}

Test(network, a_start_that_cannot_be_attached_fails)
{
	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);
	fake_fail(node.fake, FAKE_ATTACH, 1);

	run_fails(VM_OP_START, "web-1", ERROR_FIREWALL);

	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	cr_assert_not(fault_alive(node.fault, "web-1"));
	run(VM_OP_START, "web-1", VM_RUNNING);
}

Test(network, a_policy_at_rest_is_only_recorded)
{
	create("web-1", with_interface(VM_DESIRED_UNSET, NULL), VM_CREATED);

	update_goes(with_rules(test_spec(VM_DESIRED_UNSET, NULL), 3), RUNTIME_UPDATE_EGRESS);

	cr_assert_eq(fake_calls(node.fake, FAKE_SET_POLICY), 0);
	run(VM_OP_START, "web-1", VM_RUNNING);
	cr_assert_eq(fake_rules(node.fake, 1), 3);
}

Test(network, a_policy_of_a_running_vm_is_exchanged_by_an_operation)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_interface(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	cr_assert_eq(update_goes(with_rules(test_spec(VM_DESIRED_UNSET, NULL), 3),
				 RUNTIME_UPDATE_EGRESS),
		     2);

	record = look("web-1");
	cr_assert_eq(fake_rules(node.fake, 1), 3);
	cr_assert_eq(fault_updates(node.fault, "web-1"), 0);
	cr_assert_str_eq(record->status.last_operation->verb, "update");
	cr_assert_eq(record->status.observed_generation, 2);
}

Test(network, a_policy_that_cannot_be_enforced_leaves_the_old_one)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_rules(with_interface(VM_DESIRED_RUNNING, NULL), 1), VM_RUNNING);
	fake_fail(node.fake, FAKE_SET_POLICY, 1);

	update_fails(with_rules(test_spec(VM_DESIRED_UNSET, NULL), 3), RUNTIME_UPDATE_EGRESS,
		     ERROR_FIREWALL, "told to fail");

	record = look("web-1");
	cr_assert_eq(record->status.state, VM_RUNNING);
	cr_assert_eq(record->spec->egress->rules.count, 1);
	cr_assert_eq(record->generation, 1);
	cr_assert_eq(fake_rules(node.fake, 1), 1);
}

/* Rules and a balloon for web-1, which then waits, fails or poisons as @fault says. */
static VmSpec *with_both(size_t rules, uint64_t mib)
{
	return with_rules(with_balloon(VM_DESIRED_UNSET, NULL, mib), rules);
}

static void create_with_both(const char *fault)
{
	VmSpec *spec = with_rules(with_interface(VM_DESIRED_RUNNING, fault), 1);

	spec->devices = new0(VmDevices);
	spec->devices->balloon = new0(VmBalloon);
	create("web-1", spec, VM_RUNNING);
}

Test(network, a_policy_is_put_back_when_the_rest_of_the_update_fails)
{
	create_with_both("update-fails");

	update_fails(with_both(3, 9), RUNTIME_UPDATE_EGRESS | RUNTIME_UPDATE_BALLOON,
		     ERROR_VMM_FAILED, "told to fail");

	cr_assert_eq(fake_rules(node.fake, 1), 1);
	cr_assert_eq(fake_calls(node.fake, FAKE_SET_POLICY), 2);
}

Test(network, a_policy_and_the_rest_of_an_update_go_together)
{
	create_with_both(NULL);

	update_goes(with_both(3, 9), RUNTIME_UPDATE_EGRESS | RUNTIME_UPDATE_BALLOON);

	cr_assert_eq(fake_rules(node.fake, 1), 3);
	cr_assert_eq(fault_balloon_mib(node.fault, "web-1"), 9);
}

Test(network_of_its_own, an_agent_that_comes_after_takes_its_vms_up_again)
{
	node = (TestNode){ .adopts = true, .has_network = true };
	test_node_open(&node);
	create("web-1", with_rules(with_interface(VM_DESIRED_RUNNING, NULL), 2), VM_RUNNING);

	open_again();

	while (!runtime_adopted(node.runtime))
		(void)usleep(1000);
	cr_assert_eq(fake_rules(node.fake, 1), 2);
	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
	cr_assert_eq(enforcement_of("web-1"), VM_ENFORCEMENT_BPF);
}

Test(network, names_are_not_supported_without_a_resolver)
{
	VmSpec *spec = with_rules(with_interface(VM_DESIRED_UNSET, NULL), 1);

	field_texts_add(&((VmEgressRule *)spec->egress->rules.items)->fqdn, "example.org");
	create_fails("web-1", spec, ERROR_UNSUPPORTED, "egress by name");
}

Test(network, a_vm_in_memory_has_one_in_software)
{
	VmSpec *spec = with_rules(with_interface(VM_DESIRED_RUNNING, NULL), 1);

	spec->backend = VM_BACKEND_IN_MEMORY;
	create("web-1", spec, VM_RUNNING);

	assert_leases("web-1", 1, "02:68:74:00:00:01", "10.9.0.2", "fd09::2");
	cr_assert_eq(enforcement_of("web-1"), VM_ENFORCEMENT_NONE);
	update_goes(with_rules(test_spec(VM_DESIRED_UNSET, NULL), 3), RUNTIME_UPDATE_EGRESS);
	cr_assert_eq(fake_calls(node.fake, FAKE_ATTACH), 0);
}

Test(network, a_network_that_is_off_carries_nothing)
{
	Network *off = network_off_new();
	cleanup_(spec_unrefp) VmSpec *plain = with_rules(with_interface(VM_DESIRED_UNSET, NULL), 0);
	cleanup_(spec_unrefp) VmSpec *rules = with_rules(test_spec(VM_DESIRED_UNSET, NULL), 1);
	cleanup_(spec_unrefp) VmSpec *address = with_ipv4("10.9.0.9");
	Error none = { 0 }, no_rules = { 0 }, no_address = { 0 };

	cr_assert_not(off->ops->leases);
	cr_assert_eq(off->ops->check(off, plain, &none), 0);
	cr_assert_eq(off->ops->check(off, rules, &no_rules), -1);
	cr_assert_eq(off->ops->check(off, address, &no_address), -1);

	cr_assert_eq(no_rules.kind, ERROR_UNSUPPORTED);
	cr_assert_eq(no_address.kind, ERROR_UNSUPPORTED);
	network_free(off);
}
