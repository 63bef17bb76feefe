/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/memory_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum {
	PAGE = 4096,
	ASK_MAX = 512,        /* pages whose residence is asked for at once */
	PARTS_MAX = 64 * 1024 /* 1 MiB of them */
};

/* A part with data. */
typedef struct Part {
	uint64_t begin, end;
} Part;

struct MemoryFile {
	int fd;
	uint64_t size;
	void *memory;
	Part *parts; /* by offset; no two meet */
	size_t count;
};

static void add_part(MemoryFile *file, uint64_t begin, uint64_t end)
{
	if (!(file->count & (file->count - 1))) /* room for a power of two */
		file->parts = must_realloc(file->parts, file->count ? 2 * file->count : 1,
					   sizeof *file->parts);
	file->parts[file->count++] = (Part){ begin, end };
}

/* A file system that knows no holes says that all is data. */
static int find_parts(MemoryFile *file)
{
	off_t at = 0, end;

	for (;;) {
		at = lseek(file->fd, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		end = lseek(file->fd, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		if (file->count == PARTS_MAX) {
			file->parts[file->count - 1].end = file->size;
			return 0;
		}
		add_part(file, (uint64_t)at, (uint64_t)end);
		at = end;
	}
}

int memory_file_open(MemoryFile **ret, const char *path, Error *err)
{
	cleanup_(memory_file_freep) MemoryFile *file = new0(MemoryFile);
	struct stat st;
	int r;

	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file->fd < 0 || fstat(file->fd, &st) < 0)
		return error_set_errno(err, ERROR_UFFD, errno, "open %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT, "%s is no file with memory",
				       path);
	file->size = (uint64_t)st.st_size;
	r = find_parts(file);
	if (r < 0)
		return error_set_errno(err, ERROR_UFFD, -r, "find the holes of %s", path);
	file->memory = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file->fd, 0);
	if (file->memory == MAP_FAILED) {
		file->memory = NULL;
		return error_set_errno(err, ERROR_UFFD, errno, "map %s", path);
	}
	*ret = take_ptr(file);
	return 0;
}

void memory_file_free(MemoryFile *file)
{
	if (!file)
		return;
	if (file->memory)
		(void)munmap(file->memory, file->size);
	closep(&file->fd);
	free(file->parts);
	free(file);
}

uint64_t memory_file_size(const MemoryFile *file)
{
	return file->size;
}

const void *memory_file_at(const MemoryFile *file, uint64_t offset)
{
	return (const char *)file->memory + offset;
}

uint64_t memory_file_run(const MemoryFile *file, uint64_t offset, bool *hole)
{
	size_t low = 0, high = file->count;

	while (low < high) { /* the first that ends beyond @offset */
		size_t middle = low + (high - low) / 2;

		if (file->parts[middle].end <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	*hole = low == file->count || file->parts[low].begin > offset;
	if (!*hole)
		return file->parts[low].end - offset;
	return (low == file->count ? file->size : file->parts[low].begin) - offset;
}

/* Maps the runs of @there's pages that are. */
static void prepare_piece(const MemoryFile *file, uint64_t offset, const unsigned char *there,
			  uint64_t pages)
{
	for (uint64_t begin = 0, end; begin < pages; begin = end + 1) {
		for (end = begin; end < pages && there[end] & 1;)
			end++;
		if (end > begin)
			(void)madvise((char *)file->memory + offset + begin * PAGE,
				      (end - begin) * PAGE, MADV_POPULATE_READ);
	}
}

void memory_file_prepare(const MemoryFile *file)
{
	uint64_t size = file->size < MEMORY_PREPARE_MAX ? file->size : MEMORY_PREPARE_MAX;
	unsigned char there[ASK_MAX];

	for (uint64_t at = 0, pages; at + PAGE <= size; at += pages * PAGE) {
		pages = (size - at) / PAGE < ASK_MAX ? (size - at) / PAGE : ASK_MAX;
		if (mincore((char *)file->memory + at, pages * PAGE, there) < 0)
			return;
		prepare_piece(file, at, there, pages);
	}
}

uint64_t memory_file_resident(const MemoryFile *file, uint64_t offset, uint64_t size)
{
	unsigned char there[ASK_MAX];
	uint64_t pages = size / PAGE, n = 0;

	if (pages > ASK_MAX)
		pages = ASK_MAX;
	if (mincore((char *)file->memory + offset, pages * PAGE, there) < 0)
		return 0;
	while (n < pages && there[n] & 1)
		n++;
	return n * PAGE;
}

void memory_file_want(const MemoryFile *file, uint64_t offset, uint64_t size)
{
	(void)madvise((char *)file->memory + offset, size, MADV_WILLNEED);
}

int memory_file_read(const MemoryFile *file, void *to, uint64_t offset, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(file->fd, (char *)to + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		done += (size_t)n;
	}
	return 0;
}
