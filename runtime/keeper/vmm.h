/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The VMM as its keeper holds it: started here, with the keeper's ends of the
 * pipes it writes to.
 */

#include "base/error.h"
#include "runtime/keeper/groups.h"

#include <sys/types.h>

typedef struct Vmm {
	pid_t pid;
	int console; /* what it writes to its fd 3; all non-blocking, -1 once at their end */
	int output;  /* its standard output and error */
	int qmp;     /* the other end of its fd 4; -1 without */
} Vmm;

typedef struct VmmWants {
	bool console;         /* as fd 3 */
	bool qmp;             /* a socket as fd 4 */
	const Groups *groups; /* that it enters */
} VmmWants;

/**
 * vmm_start() - run @argv as a child that dies with this process
 * @wanted:	what it gets
 * @err:	VMM_FAILED
 *
 * Returns when it has been executed. The caller is single-threaded: it forks.
 */
int vmm_start(Vmm *ret, char *const argv[], const VmmWants *wanted, Error *err) must_check;
