/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a VMM can do on this host, as last found out by running it.
 *
 * A VMM that was found is believed; one that was not is looked for again when
 * somebody asks and a while has passed, for it may have been installed. A look
 * that could not be carried out takes nothing back. Safe from any thread.
 */

#include "base/lock.h"
#include "base/process.h"
#include "runtime/backend.h"

/**
 * ProbeFn - a look at the host; may take seconds
 * @ret:	available, message, version and accelerator are filled in
 * @cancel_fd:	once it is readable the look is given up; -1: never
 *
 * Return: 0; -ECANCELED; -errno if this agent lacked what it takes to look (descriptors, memory,
 * processes), which says nothing of the VMM: @ret is not available then, and its message names the
 * shortage.
 */
typedef int ProbeFn(BackendInfo *ret, const BackendConfig *config, int cancel_fd);

/* Part of a backend, which alone looks inside. */
typedef struct ProbeCache {
	ProbeFn *probe;
	const BackendConfig *config;
	int64_t again; /* usec after a look that found no VMM */
	int ending;    /* an eventfd, readable once looks are to be given up */
	Lock lock;
	Cond ended;       /* with lock */
	bool probing;     /* under lock: for probe_cache_get() */
	int64_t probed;   /* under lock: when (monotonic usec), or 0 */
	BackendInfo info; /* under lock; as last found */
} ProbeCache;

/* @config must live as long. */
void probe_cache_init(ProbeCache *cache, ProbeFn *probe, const BackendConfig *config);
void probe_cache_destroy(ProbeCache *cache);

/* Ends a look that is under way, and any later one, at once. */
void probe_cache_give_up(ProbeCache *cache);

/* Looks now, whoever else does: a backend's probe(). @ret is what is known from now on. */
void probe_cache_look(ProbeCache *cache, BackendInfo *ret);

/* As last found; looks if that has not been done or has become due. Of several callers one looks
 * and the others wait for it. */
BackendInfo probe_cache_get(ProbeCache *cache);

/* Runs @argv as process_run_until(), so that it ends with this agent and leaves no core file: a VMM
 * that is tried may never end. */
int probe_run(ProcessResult *ret, const BackendConfig *config, char *const argv[], int cancel_fd,
	      int64_t timeout) must_check;

/* Does the errno @error tell of this moment's shortage, and nothing of a program that was to run?
 */
bool probe_is_shortage(int error);
