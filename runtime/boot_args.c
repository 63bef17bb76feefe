/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/boot_args.h"

#include "base/text.h"

#include <string.h>

enum {
	FULL = 32, /* bits of an IPv4 address */
};

bool boot_args_have(const char *args, const char *word, bool whole)
{
	size_t length = strlen(word);

	for (const char *at = args; *at; at += strcspn(at, " \t\n")) {
		size_t size;

		at += strspn(at, " \t\n");
		size = strcspn(at, " \t\n");
		/* What follows "--" is for init, not for the kernel. */
		if (size == 2 && strncmp(at, "--", 2) == 0)
			return false;
		if (strncmp(at, word, length) == 0 && (!whole || size == length))
			return true;
	}
	return false;
}

char *boot_args_root(const VmSpec *spec, const char *args)
{
	size_t i;

	for (i = 0; i < spec->drives.count && !spec_drive(spec, i)->is_root; i++)
		;
	if (i == spec->drives.count || boot_args_have(args, "root=", false))
		return text_dup("");
	if (boot_args_have(args, "ro", true) || boot_args_have(args, "rw", true))
		return text_printf("root=/dev/vd%c ", (char)('a' + i));
	return text_printf("root=/dev/vd%c %s ", (char)('a' + i),
			   spec_drive(spec, i)->read_only ? "ro" : "rw");
}

char *boot_args_with_network(const char *args, const VmResolved *resolved, const Network *network)
{
	const VmResolvedInterface *interface = network ? network_interface(resolved) : NULL;
	const char *gateway;
	uint32_t mask = network && network->length4 ? UINT32_MAX << (FULL - network->length4) : 0;

	if (!interface || text_equal(interface->ipv4_address, "") ||
	    boot_args_have(args, "ip=", false))
		return text_dup(args);
	gateway = interface->ipv4_gateway ? interface->ipv4_gateway : "";
	return text_printf("ip=%s::%s:%u.%u.%u.%u::eth0:off%s%s %s", interface->ipv4_address,
			   gateway, mask >> 24, mask >> 16 & UINT8_MAX, mask >> 8 & UINT8_MAX,
			   mask & UINT8_MAX, network->names ? ":" : "",
			   network->names ? gateway : "", args);
}

size_t boot_args_network_max(const VmSpec *spec, const Network *network)
{
	return spec->network_interfaces.count && network && network->ops->leases ? BOOT_ARGS_NETWORK
										 : 0;
}
