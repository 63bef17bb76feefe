/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm_taps.h"

#include "base/text.h"
#include "netfw/link_reap.h"
#include "netfw/tap.h"
#include "runtime/network_place.h"

int vm_taps_add(Job *job, uid_t owner, Error *err)
{
	for (size_t i = 0; i < job->spec->network_interfaces.count; i++) {
		const VmInterface *interface = spec_interface(job->spec, i);
		char name[TAP_NAME_MAX];
		const TapConfig config = { .name = name, .owner = owner, .mtu = interface->mtu };
		VmResolvedInterface *shown;

		tap_name(name, job->resolved->instance_id, (unsigned)i);
		if (tap_add(&config, err) < 0)
			return -1;
		shown = record_interface(job->resolved, interface->interface_id);
		free(shown->host_device);
		shown->host_device = text_dup(name);
	}
	return 0;
}

int vm_taps_remove(Network *network, const char *instance_id, Error *err)
{
	char names[SPEC_INTERFACES_MAX][TAP_NAME_MAX];
	const char *all[SPEC_INTERFACES_MAX];
	size_t count = 0;

	if (network_detach(network, instance_id, err) < 0)
		return -1;
	for (unsigned i = 0; i < SPEC_INTERFACES_MAX; i++) {
		tap_name(names[count], instance_id, i);
		all[count] = names[count];
		count += link_index(names[count]) != 0;
	}
	return count ? link_reap(&network_links, all, count, err) : 0;
}
