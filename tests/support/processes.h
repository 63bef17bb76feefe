/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Has a user processes? For tests that give each program a user of its own. */

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"

#include <sys/stat.h>

/* One that nobody has, for this test alone. */
static inline uid_t lone_uid(void)
{
	return 200000 + (uid_t)getpid() % 1000000;
}

/* Those that wait to be reaped are left out. */
static inline bool has_processes(uid_t uid)
{
	cleanup_closedir DIR *proc = opendir("/proc");
	const struct dirent *file;
	ProcessId id;
	struct stat st;
	uint64_t pid;

	while ((file = readdir(proc)))
		if (text_to_u64(&pid, file->d_name) == 0 &&
		    fstatat(dirfd(proc), file->d_name, &st, 0) == 0 && st.st_uid == uid &&
		    process_identify(&id, (pid_t)pid) == 0)
			return true;
	return false;
}

/* What was killed is gone soon. */
static inline bool processes_end(uid_t uid)
{
	int64_t deadline = clock_mono_us() + 5 * (int64_t)USEC_PER_SEC;

	while (has_processes(uid) && clock_mono_us() < deadline)
		(void)usleep(1000);
	return !has_processes(uid);
}
