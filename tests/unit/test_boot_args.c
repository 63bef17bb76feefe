/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/boot_args.h"

#include <criterion/criterion.h>
#include <string.h>

static const NetworkOps leasing = { .leases = true };
static const Network network = { .ops = &leasing, .length4 = 20 };

static VmResolved *leased(const char *address, const char *gateway)
{
	VmResolved *resolved = new0(VmResolved);
	VmResolvedInterface *interface = record_interface(resolved, "eth0");

	interface->guest_mac = text_dup("02:68:74:00:00:01");
	interface->ipv4_address = text_dup(address);
	interface->ipv4_gateway = text_dup(gateway);
	return resolved;
}

static void resolved_freep(VmResolved **resolved)
{
	fields_clear(&vm_resolved_table, *resolved);
	free(*resolved);
}

Test(boot_args, the_leased_address_is_told_before_the_rest)
{
	cleanup_(resolved_freep) VmResolved *resolved = leased("10.200.0.2", "10.200.0.1");
	cleanup_free char *args = boot_args_with_network("quiet -- init", resolved, &network);

	cr_assert_str_eq(args, "ip=10.200.0.2::10.200.0.1:255.255.240.0::eth0:off quiet -- init");
}

Test(boot_args, the_resolver_is_told_where_there_is_one)
{
	static const Network resolving = { .ops = &leasing, .length4 = 20, .names = true };
	cleanup_(resolved_freep) VmResolved *resolved = leased("10.200.0.2", "10.200.0.1");
	cleanup_free char *args = boot_args_with_network("quiet", resolved, &resolving);

	cr_assert_str_eq(args,
			 "ip=10.200.0.2::10.200.0.1:255.255.240.0::eth0:off:10.200.0.1 quiet");
}

Test(boot_args, an_address_of_ones_own_is_left)
{
	cleanup_(resolved_freep) VmResolved *resolved = leased("10.200.0.2", "10.200.0.1");
	cleanup_free char *args = boot_args_with_network("quiet ip=dhcp", resolved, &network);

	cr_assert_str_eq(args, "quiet ip=dhcp");
}

Test(boot_args, without_a_lease_nothing_is_told)
{
	cleanup_(resolved_freep) VmResolved *none = new0(VmResolved);
	cleanup_(resolved_freep) VmResolved *resolved = leased("10.200.0.2", "10.200.0.1");
	cleanup_free char *without = boot_args_with_network("quiet", none, &network);
	cleanup_free char *nowhere = boot_args_with_network("quiet", resolved, NULL);

	cr_assert_str_eq(without, "quiet");
	cr_assert_str_eq(nowhere, "quiet");
}

Test(boot_args, room_is_kept_for_the_longest)
{
	cleanup_(resolved_freep) VmResolved *resolved =
		leased("255.255.255.255", "255.255.255.255");
	static const Network whole = { .ops = &leasing, .length4 = 32, .names = true };
	cleanup_free char *args = boot_args_with_network("", resolved, &whole);

	cr_assert_leq(strlen(args), BOOT_ARGS_NETWORK);
}
