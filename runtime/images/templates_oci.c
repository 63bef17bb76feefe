/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/images/aside.h"
#include "runtime/images/image_tools.h"
#include "runtime/images/oci_image.h"
#include "runtime/images/templates_internal.h"

#include <inttypes.h>
#include <string.h>

/*
 * An OCI image becomes an ext4 without its files ever being files of the host: which layers it has
 * is found out here, from small texts; the layers themselves, which anybody may have made, are read
 * by hearth-unpack alone, that has nothing but open descriptors. It reads them once to verify them
 * and to say how much room they take, mke2fs makes a file system of that size, and hearth-unpack
 * reads them twice more: for where everything belongs, and for what is in it.
 *
 * Nothing of the host's or of the day comes into the file system: its UUID is the beginning of the
 * manifest's digest, and it was always made at the same time.
 */

enum {
	PROGRAM_SEC = 3600,
	READS = 3, /* of each layer */
	INODE_SPARE = 4096,
	BYTES_PER_INODE = 16 << 10,
	FIRST_INPUT = 4, /* the number of an input to the tool */
	UUID_TEXT = 37,
};

static const uint64_t mib = UINT64_C(1) << 20;
static const uint64_t spare = UINT64_C(64) << 20;

/* Those that mke2fs gives an ext4, whatever the host's configuration says. */
static const char features[] =
	"-Onone,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
	"sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/* What hearth-unpack's exit codes are to who asked (runtime/images/unpack/refuse.h). */
static const ErrorCause causes[] = { [2] = CAUSE_INPUT, [3] = CAUSE_CORRUPT };

typedef struct Unpack {
	Templates *templates;
	const TemplateImport *asked;
	const DiskProgress *progress;
	OciImage image;
	int file, counter;      /* the new image; what is done so far, as hearth-unpack tells */
	uint64_t before, total; /* bytes to read */
	uint64_t contents, inodes, size;
} Unpack;

/* hearth-unpack may tell what it likes. */
static bool go_on(void *user)
{
	const Unpack *unpack = user;
	uint64_t done = 0, left = unpack->total - unpack->before;

	if (disk_read(unpack->counter, &done, sizeof done, 0) < 0)
		done = 0;
	return disk_progress(unpack->progress, unpack->before + (done < left ? done : left),
			     unpack->total) == 0;
}

/* Return: 0 with what it said, -1. */
static int run(Unpack *unpack, char *const argv[], const int *inputs, size_t count,
	       ImageToolResult *ret, Error *err)
{
	static const char *const environment[] = { "E2FSPROGS_FAKE_TIME=1",
						   "MKE2FS_CONFIG=/dev/null", NULL };
	const ImageTool tool = {
		.argv = argv,
		.uid = unpack->templates->tool_uid,
		.file = unpack->file,
		.inputs = inputs,
		.input_count = count,
		.environment = environment,
		.timeout = (int64_t)PROGRAM_SEC * USEC_PER_SEC,
		.go_on = go_on,
		.user = unpack,
	};
	char words[IMAGE_TOOL_WORDS_MAX];

	if (image_tool_run(ret, &tool, err) < 0)
		return -1;
	if (ret->code == 0)
		return 0;
	if (inputs && (size_t)ret->code < array_size(causes) && causes[ret->code] != CAUSE_HOST) {
		image_tool_last_words(ret, words);
		(void)error_set_cause(err, ERROR_ROOTFS, causes[ret->code], "%s: %s",
				      unpack->asked->path, words);
	} else {
		(void)image_tool_failed(&tool, ret, err);
	}
	free(take_ptr(ret->output));
	return -1;
}

static int run_unpacker(Unpack *unpack, const char *verb, ImageToolResult *ret, Error *err)
{
	cleanup_(words_clear) Words words = { 0 };
	const OciImage *image = &unpack->image;
	int inputs[OCI_LAYERS_MAX + 1];

	inputs[0] = unpack->counter;
	words_add(&words, unpack->templates->unpacker);
	words_printf(&words, verb, "%" PRIu64, unpack->templates->max_image_bytes);
	for (size_t i = 0; i < image->count; i++) {
		const OciLayer *layer = &image->layers[i];
		cleanup_free char *word =
			text_printf("%zu:%" PRIu64 ":%" PRIu64 ":%s", FIRST_INPUT + i + 1,
				    layer->blob.at, layer->blob.size, layer->digest);

		inputs[i + 1] = layer->blob.fd;
		words_add(&words, word);
	}
	return run(unpack, words.items, inputs, image->count + 1, ret, err);
}

static int measure(Unpack *unpack, Error *err)
{
	static const uint64_t none;
	ImageToolResult result = { 0 };
	const char *bytes, *inodes;
	bool understood;
	char *rest;
	int r;

	if (run_unpacker(unpack, "measure", &result, err) < 0)
		return -1;
	rest = result.output;
	bytes = strsep(&rest, " ");
	inodes = strsep(&rest, "\n");
	understood = inodes && text_to_u64(&unpack->contents, bytes) == 0 &&
		     text_to_u64(&unpack->inodes, inodes) == 0;
	free(result.output);
	if (!understood)
		return error_set(err, ERROR_ROOTFS, "%s: hearth-unpack does not say its size",
				 unpack->asked->path);
	unpack->before += unpack->total / READS;
	r = disk_write(unpack->counter, &none, sizeof none, 0);
	return r < 0 ? disk_error(err, -r, "count what is done") : 0;
}

