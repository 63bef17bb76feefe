/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The guest kernel's command line: what every backend does the same with it.
 * Texts only; safe from any thread.
 */

#include "runtime/network.h"

enum {
	BOOT_ARGS_MAX = 2047,   /* bytes an x86 kernel takes */
	BOOT_ARGS_NETWORK = 80, /* the longest of boot_args_with_network() adds */
};

/* Does a word of the kernel's command line @args begin with (or, @whole, equal) @word? */
bool boot_args_have(const char *args, const char *word, bool whole);

/*
 * What @args do not say of where the root drive is, with a blank at its end, or ""; to free. It is
 * for their front: behind a "--" it would be for init.
 */
char *boot_args_root(const VmSpec *spec, const char *args);

/*
 * @args with the address of the first interface before them, if @network has leased it one and
 * @args do not say "ip=" themselves, as the kernel's nfsroot.rst has it:
 * "ip=ADDRESS::GATEWAY:NETMASK::eth0:off", and ":GATEWAY" behind that where @network resolves names
 * (the guest finds it in /proc/net/pnp). To free.
 */
char *boot_args_with_network(const char *args, const VmResolved *resolved, const Network *network);

/* The most bytes that will add to the arguments of @spec's VM. */
size_t boot_args_network_max(const VmSpec *spec, const Network *network);
