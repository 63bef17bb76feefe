/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What of the table "filter" is ours, read from the output of iptables-save.
 *
 * Ours are chains called HEARTH-<16 hex digits>, a VM's, and those with
 * "-<4 hex digits>" behind it, which it jumps to; rules of exactly the form
 * "-A FORWARD|INPUT -i <tap> -j <a VM's chain>"; and the rule of a VM's chain
 * whose comment is the VM's id. All else is somebody else's.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	IPTABLES_ROOT = 23, /* bytes of a VM's chain, which those of its others begin with */
};

typedef enum SavedKind {
	SAVED_CHAIN,
	SAVED_JUMP,
	SAVED_OWNER,
} SavedKind;

typedef struct SavedEntry {
	SavedKind kind;
	const char *chain;
	const char *hook; /* of a jump: FORWARD or INPUT */
	const char *text; /* of a jump the interface, of an owner the id */
} SavedEntry;

typedef struct IptablesSaved {
	char *text; /* what the entries point into */
	SavedEntry *entries;
	size_t count, room;
} IptablesSaved;

/* Takes over @text, which is cut into words. */
void iptables_saved_parse(IptablesSaved *ret, char *text);
void iptables_saved_clear(IptablesSaved *saved);

/* Is @name a chain of ours, as VMs have them? */
bool iptables_is_chain(const char *name);
