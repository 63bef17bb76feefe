/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_host.h"
#include "runtime/network_iptables.h"

int network_open(Network **ret, bool on, const NetworkConfig *config, Error *err)
{
	Error worse = { 0 };

	if (!on) {
		*ret = network_off_new();
		return 0;
	}
	/* A packet on a bridge never matches what iptables has of an interface. */
	if (config->bridge && config->enforcement == VM_ENFORCEMENT_IPTABLES)
		return error_set(err, ERROR_UNSUPPORTED,
				 "network.mode bridge where egress is enforced by iptables");
	if (config->enforcement == VM_ENFORCEMENT_IPTABLES)
		return network_iptables_open(ret, config, err);
	if (network_host_open(ret, config, err) == 0)
		return 0;
	/* Of two that can't be had, the better one's reason is the one to know. */
	if (config->enforcement == VM_ENFORCEMENT_BPF || config->bridge ||
	    network_iptables_open(ret, config, &worse) < 0)
		return -1;
	error_clear(err);
	return 0;
}
