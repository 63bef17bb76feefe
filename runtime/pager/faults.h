/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The fault thread: all that is ever done with a VMM's userfaultfd.
 *
 * One thread does it, as the kernel asks for an order that two could not keep:
 * between the reading of a REMOVE and UFFDIO_UNREGISTER no page may be filled,
 * or what was in the snapshot would come back where the guest is to find
 * zeros. So it installs the working set too, a step at a time, looking for
 * faults after each; and while it waits for nothing else it blocks in read(),
 * which on one CPU is a fifth faster than poll().
 *
 *	install or parked faults	O_NONBLOCK, poll() with a time-out, read()
 *	none				read() blocks (poll() would answer POLLERR)
 *
 * The kernel is the only one who knows which pages are there. A fault is
 * always answered by filling the page, and EEXIST is an answer too; bitmaps
 * (state.h) only say what need not be tried. So nothing is lost with a pager:
 * the one that takes over applies the REMOVEs that the dead one had read, which
 * does no harm a second time, then wakes all who wait, and they ask again.
 *
 * REMOVE: the range becomes the VMM's own again by UFFDIO_UNREGISTER, then
 * UFFDIO_WAKE: who came to the fault between the two steps of the former
 * would wait forever. Each such range may split a mapping, of which a
 * process has 65 530: beyond UNREGISTER_MAX, BITS_REMOVED alone has zeros
 * brought there.
 *
 * What cannot be read, even by pread(), is the VMM's end, by SIGKILL and with
 * the reason in pager.state, while whoever asked for it still waits. Not by
 * UFFDIO_POISON: where KVM has to emulate the guest's instruction it takes a
 * poisoned page for a device's registers, and the guest reads on in nonsense.
 */

#include "runtime/pager/memory_file.h"
#include "runtime/pager/state.h"
#include "runtime/pager/working_set.h"

enum {
	UNREGISTER_MAX = 15000
};

typedef struct FaultsConfig {
	int uffd;
	int vmm; /* its pidfd */
	const MemoryFile *memory;
	State *state;
	const WorkingSet *install; /* may be empty */
	uint64_t window;           /* bytes, at most */
	bool taken_over;           /* from another pager */
	void (*installed)(void);   /* called by the thread when the working set is there */
} FaultsConfig;

typedef struct Faults Faults;

/* @config and all in it stay the caller's and must outlive it. */
Faults *faults_new(const FaultsConfig *config);
void faults_free(Faults *faults); /* accepts NULL */
DEFINE_CLEANUP(Faults *, faults_free);

/* The thread: serves until the VMM's memory is gone, or it had to be killed. */
void faults_serve(Faults *faults);
