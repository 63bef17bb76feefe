/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What /metrics says: what was counted, and what is there at that moment. docs/metrics.md tells of
 * each family.
 */

#include "agent/agent.h"

typedef enum MetricsVms {
	METRICS_VMS_NONE,  /* no series of a VM's own */
	METRICS_VMS_USAGE, /* what each uses, and what becomes of its packets and page faults */
	METRICS_VMS_ALL,   /* and what its VMM has counted, as it told last: nobody is asked */
} MetricsVms;

/* To free; *@length bytes. Reads control groups and the catalogs: not on a poller. */
char *metrics_page(Agent *agent, MetricsVms vms, size_t *length);
