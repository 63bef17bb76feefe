/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One layer of an image: a tar archive, as it is or compressed by gzip or zstd, in a piece of a
 * file that is open. Read from front to back, to its end, by which its digest is known.
 */

#include "base/cleanup.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stdint.h>

/* What has been read so far of all layers is told in this descriptor's first 8 bytes. */
enum {
	LAYER_PROGRESS_FD = 4,
	LAYER_DIGEST_SIZE = 65, /* as disk_hash.h has it, which libext2fs' headers clash with */
};

/* As it is on the command line: <fd>:<at>:<size>:<digest>. */
typedef struct LayerPlace {
	int fd;
	uint64_t at, size;
	char digest[LAYER_DIGEST_SIZE];
} LayerPlace;

int layer_place_parse(LayerPlace *ret, const char *text) must_check;

typedef struct Layer Layer;

Layer *layer_open(const LayerPlace *place);

/* The next entry, valid until the next call; NULL at the end, when the digest was found right. */
struct archive_entry *layer_next(Layer *layer);

/* The next piece of the entry's data; false at its end. */
bool layer_data(Layer *layer, const void **bytes, size_t *size, uint64_t *at);

void layer_close(Layer *layer);
