/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The memory of a snapshot, as the file it is read from: mapped, with its
 * holes known.
 *
 * The mapping is never read by this process itself, but by the kernel for
 * UFFDIO_COPY, which answers EFAULT where the file has no more or the disk
 * fails. So nothing here ends in SIGBUS.
 */

#include "base/error.h"

#define MEMORY_PREPARE_MAX (UINT64_C(1) << 30)

typedef struct MemoryFile MemoryFile;

/**
 * memory_file_open() - map @path and find its holes
 * @ret:	to be released by memory_file_free()
 * @err:	UFFD
 */
int memory_file_open(MemoryFile **ret, const char *path, Error *err) must_check;
void memory_file_free(MemoryFile *file); /* accepts NULL */
DEFINE_CLEANUP(MemoryFile *, memory_file_free);

uint64_t memory_file_size(const MemoryFile *file);
/* For UFFDIO_COPY only. */
const void *memory_file_at(const MemoryFile *file, uint64_t offset);

/**
 * memory_file_run() - how far what is at @offset goes on
 * @hole:	set to whether it is a hole, all of which reads as zeros
 *
 * Return: bytes up to the next change or the file's end; @offset is before that. Where the file
 * has more parts than are kept, data may be told of where there is a hole.
 */
uint64_t memory_file_run(const MemoryFile *file, uint64_t offset, bool *hole);

/**
 * memory_file_prepare() - put what is in the page cache into this process's page tables
 *
 * UFFDIO_COPY from a page that is not takes a fault of its own; for pages here and there that is
 * a fifth of the time. 60 usec a MiB, of the first MEMORY_PREPARE_MAX bytes; the disk is not asked.
 */
void memory_file_prepare(const MemoryFile *file);

/* How many of @size bytes from @offset, both of whole pages, can be had without the disk. */
uint64_t memory_file_resident(const MemoryFile *file, uint64_t offset, uint64_t size);

/* Has the disk begin to read that. */
void memory_file_want(const MemoryFile *file, uint64_t offset, uint64_t size);

/* Reads by system call, which says why it fails: 0 or -errno; -ENODATA: the file ends before. */
int memory_file_read(const MemoryFile *file, void *to, uint64_t offset, size_t size) must_check;
