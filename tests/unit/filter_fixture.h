/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A filter with one VM, at the first tap, under the rules of filter_bench_table(), and what packets
 * are expected to come to.
 */

#include "tests/support/filter_bench.h"

#include <criterion/criterion.h>
#include <string.h>

static FilterBench bench;

static inline void open_bench_for(uint32_t max_vms)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	const char *lacking = filter_bench_open(&bench, max_vms);
	Error err = { 0 };
	FilterVm vm;

	if (lacking) {
		(void)fprintf(stderr, "skipped: %s\n", lacking);
		cr_skip_test("%s", lacking);
	}
	vm = filter_bench_vm(&bench, 0);
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

static inline void open_bench(void)
{
	open_bench_for(FILTER_BENCH_VMS);
}

static inline void close_bench(void)
{
	filter_bench_close(&bench);
}

/* Both instances agree; what is dropped carries no mark, and what passes from the VM does. */
static FilterOutcome expect(const char *what, const Frame *frame, bool to_vm, int verdict)
{
	int explained = filter_bench_explain(&bench, bench.taps[0], to_vm, frame);
	FilterOutcome outcome = filter_bench_run(&bench, bench.taps[0], to_vm, frame);
	bool passes = verdict < FILTER_FIRST_DROP;

	cr_expect_eq(outcome.verdict, verdict, "%s: %s, and not %s", what,
		     filter_verdict_name(outcome.verdict), filter_verdict_name(verdict));
	cr_expect_eq(explained, verdict, "%s, explained: %s", what, filter_verdict_name(explained));
	if (outcome.action == FILTER_BENCH_ANSWERED)
		cr_expect(passes, "%s", what);
	else
		cr_expect_eq(outcome.action, passes ? FILTER_BENCH_PASSED : FILTER_BENCH_DROPPED,
			     "%s: %d", what, outcome.action);
	if (outcome.action == FILTER_BENCH_PASSED && !to_vm)
		cr_expect_eq(outcome.mark, FILTER_MARK, "%s: mark %x", what, outcome.mark);
	else
		cr_expect_eq(outcome.mark, 0, "%s: mark %x", what, outcome.mark);
	return outcome;
}

static inline FilterOutcome expect_spec(const char *what, const FrameSpec *spec, int verdict)
{
	Frame frame = frame_make(spec);

	return expect(what, &frame, spec->to_vm, verdict);
}
