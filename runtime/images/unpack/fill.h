/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A tree becomes the contents of an ext4, through libext2fs: owners, modes, devices and attributes
 * are written as numbers, which takes no privilege, and in an order of names, so that the same
 * image becomes the same bytes. Times are whole seconds, from 1970 to 2038.
 */

#include "runtime/images/unpack/layer.h"
#include "runtime/images/unpack/tree.h"

enum {
	FILL_BLOCK = 4096,
};

typedef struct FillNeeds {
	uint64_t bytes; /* of blocks, those of the file system's own left out */
	uint64_t inodes;
} FillNeeds;

FillNeeds fill_measure(const Node *root);

/* @path: an empty ext4 of blocks of FILL_BLOCK. */
void fill(const char *path, Node *root, const LayerPlace *places, size_t count);
