/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One image of an OCI layout, as the OCI image specification 1.1 has it, and what Docker writes
 * into such layouts: which manifest is meant, for this host's architecture, and where its layers
 * lie. Manifests and indexes are verified by their digests; layers are who reads them's to verify.
 */

#include "runtime/images/oci_blobs.h"

enum {
	OCI_LAYERS_MAX = 128,
};

typedef struct OciLayer {
	OciBlob blob;
	char digest[DISK_DIGEST_SIZE];
} OciLayer;

typedef struct OciImage {
	char digest[DISK_DIGEST_SIZE]; /* its manifest's */
	size_t count;
	OciLayer layers[OCI_LAYERS_MAX]; /* the lowest first */
} OciImage;

/**
 * oci_image_open() - find an image and its layers
 * @ret:	to clear
 * @reference:	the name or tag that the index has for it, or "sha256:..."; NULL: the only one
 *
 * ROOTFS: INPUT (there are several, none of that name or for this architecture; a media type
 * that is not taken: layers are tar, as they are or by gzip or zstd, and SHA-256 is the digest),
 * CORRUPT.
 */
int oci_image_open(OciImage *ret, OciBlobs *blobs, const char *reference, Error *err) must_check;
void oci_image_clear(OciImage *image);
