/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * record.json in a VM's run directory: the VM's record as it was when its VMM
 * was last started or changed, so that a store can be made again from what runs.
 * The agent writes it and, with --rebuild only, reads it; the store is the truth.
 */

#include "runtime/record.h"

enum {
	RUN_RECORD_FORMAT = 1 /* raised when a member changes its meaning; others are only added */
};

/* Replaces it (mode 0600, not synced: VMs do not outlive the host): 0 or -errno, and then there is
 * none. */
int run_record_write(const char *run_dir, const VmRecord *record) must_check;

/* 0; -ENOENT; -EINVAL: no such file, or of a later format. */
int run_record_read(VmRecord **ret, const char *run_dir) must_check;