static int choose_size(Unpack *unpack, Error *err)
{
	const TemplateImport *asked = unpack->asked;
	uint64_t contents = unpack->contents, max = unpack->templates->max_image_bytes;

	if (contents > max || (asked->size && asked->size < contents))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "the files of %s take %" PRIu64
				       " bytes, and the image may have %" PRIu64,
				       asked->path, contents, asked->size ? asked->size : max);
	unpack->size = asked->size ? asked->size : contents + contents / 5 + spare;
	unpack->size = (unpack->size + mib - 1) / mib * mib;
	if (unpack->size > max)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s would have %" PRIu64
				       " bytes, and an image may have %" PRIu64,
				       asked->path, unpack->size, max);
	return 0;
}

static void set_uuid(const Unpack *unpack, char ret[static UUID_TEXT])
{
	const char *digest = unpack->image.digest;

	(void)text_append(ret, ret + UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", digest, digest + 8,
			  digest + 12, digest + 16, digest + 20);
}

static int make_file_system(Unpack *unpack, Error *err)
{
	static const char *const fixed[] = { "mke2fs", "-qF", "-b4096", "-I256", "-m0", features };
	uint64_t inodes = unpack->inodes + unpack->inodes / 5 + INODE_SPARE;
	cleanup_(words_clear) Words words = { 0 };
	ImageToolResult result = { 0 };
	char uuid[UUID_TEXT];

	if (inodes < unpack->size / BYTES_PER_INODE)
		inodes = unpack->size / BYTES_PER_INODE;
	if (ftruncate(unpack->file, (off_t)unpack->size) < 0)
		return disk_error(err, errno, "make an image of %s", unpack->asked->path);
	set_uuid(unpack, uuid);
	for (size_t i = 0; i < array_size(fixed); i++)
		words_add(&words, fixed[i]);
	words_printf(&words, "-N", "%" PRIu64, inodes);
	words_add_option(&words, "-U", uuid);
	words_printf(&words, "-E", "nodiscard,assume_storage_prezeroed=1,hash_seed=%s", uuid);
	words_add(&words, IMAGE_TOOL_FILE);
	if (run(unpack, words.items, NULL, 0, &result, err) < 0)
		return -1;
	free(result.output);
	return 0;
}

static int fill(Unpack *unpack, Error *err)
{
	ImageToolResult result = { 0 };

	if (run_unpacker(unpack, "fill", &result, err) < 0)
		return -1;
	free(result.output);
	return 0;
}

/* With room taken for it. */
static int make(Unpack *unpack, uint64_t *room, Error *err)
{
	uint64_t bytes;

	if (measure(unpack, err) < 0 || choose_size(unpack, err) < 0)
		return -1;
	bytes = unpack->contents + spare;
	if (template_take_room(unpack->templates, bytes, unpack->asked->path, err) < 0)
		return -1;
	*room = bytes;
	if (make_file_system(unpack, err) < 0 || fill(unpack, err) < 0) {
		disk_room_settle(unpack->templates->room, bytes, 0);
		return -1;
	}
	return 0;
}

static int open_files(Unpack *unpack, Error *err)
{
	cleanup_free char *aside = aside_path(unpack->templates->dir, "import");
	static const uint64_t none;
	int r = file_in_memory(&unpack->counter, &none, sizeof none);

	if (r < 0)
		return disk_error(err, -r, "count what is done");
	if (disk_aside(&unpack->file, aside, 0600, err) < 0)
		return -1;
	/* hearth-unpack is to be able to count, however little an image has. */
	if (ftruncate(unpack->file, (off_t)mib) < 0)
		return disk_error(err, errno, "make %s", aside);
	return 0;
}

int template_unpack(Templates *templates, const TemplateImport *asked, const DiskProgress *progress,
		    Unpacked *ret, Error *err)
{
	cleanup_(oci_blobs_closep) OciBlobs *blobs = NULL;
	Unpack unpack = { .templates = templates,
			  .asked = asked,
			  .progress = progress,
			  .file = -1,
			  .counter = -1 };
	uint64_t room = 0;
	int r;

	if (oci_blobs_open(&blobs, asked->path, err) < 0 ||
	    oci_image_open(&unpack.image, blobs, asked->reference, err) < 0)
		return -1;
	for (size_t i = 0; i < unpack.image.count; i++)
		unpack.total += READS * unpack.image.layers[i].blob.size;
	r = open_files(&unpack, err) < 0 ? -1 : make(&unpack, &room, err);
	oci_image_clear(&unpack.image);
	closep(&unpack.counter);
	if (r < 0) {
		closep(&unpack.file);
		return -1;
	}
	*ret = (Unpacked){ .fd = unpack.file, .room = room };
	text_copy(ret->digest, sizeof ret->digest, unpack.image.digest);
	return 0;
}
