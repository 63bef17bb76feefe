/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_egress MEASURE COUNT: figures of the egress filter, for tests/bench/egress.py. Each measure
 * makes namespaces of its own; nothing of the host is touched.
 */

#include "base/text.h"
#include "tests/bench/egress/measures.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	void (*run)(unsigned count);
} measures[] = {
	{ "packets", measure_packets }, { "policies", measure_policies },
	{ "flips", measure_flips },     { "iptables", measure_iptables },
	{ "taps", measure_taps },
};

void measure_tell(const char *measure, const char *variant, double value)
{
	(void)printf("{\"measure\": \"%s\", \"variant\": \"%s\", \"value\": %.3f}\n", measure,
		     variant, value);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t count;

	for (size_t i = 0; argc == 3 && i < sizeof measures / sizeof *measures; i++)
		if (strcmp(argv[1], measures[i].name) == 0 && text_to_u64(&count, argv[2]) == 0) {
			measures[i].run((unsigned)count);
			return 0;
		}
	(void)fprintf(stderr, "usage: bench_egress MEASURE COUNT\n");
	return 2;
}
