/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_layout.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum {
	PIECE = 1 << 20, /* a multiple of DISK_GAP_MIN */
};

/* The largest gaps so far, in order, and the one that may go on. One more gap at the beginning and
 * the end than between runs. */
typedef struct Scan {
	DiskRun gaps[DISK_RUNS_MAX + 1];
	size_t count;
	DiskRun open;
	uint64_t size;
} Scan;

static uint64_t length_of(const DiskRun *run)
{
	return run->end - run->at;
}

/* A gap at either end of the disk parts no runs, and costs nothing. */
static bool is_inner(const Scan *scan, const DiskRun *gap)
{
	return gap->at > 0 && gap->end < scan->size;
}

static size_t count_inner(const Scan *scan)
{
	size_t count = 0;

	for (size_t i = 0; i < scan->count; i++)
		count += is_inner(scan, &scan->gaps[i]);
	return count;
}

static void drop_smallest(Scan *scan)
{
	size_t smallest = SIZE_MAX;

	for (size_t i = 0; i < scan->count; i++)
		if (is_inner(scan, &scan->gaps[i]) &&
		    (smallest == SIZE_MAX ||
		     length_of(&scan->gaps[i]) < length_of(&scan->gaps[smallest])))
			smallest = i;
	scan->count--;
	memmove(&scan->gaps[smallest], &scan->gaps[smallest + 1],
		(scan->count - smallest) * sizeof *scan->gaps);
}

/* The open gap is at its end. */
static void close_gap(Scan *scan)
{
	if (length_of(&scan->open) > 0) {
		scan->gaps[scan->count++] = scan->open;
		if (count_inner(scan) >= DISK_RUNS_MAX)
			drop_smallest(scan);
	}
	scan->open = (DiskRun){ 0 };
}

static void add_zeros(Scan *scan, uint64_t at, uint64_t end)
{
	if (scan->open.end != at || length_of(&scan->open) == 0) {
		close_gap(scan);
		scan->open.at = at;
	}
	scan->open.end = end;
}

static bool is_zero(const char *bytes, size_t size)
{
	return !bytes[0] && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Looks at @size bytes that begin at @at, a multiple of DISK_GAP_MIN. */
static void add_bytes(Scan *scan, uint64_t at, const char *bytes, size_t size)
{
	for (size_t done = 0; done < size; done += DISK_GAP_MIN) {
		size_t n = size - done < DISK_GAP_MIN ? size - done : DISK_GAP_MIN;

		if (is_zero(bytes + done, n))
			add_zeros(scan, at + done, at + done + n);
	}
}

static uint64_t round_down(uint64_t at)
{
	return at / DISK_GAP_MIN * DISK_GAP_MIN;
}

/* Reads one piece, at *@at or behind the hole that is there. Return: 0 or -errno. */
static int scan_piece(Scan *scan, int fd, char *piece, uint64_t *at)
{
	uint64_t data[2] = { 0 };
	int r = disk_next_data(data, fd, *at, scan->size);
	uint64_t begin = data[0] < scan->size ? round_down(data[0]) : scan->size;
	ssize_t n;

	if (r < 0)
		return r;
	if (begin > *at)
		add_zeros(scan, *at, begin);
	*at = begin;
	if (begin == scan->size)
		return 0;
	n = disk_read(fd, piece, PIECE, begin);
	if (n <= 0)
		return n < 0 ? (int)n : -EIO;
	add_bytes(scan, begin, piece, (size_t)n);
	*at += (uint64_t)n;
	return 0;
}

static int scan_all(Scan *scan, int fd, const DiskProgress *progress)
{
	cleanup_free char *piece = must_realloc(NULL, PIECE, 1);
	uint64_t at = 0;
	int r = 0;

	while (r == 0 && at < scan->size) {
		r = scan_piece(scan, fd, piece, &at);
		if (r == 0)
			r = disk_progress(progress, at, scan->size);
	}
	close_gap(scan);
	return r;
}

/* What lies between the gaps. */
static void to_layout(const Scan *scan, DiskLayout *ret)
{
	uint64_t at = 0;

	*ret = (DiskLayout){ .size = scan->size };
	for (size_t i = 0; i <= scan->count; i++) {
		uint64_t end = i < scan->count ? scan->gaps[i].at : scan->size;

		if (end > at) {
			ret->runs[ret->count++] = (DiskRun){ at, end };
			ret->data += end - at;
		}
		if (i < scan->count)
			at = scan->gaps[i].end;
	}
}

int disk_layout_scan(DiskLayout *ret, int fd, const char *path, const DiskProgress *progress,
		     Error *err)
{
	Scan scan = { 0 };
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0) {
		scan.size = (uint64_t)st.st_size;
		r = scan_all(&scan, fd, progress);
	}
	if (r < 0)
		return disk_error(err, -r, "read %s", path);
	to_layout(&scan, ret);
	return 0;
}

uint32_t disk_layout_extents(int fd)
{
	struct fiemap map = { .fm_length = FIEMAP_MAX_OFFSET };

	return ioctl(fd, FS_IOC_FIEMAP, &map) < 0 ? 0 : map.fm_mapped_extents;
}
