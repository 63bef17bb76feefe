/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control groups of VMs: which hierarchy has the controllers, what the jailer
 * is told to set, whether it holds, and the end of all that is in one.
 *
 * Version 2 is used where its root offers cpu, memory and pids, version 1
 * where each of them is mounted. A group is "<parent>/<name>" below the
 * hierarchy of each controller. Safe from any thread.
 */

#include "base/error.h"
#include "runtime/spec.h"

#include <sys/types.h>

typedef enum CgroupController {
	CGROUP_CPU,
	CGROUP_MEMORY,
	CGROUP_PIDS,
	CGROUP_COUNT_,
} CgroupController;

enum {
	CGROUP_PATH_MAX = 256,
	CGROUP_WORDS_MAX = 6,
	CGROUP_WORD_MAX = 64,
};

typedef struct CgroupHost {
	int version; /* 1 or 2 */
	bool swap;   /* groups have a limit that keeps their memory from being swapped out */
	/* Where each controller's hierarchy is mounted; the same three times in version 2. */
	char mounts[CGROUP_COUNT_][CGROUP_PATH_MAX];
} CgroupHost;

/**
 * cgroup_find() - this host's hierarchies
 * @mounts:	a file like /proc/self/mounts; NULL: that one
 * @why:	of @size bytes: what is missing
 *
 * Return: 0, or -ENOENT with @why.
 */
int cgroup_find(CgroupHost *ret, const char *mounts, char *why, size_t size) must_check;

/* What is to be in a file of a group. */
typedef struct CgroupSetting {
	CgroupController controller;
	const char *file;
	char value[32];
} CgroupSetting;

/* What has to be set so that @limits hold, in the order of writing; the count is returned. */
size_t cgroup_settings(const CgroupHost *host, const VmLimits *limits,
		       CgroupSetting ret[static CGROUP_WORDS_MAX]);

/* Makes the directory @dir, below a hierarchy's root, unless it is there; processes can enter it
 * then. 0; -errno. */
int cgroup_make_dir(const char *dir) must_check;

/* Moves every process that is in the directory @from to @to: 0; -errno. */
int cgroup_move_all(const char *from, const char *to) must_check;

/* Makes @group with @limits set: 0; -errno. Of what is above it, no more than its parent below a
 * root is made as well. One left over has to be ended first. */
int cgroup_make(const CgroupHost *host, const char *group, const VmLimits *limits) must_check;

/* The file that counts how often the kernel ended a process of @group for lack of memory, behind
 * the word "oom_kill"; to free. */
char *cgroup_memory_events(const CgroupHost *host, const char *group);

/*
 * "FILE=VALUE" for each thing to be set so that @limits hold, in the order of writing; the count
 * is returned. They fit a fresh group: one left over has to be ended first.
 */
size_t cgroup_words(const CgroupHost *host, const VmLimits *limits,
		    char words[static CGROUP_WORDS_MAX][CGROUP_WORD_MAX]);

/**
 * cgroup_verify() - read back that @limits are set on @group, and that @pid is in it
 * @err:	JAILER: the file, what is wanted and what is there
 */
int cgroup_verify(const CgroupHost *host, const char *group, const VmLimits *limits, pid_t pid,
		  Error *err) must_check;

/**
 * cgroup_end() - end every process in @group and remove it
 *
 * Return: 0, also if there is none; -ETIMEDOUT if a process did not die within @timeout usec;
 * -errno.
 */
int cgroup_end(const CgroupHost *host, const char *group, int64_t timeout) must_check;

typedef struct CgroupUsage {
	uint64_t cpu_usec; /* 0 where version 1 does not count it with this controller */
	uint64_t cpu_throttled_usec;
	uint64_t memory_bytes, memory_peak_bytes;
	uint64_t pids;
} CgroupUsage;

/* What @group uses; what cannot be read is 0. */
void cgroup_usage(CgroupUsage *ret, const CgroupHost *host, const char *group);

/* The directory of this process's own group, with the controller memory; NULL: it cannot be told.
 * To free. */
char *cgroup_own(const CgroupHost *host);
