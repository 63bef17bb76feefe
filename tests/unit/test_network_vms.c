/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_vms.h"

#include <criterion/criterion.h>
#include <string.h>

static Egress *nothing_allowed(void)
{
	Egress *egress = NULL;
	Error err = { 0 };

	cr_assert_eq(egress_read(&egress, NULL, "policy", &err), 0);
	return egress;
}

static NetworkVm vm_of(uint32_t ifindex, const char *address4, const char *address6, Egress *egress)
{
	NetworkVm vm = { .ifindex = ifindex, .egress = egress };

	if (address4)
		cr_assert_eq(prefix_parse_address(&vm.address4, address4), 0);
	if (address6)
		cr_assert_eq(prefix_parse_address(&vm.address6, address6), 0);
	return vm;
}

/* The ifindex of whose @text is; 0: nobody's. */
static uint32_t whose(NetworkVms *vms, const char *text)
{
	Prefix address;
	NetworkVm found;

	cr_assert_eq(prefix_parse_address(&address, text), 0);
	if (!network_vms_find(vms, &address, &found))
		return 0;
	egress_unref(found.egress);
	return found.ifindex;
}

Test(network_vms, a_vm_is_found_by_each_of_its_addresses)
{
	cleanup_(network_vms_freep) NetworkVms *vms = network_vms_new();
	cleanup_(egress_unrefp) Egress *egress = nothing_allowed();
	const NetworkVm both = vm_of(7, "10.0.0.2", "fd00::2", egress);
	const NetworkVm four = vm_of(8, "10.0.0.3", NULL, egress);

	network_vms_put(vms, &both);
	network_vms_put(vms, &four);

	cr_assert_eq(whose(vms, "10.0.0.2"), 7);
	cr_assert_eq(whose(vms, "fd00::2"), 7);
	cr_assert_eq(whose(vms, "10.0.0.3"), 8);
	cr_assert_eq(whose(vms, "10.0.0.4"), 0);
	cr_assert_eq(whose(vms, "fd00::3"), 0);
}

Test(network_vms, putting_it_again_replaces_policy_and_addresses)
{
	cleanup_(network_vms_freep) NetworkVms *vms = network_vms_new();
	cleanup_(egress_unrefp) Egress *before = nothing_allowed(), *after = nothing_allowed();
	const NetworkVm old = vm_of(7, "10.0.0.2", NULL, before);
	const NetworkVm new = vm_of(7, "10.0.0.9", NULL, after);
	cleanup_free NetworkVm *all = NULL;
	size_t count;

	network_vms_put(vms, &old);
	network_vms_put(vms, &new);

	all = network_vms_all(vms, &count);
	cr_assert_eq(count, 1);
	cr_assert_eq(all[0].egress, after);
	egress_unref(all[0].egress);
	cr_assert_eq(whose(vms, "10.0.0.2"), 0);
	cr_assert_eq(whose(vms, "10.0.0.9"), 7);
}

Test(network_vms, one_that_is_dropped_is_nobody)
{
	cleanup_(network_vms_freep) NetworkVms *vms = network_vms_new();
	cleanup_(egress_unrefp) Egress *egress = nothing_allowed();
	const NetworkVm vm = vm_of(7, "10.0.0.2", "fd00::2", egress);

	network_vms_put(vms, &vm);
	network_vms_drop(vms, 7);
	network_vms_drop(vms, 7);

	cr_assert_eq(whose(vms, "10.0.0.2"), 0);
	cr_assert_eq(whose(vms, "fd00::2"), 0);
}
