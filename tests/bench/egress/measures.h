/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What bench_egress measures; each prints its figures one by one, as lines of JSON. */

/* ns of CPU of one packet, all ways in turn. */
void measure_packets(unsigned rounds);

/* Policies in force: a VM more beside a thousand, memory, exchanges, explanations. */
void measure_policies(unsigned count);
/* Exchanges while packets pass: which are lost. */
void measure_flips(unsigned flips);
/* A VM more beside a thousand, by iptables. */
void measure_iptables(unsigned count);
/* Taps made, configured and removed. */
void measure_taps(unsigned count);

/* {"measure": ..., "variant": ..., "value": ...} */
void measure_tell(const char *measure, const char *variant, double value);
