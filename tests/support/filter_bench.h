/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A filter in namespaces of its own: a BPF file system that is nobody else's,
 * taps that carry nothing, and packets that the kernel runs the programs on.
 * All of it goes with the test's process.
 */

#include "netfw/filter.h"
#include "tests/support/frame.h"

enum {
	FILTER_BENCH_VMS = 3,
	FILTER_BENCH_DROPPED = 2,  /* TC_ACT_SHOT */
	FILTER_BENCH_PASSED = 0,   /* TC_ACT_OK */
	FILTER_BENCH_ANSWERED = 7, /* TC_ACT_REDIRECT */
};

#define FILTER_BENCH_PINS "/sys/fs/bpf/hearth"

typedef struct FilterBench {
	Filter *filter;
	uint32_t taps[FILTER_BENCH_VMS + 1]; /* the last one is never a VM's */
	int tap_fds[FILTER_BENCH_VMS + 1];
} FilterBench;

/* What the programs have done. */
typedef struct FilterOutcome {
	int verdict; /* by what was counted; -1: nothing, or more than one */
	int action;
	uint32_t mark;
	Frame frame; /* as it is afterwards */
} FilterOutcome;

/* Why there can be none here; NULL: it is open, with @max_vms, and the caller's to close. A filter
 * that does not open where BPF is to be had ends the test. */
const char *filter_bench_open(FilterBench *ret, uint32_t max_vms);
void filter_bench_close(FilterBench *bench);

/* The VM of tests/support/frame.h at tap @index, which is also its slot. */
FilterVm filter_bench_vm(const FilterBench *bench, uint32_t index);

/* Compiles the rules that verdicts are tested with; the caller's to free. */
FilterTable *filter_bench_table(void);
/* Nothing is allowed. */
FilterTable *filter_bench_no_rules(void);

/* The action alone, quickly; -1: the kernel runs no program on such a frame. */
int filter_bench_act(FilterBench *bench, uint32_t tap, bool to_vm, const Frame *frame,
		     Frame *after);
FilterOutcome filter_bench_run(FilterBench *bench, uint32_t tap, bool to_vm, const Frame *frame);
/* What the explaining instance says of the same; without effects. */
int filter_bench_explain(FilterBench *bench, uint32_t tap, bool to_vm, const Frame *frame);
