/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The guest kernel's command line: what every backend does the same with it.
 * Texts only; safe from any thread.
 */

#include "runtime/spec.h"

enum {
	BOOT_ARGS_MAX = 2047, /* bytes an x86 kernel takes */
};

/* Does a word of the kernel's command line @args begin with (or, @whole, equal) @word? */
bool boot_args_have(const char *args, const char *word, bool whole);

/*
 * What @args do not say of where the root drive is, with a blank at its end, or ""; to free. It is
 * for their front: behind a "--" it would be for init.
 */
char *boot_args_root(const VmSpec *spec, const char *args);
