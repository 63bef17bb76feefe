/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The end of hearth-unpack when it cannot go on: a line for who runs it, and an exit code. */

#include "base/cleanup.h"

enum {
	UNPACK_FAILED = 1,
	UNPACK_INPUT = 2,   /* the image asks for what there is not, or must not be */
	UNPACK_CORRUPT = 3, /* it is not what its digests say, or no archive */
};

_Noreturn void refuse(int code, const char *format, ...) printf_like(2, 3);
