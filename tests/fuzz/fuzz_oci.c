/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The archive of an OCI image: what the fuzzer gives as it is, and as the index of an archive that
 * is right. What is found lies within the file.
 */

#include "base/file.h"
#include "base/text.h"
#include "runtime/images/oci_image.h"

#include <assert.h>
#include <string.h>

enum {
	BLOCK = 512,
	INDEX_MAX = 64 << 10,
	SIZE_AT = 124,
	SUM_AT = 148,
	SUM_SIZE = 8,
	TYPE_AT = 156,
	MAGIC_AT = 257,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_it(const void *bytes, size_t size)
{
	cleanup_free char *path = text_printf("/tmp/hearth-fuzz-oci.%d", (int)getpid());
	cleanup_(oci_blobs_closep) OciBlobs *blobs = NULL;
	OciImage image;
	Error err = { 0 };
	int r = file_replace(path, bytes, size);

	assert(r == 0);
	r = oci_blobs_open(&blobs, path, &err);
	(void)unlink(path);
	if (r < 0 || oci_image_open(&image, blobs, NULL, &err) < 0) {
		assert(err.kind == ERROR_ROOTFS);
		return;
	}
	for (size_t i = 0; i < image.count; i++)
		assert(image.layers[i].blob.at + image.layers[i].blob.size <= size);
	oci_image_clear(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *archive = must_calloc(BLOCK + size + BLOCK, 1);
	unsigned sum = 0;

	try_it(data, size);
	if (size > INDEX_MAX)
		return 0;
	(void)stpcpy(archive, "index.json");
	(void)snprintf(archive + SIZE_AT, SUM_AT - SIZE_AT, "%011zo", size);
	memset(archive + SUM_AT, ' ', SUM_SIZE);
	archive[TYPE_AT] = '0';
	(void)stpcpy(archive + MAGIC_AT, "ustar");
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)archive[i];
	(void)snprintf(archive + SUM_AT, SUM_SIZE, "%06o", sum);
	memcpy(archive + BLOCK, data, size);
	try_it(archive, (BLOCK + size + BLOCK - 1) / BLOCK * BLOCK);
	return 0;
}
