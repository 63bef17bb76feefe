/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hearth-unpack measure|fill <bytes_max> <layer>...: an OCI image's layers, the lowest first, as
 * LayerPlace has them, become files of the ext4 that descriptor 3 is; or only the bytes and inodes
 * that this takes are said, "<bytes> <inodes>".
 *
 * It reads what strangers made, and is to be run with no more than it needs: its descriptors
 * (runtime/images/image_tools.h). It opens nothing else and writes nothing else.
 */

#include "base/text.h"
#include "runtime/images/image_tools.h"
#include "runtime/images/unpack/fill.h"
#include "runtime/images/unpack/merge.h"
#include "runtime/images/unpack/refuse.h"

#include <inttypes.h>
#include <string.h>

enum {
	ARG_VERB = 1,
	ARG_BYTES_MAX,
	ARG_LAYERS,
};

int main(int argc, char **argv)
{
	size_t count = argc > ARG_LAYERS ? (size_t)argc - ARG_LAYERS : 0;
	cleanup_free LayerPlace *places = new0_array(LayerPlace, count);
	uint64_t bytes_max;
	FillNeeds needs;
	Node *root;

	if (argc < ARG_LAYERS || text_to_u64(&bytes_max, argv[ARG_BYTES_MAX]) < 0)
		refuse(UNPACK_FAILED, "usage: hearth-unpack measure|fill <bytes_max> <layer>...");
	for (size_t i = 0; i < count; i++)
		if (layer_place_parse(&places[i], argv[ARG_LAYERS + i]) < 0)
			refuse(UNPACK_FAILED, "'%s' is no layer", argv[ARG_LAYERS + i]);

	root = merge_layers(places, count, bytes_max);
	tree_sort(root);
	if (strcmp(argv[ARG_VERB], "fill") == 0) {
		fill(IMAGE_TOOL_FILE, root, places, count);
	} else {
		needs = fill_measure(root);
		(void)printf("%" PRIu64 " %" PRIu64 "\n", needs.bytes, needs.inodes);
	}
	tree_free(root);
	return 0;
}
