/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Policies of egress, and what became of packets, for people. */

#include "agent/ctl/ctl.h"

/* "10.0.0.0/8 without 10.1.0.0/16, 192.0.2.0/24", or "everywhere"; the caller's to free. */
char *egress_peers_text(const Hearth__V1__EgressRule *rule);
/* "tcp/443, udp/1-1023, icmp", or "all"; the caller's to free. */
char *egress_ports_text(const Hearth__V1__EgressRule *rule);

/* Where names have led, and what became of packets; for people. */
void egress_print_known(const Ctl *ctl, const Hearth__V1__DiagnoseVmResponse *answer);

/* In the format asked for. */
void egress_print(const Ctl *ctl, const Hearth__V1__VmEgress *egress);
