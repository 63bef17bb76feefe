/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The parts of a VmSpec that UpdateVm can change: their names, and which of
 * them a VM's VMM has to be told of while it is there. Safe from any thread.
 */

#include "base/error.h"
#include "runtime/spec.h"

enum {
	RUNTIME_UPDATE_LABELS = 1,
	RUNTIME_UPDATE_RESTART_POLICY = 2,
	RUNTIME_UPDATE_EXPIRES_AT = 4,
	RUNTIME_UPDATE_EXPIRE_ACTION = 8,
	RUNTIME_UPDATE_DRIVES = 16,
	RUNTIME_UPDATE_INTERFACES = 32,
	RUNTIME_UPDATE_BALLOON = 64,
	RUNTIME_UPDATE_MMDS = 128,
	RUNTIME_UPDATE_EGRESS = 256,

	RUNTIME_UPDATE_EXPIRY = RUNTIME_UPDATE_EXPIRES_AT | RUNTIME_UPDATE_EXPIRE_ACTION,
	/* What the VMM has, and what the host has; the rest is the agent's. */
	RUNTIME_UPDATE_VMM = RUNTIME_UPDATE_DRIVES | RUNTIME_UPDATE_INTERFACES |
			     RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_MMDS,
	RUNTIME_UPDATE_LIVE = RUNTIME_UPDATE_VMM | RUNTIME_UPDATE_EGRESS,
};

/* The bit of the part called @path, such as "devices.balloon"; 0 if there is none. */
unsigned spec_update_bit(const char *path);
/* The name of the lowest bit in @mask, which has one. */
const char *spec_update_name(unsigned mask);
/* All names, as "a, b, c"; to free. */
char *spec_update_names(void);

/* @spec with the parts in @mask taken from @from: one reference. */
VmSpec *spec_updated(const VmSpec *spec, const VmSpec *from, unsigned mask);
/* Those of @mask in which @a and @b differ. */
unsigned spec_update_difference(const VmSpec *a, const VmSpec *b, unsigned mask);

/**
 * spec_update_check_live() - may a VM go from @spec to @to while its VMM is there?
 * @err:	INVALID_REQUEST naming each field that differs and may not
 */
int spec_update_check_live(const VmSpec *spec, const VmSpec *to, Error *err) must_check;
