/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_identity.h"

#include "base/clock.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NSEC_PER_SEC INT64_C(1000000000)

enum {
	SETTLE_MAX = 3 * USEC_PER_SEC,
};

static int64_t nsec_of(const struct timespec *time)
{
	return time->tv_sec * NSEC_PER_SEC + time->tv_nsec;
}

int disk_identity_get(DiskIdentity *ret, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (DiskIdentity){
		.device = st.st_dev,
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime = nsec_of(&st.st_mtim),
		.ctime = nsec_of(&st.st_ctim),
	};
	return 0;
}

bool disk_identity_equal(const DiskIdentity *a, const DiskIdentity *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* How long a stamp of this file may stay the same. Inodes of 128 bytes have seconds only. */
static int64_t tick_of(const DiskIdentity *identity)
{
	struct timespec tick;

	if (identity->ctime % NSEC_PER_SEC == 0)
		return 2 * NSEC_PER_SEC;
	(void)clock_getres(CLOCK_REALTIME_COARSE, &tick);
	return nsec_of(&tick);
}

/* The mtime is of no use here: anybody can set it. */
bool disk_identity_is_settled(const DiskIdentity *identity)
{
	struct timespec now; /* of the clock that stamps */

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return nsec_of(&now) > identity->ctime + tick_of(identity);
}

bool disk_identity_settle(const DiskIdentity *identity)
{
	int64_t until = clock_mono_us() + SETTLE_MAX;

	while (!disk_identity_is_settled(identity)) {
		if (clock_mono_us() > until)
			return false;
		clock_sleep_us(USEC_PER_MSEC);
	}
	return true;
}
