/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/unpack/layer.h"

#include "base/text.h"
#include "runtime/images/disk_hash.h"
#include "runtime/images/unpack/refuse.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

enum {
	PIECE = 128 << 10,
};

static_assert((int)LAYER_DIGEST_SIZE == (int)DISK_DIGEST_SIZE, "it holds a digest");

struct Layer {
	const LayerPlace *place;
	uint64_t done;
	DiskHasher *hasher;
	struct archive *archive;
	char piece[PIECE];
};

static uint64_t all_done; /* of all layers that were read */

int layer_place_parse(LayerPlace *ret, const char *text)
{
	cleanup_free char *copy = text_dup(text);
	char *rest = copy;
	const char *fd = strsep(&rest, ":"), *at = strsep(&rest, ":"), *size = strsep(&rest, ":");
	uint64_t number;

	if (!rest || text_to_u64(&number, fd) < 0 || number > INT_MAX ||
	    text_to_u64(&ret->at, at) < 0 || text_to_u64(&ret->size, size) < 0 ||
	    !disk_digest_is_valid(rest))
		return -EINVAL;
	ret->fd = (int)number;
	text_copy(ret->digest, sizeof ret->digest, rest);
	return 0;
}

static void tell_progress(size_t more)
{
	all_done += more;
	(void)!pwrite(LAYER_PROGRESS_FD, &all_done, sizeof all_done, 0);
}

static la_ssize_t read_some(struct archive *archive, void *user, const void **ret)
{
	Layer *layer = user;
	const LayerPlace *place = layer->place;
	uint64_t left = place->size - layer->done;
	ssize_t n = disk_read(place->fd, layer->piece, left < PIECE ? left : PIECE,
			      place->at + layer->done);

	(void)archive;
	if (n < 0 || (n == 0 && left))
		refuse(UNPACK_CORRUPT, "layer %s: cannot be read to its end", place->digest);
	disk_hasher_add(layer->hasher, layer->piece, (size_t)n);
	layer->done += (uint64_t)n;
	tell_progress((size_t)n);
	*ret = layer->piece;
	return n;
}

static _Noreturn void refuse_archive(const Layer *layer)
{
	refuse(UNPACK_CORRUPT, "layer %s: %s", layer->place->digest,
	       archive_error_string(layer->archive));
}

Layer *layer_open(const LayerPlace *place)
{
	Layer *layer = new0(Layer);
	struct archive *archive = archive_read_new();

	layer->place = place;
	layer->hasher = disk_hasher_new();
	layer->archive = archive;
	if (!archive || archive_read_support_filter_gzip(archive) < ARCHIVE_WARN ||
	    archive_read_support_filter_zstd(archive) < ARCHIVE_WARN ||
	    archive_read_support_format_tar(archive) < ARCHIVE_WARN ||
	    archive_read_support_format_empty(archive) < ARCHIVE_WARN)
		refuse(UNPACK_FAILED, "libarchive does not read what it is to read");
	if (archive_read_open(archive, layer, NULL, read_some, NULL) != ARCHIVE_OK)
		refuse_archive(layer);
	return layer;
}

/* What lies behind the end of the archive is part of the layer as well. */
static void check_digest(Layer *layer)
{
	char digest[DISK_DIGEST_SIZE];
	const void *rest;

	while (read_some(layer->archive, layer, &rest) > 0)
		;
	disk_hasher_end(layer->hasher, digest);
	if (strcmp(digest, layer->place->digest) != 0)
		refuse(UNPACK_CORRUPT, "layer %s: its SHA-256 is %s", layer->place->digest, digest);
}

struct archive_entry *layer_next(Layer *layer)
{
	struct archive_entry *entry;
	int r = archive_read_next_header(layer->archive, &entry);

	if (r == ARCHIVE_EOF) {
		check_digest(layer);
		return NULL;
	}
	/* A warning is about what is not taken over anyway, or that a name is no ASCII, which is
	 * the locale here: then the name is the bytes that the archive has, as it should be. */
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		refuse_archive(layer);
	return entry;
}

bool layer_data(Layer *layer, const void **bytes, size_t *size, uint64_t *at)
{
	la_int64_t offset;
	int r = archive_read_data_block(layer->archive, bytes, size, &offset);

	if (r == ARCHIVE_EOF)
		return false;
	if (r != ARCHIVE_OK)
		refuse_archive(layer);
	*at = (uint64_t)offset;
	return true;
}

void layer_close(Layer *layer)
{
	(void)archive_read_free(layer->archive);
	disk_hasher_free(layer->hasher);
	free(layer);
}
