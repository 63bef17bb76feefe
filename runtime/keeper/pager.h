/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The pager of a VMM whose memory comes page by page, as the keeper's other child.
 *
 * It is started when the VMM's pid is known, since it listens to that process alone, and before
 * anybody is told that the VMM runs: its socket is there before the VMM can be asked to connect.
 * It ends with the VMM. When it dies otherwise the next one takes over, and the VMM, which waits
 * meanwhile, is none the wiser; but what kills PAGER_DEATHS_MAX of them within a minute will kill
 * more, and one that gives up by itself has said why no other could do better. Then the VMM has
 * to end: it would only hang.
 */

#include "base/error.h"
#include "base/process.h"
#include "runtime/keeper/bounded_log.h"
#include "runtime/keeper/groups.h"

enum {
	PAGER_DEATHS_MAX = 3,
	PAGER_REASON_MAX = 256
};

typedef struct PagerOptions {
	char *program;      /* NULL: the VMM has its memory by itself */
	char *memory;       /* the file it comes from */
	char *socket;       /* where the VMM will connect to */
	char *working_set;  /* to install; NULL: none */
	char *record;       /* where the working set of this run goes; NULL: nowhere */
	char *record_for;   /* seconds; NULL: as the pager thinks */
	char *window;       /* KiB; the same */
	Groups jail_groups; /* those the jailer has put the VMM into */
} PagerOptions;

typedef struct PagerConfig {
	const PagerOptions *options;
	const char *run_dir;
	const Groups *groups; /* that it enters, as the VMM did */
	uid_t uid;            /* of the VMM; (uid_t)-1: this process's */
	BoundedLog *log;      /* where what it has to tell people goes */
} PagerConfig;

typedef struct Pager {
	PagerConfig config;
	ProcessId vmm;
	pid_t pid;  /* -1: none */
	int output; /* what it says; -1 at its end */
	char line[PAGER_REASON_MAX];
	size_t used;
	bool listening;
	int64_t deaths[PAGER_DEATHS_MAX]; /* monotonic usec, the latest of them */
	size_t death_count;
	bool failed;                   /* no more of them */
	char reason[PAGER_REASON_MAX]; /* then why; before, what it said last */
} Pager;

/**
 * pager_start() - the first one
 * @ret:	to be released by pager_stop(), also on failure
 * @vmm:	a child of this process; if it has ended there is no pager, and no error
 * @err:	UFFD, in its own words
 *
 * Returns when it listens.
 */
int pager_start(Pager *ret, const PagerConfig *config, pid_t vmm, Error *err) must_check;

/* Reads what it says, a buffer at most: true if there may be more. */
bool pager_listen(Pager *pager);

/* It has ended with @status, and its VMM has not: false when there will be no other. */
bool pager_replace(Pager *pager, int status) must_check;

/* Why a page could not be served, as it has written down; false: none is known of. */
bool pager_has_failed(Pager *pager);

/* Ends it at once. */
void pager_stop(Pager *pager);
