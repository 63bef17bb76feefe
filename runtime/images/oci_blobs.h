/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The files of an OCI image layout, which is a directory or a tar archive of one. Of an archive
 * only the headers are read, to know where its files lie; names are looked for and never followed.
 * One thread at a time.
 */

#include "runtime/images/disk_hash.h"

#include <stddef.h>

typedef struct OciBlobs OciBlobs;

/* A piece of a file. */
typedef struct OciBlob {
	int fd; /* close-on-exec, the caller's to close */
	uint64_t at, size;
} OciBlob;

/* Is @path a directory, or an archive, so that it may be one? */
bool oci_blobs_fit(const char *path);

/**
 * oci_blobs_open() - open the layout @path
 * @path:	kept by reference, for messages
 *
 * ROOTFS: INPUT (it is no layout), CORRUPT (an archive that cannot be read), MISSING.
 */
int oci_blobs_open(OciBlobs **ret, const char *path, Error *err) must_check;
void oci_blobs_close(OciBlobs *blobs); /* accepts NULL */
DEFINE_CLEANUP(OciBlobs *, oci_blobs_close);

const char *oci_blobs_path(const OciBlobs *blobs);

/* The blob of that SHA-256, which nobody has verified. ROOTFS/CORRUPT: it is not there. */
int oci_blobs_find(OciBlobs *blobs, const char *digest, OciBlob *ret, Error *err) must_check;

/**
 * oci_blobs_read() - a small one, verified
 * @ret:	@length bytes and a NUL; to free
 * @digest:	NULL: the layout's index, which nothing vouches for
 *
 * ROOTFS: CORRUPT, INPUT (too large).
 */
int oci_blobs_read(OciBlobs *blobs, const char *digest, char **ret, size_t *length, Error *err)
	must_check;
