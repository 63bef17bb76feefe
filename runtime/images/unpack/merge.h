/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The layers of an image, one over the other, as the OCI image specification has it ("Image Layer
 * Filesystem Changeset"): what comes later replaces what came before, `.wh.NAME` removes NAME of
 * the layers below, and `.wh..wh..opq` all that they have in a directory.
 *
 * What no image has that means well ends the program: names with "..", directories that are no
 * directories, links to what is not there, more than there may be of anything.
 */

#include "runtime/images/unpack/layer.h"
#include "runtime/images/unpack/tree.h"

enum {
	MERGE_ENTRIES_MAX = 1 << 20,  /* of all layers */
	MERGE_MEMORY_MAX = 512 << 20, /* bytes of names and attributes of all layers */
};

/* @bytes_max: of all files of all layers, those that are hidden counted as well. */
Node *merge_layers(const LayerPlace *places, size_t count, uint64_t bytes_max);
