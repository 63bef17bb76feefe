/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/grpc_log.h"

#include "base/clock.h"

#include <grpc/support/log.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

enum {
	LINES_PER_SECOND = 5
};

static _Atomic int64_t second; /* which one lines is about */
static atomic_uint lines;

static void print(gpr_log_func_args *args)
{
	int64_t now = clock_mono_us() / USEC_PER_SEC;

	if (args->severity < GPR_LOG_SEVERITY_ERROR)
		return;
	if (atomic_exchange(&second, now) != now)
		atomic_store(&lines, 0);
	if (atomic_fetch_add(&lines, 1) < LINES_PER_SECOND)
		(void)fprintf(stderr, "grpc: %s\n", args->message);
}

void grpc_log_install(void)
{
	gpr_set_log_function(print);
}
