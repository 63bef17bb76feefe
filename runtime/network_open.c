/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_host.h"
#include "runtime/network_iptables.h"

int network_open(Network **ret, bool routed, const NetworkConfig *config, Error *err)
{
	Error worse = { 0 };

	if (!routed) {
		*ret = network_off_new();
		return 0;
	}
	if (config->enforcement == VM_ENFORCEMENT_IPTABLES)
		return network_iptables_open(ret, config, err);
	if (network_host_open(ret, config, err) == 0)
		return 0;
	/* Of two that can't be had, the better one's reason is the one to know. */
	if (config->enforcement == VM_ENFORCEMENT_BPF ||
	    network_iptables_open(ret, config, &worse) < 0)
		return -1;
	error_clear(err);
	return 0;
}
