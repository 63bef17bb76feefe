/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/oci_image.h"

#include "base/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/utsname.h>

enum {
	DEPTH_MAX = 4, /* indexes in indexes */
	NAMES_MAX = 300,
	WORD_MAX = 256,
};

static const char prefix[] = "sha256:";
static const char oci_name[] = "org.opencontainers.image.ref.name";

static const char *const index_types[] = {
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
};

static const char *const manifest_types[] = {
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
};

static const char *const layer_types[] = {
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.oci.image.layer.v1.tar+zstd",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
};

/* What OCI calls the machines that uname() names. */
static const struct {
	const char *machine, *architecture;
} machines[] = {
	{ "x86_64", "amd64" },
	{ "aarch64", "arm64" },
};

static bool is_one_of(const char *text, const char *const *rows, size_t count)
{
	for (size_t i = 0; text && i < count; i++)
		if (strcmp(text, rows[i]) == 0)
			return true;
	return false;
}

#define is_in(text, rows) is_one_of((text), (rows), array_size(rows))

/* Short enough for a message, and of letters that do no harm in it. */
static bool is_word(const char *text)
{
	size_t length = 0;

	while (text[length] >= ' ' && text[length] <= '~')
		length++;
	return !text[length] && length < WORD_MAX;
}

/* All that is looked for is a word; what is none is as if it were not there. */
static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && is_word(text) ? text : NULL;
}

static int refuse_json(const OciBlobs *blobs, const char *what, const char *why, Error *err)
{
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT, "%s of %s %s", what,
			       oci_blobs_path(blobs), why);
}

/* Reads a blob, or the index (@digest: NULL), which is a JSON object. */
static int read_json(OciBlobs *blobs, const char *digest, json_t **ret, Error *err)
{
	const char *what = digest ? digest : "index.json";
	cleanup_free char *bytes = NULL;
	json_error_t where;
	size_t length;

	if (oci_blobs_read(blobs, digest, &bytes, &length, err) < 0)
		return -1;
	*ret = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &where);
	if (!*ret)
		return refuse_json(blobs, what, "is no JSON", err);
	if (!json_is_object(*ret)) {
		json_decref(*ret);
		return refuse_json(blobs, what, "is no JSON object", err);
	}
	return 0;
}

/* The digest of a descriptor, without its algorithm. */
static int get_digest(const OciBlobs *blobs, const json_t *descriptor, const char **ret, Error *err)
{
	const char *digest = text_of(descriptor, "digest");

	if (!digest || strncmp(digest, prefix, strlen(prefix)) != 0 ||
	    !disk_digest_is_valid(digest + strlen(prefix)))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s has digest '%s', and sha256 is what is taken",
				       oci_blobs_path(blobs), digest ? digest : "");
	*ret = digest + strlen(prefix);
	return 0;
}

static const char *host_architecture(void)
{
	static const char unknown[] = "unknown";
	struct utsname host;

	if (uname(&host) < 0)
		return unknown;
	for (size_t i = 0; i < array_size(machines); i++)
		if (strcmp(host.machine, machines[i].machine) == 0)
			return machines[i].architecture;
	return unknown;
}

static bool is_for_host(const json_t *platform)
{
	return text_equal(text_of(platform, "os"), "linux") &&
	       text_equal(text_of(platform, "architecture"), host_architecture());
}

/* One that does not say what it is for may be it. */
static bool may_be_for_host(const json_t *descriptor)
{
	const json_t *platform = json_object_get(descriptor, "platform");

	return !platform || is_for_host(platform);
}

/* The names that Docker and others give an image in an index. */
static const char *name_of(const json_t *descriptor, size_t which)
{
	static const char *const keys[] = { "io.containerd.image.name", oci_name };

	return which < array_size(keys)
		       ? text_of(json_object_get(descriptor, "annotations"), keys[which])
		       : NULL;
}

static bool is_called(const json_t *descriptor, const char *reference)
{
	return !reference || text_equal(text_of(descriptor, "digest"), reference) ||
	       text_equal(name_of(descriptor, 0), reference) ||
	       text_equal(name_of(descriptor, 1), reference);
}

/* What there is to choose from, for a message. */
static void list_names(const json_t *manifests, char ret[static NAMES_MAX])
{
	char *at = ret;

	text_copy(ret, NAMES_MAX, NULL);
	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *descriptor = json_array_get(manifests, i);

		const char *name = name_of(descriptor, 0);

		name = name ? name : name_of(descriptor, 1);
		name = name ? name : text_of(descriptor, "digest");
		if (name)
			at = text_append(at, ret + NAMES_MAX, "%s%s", at == ret ? "" : ", ", name);
	}
}

static bool is_same_image(const json_t *a, const json_t *b)
{
	return text_equal(text_of(a, "digest"), text_of(b, "digest"));
}

/* Of those in the index the one that is meant; one image may be there under several names. */
static int choose(const OciBlobs *blobs, const json_t *index, const char *reference,
		  const json_t **ret, Error *err)
{
	const json_t *manifests = json_object_get(index, "manifests"), *found = NULL;
	char names[NAMES_MAX];
	bool several = false;
	size_t called = 0;

	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *descriptor = json_array_get(manifests, i);

		if (!is_called(descriptor, reference))
			continue;
		called++;
		if (!may_be_for_host(descriptor))
			continue;
		several |= found && !is_same_image(found, descriptor);
		found = found ? found : descriptor;
	}
	list_names(manifests, names);
	if (!called)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT, "%s has no image '%s': %s",
				       oci_blobs_path(blobs), reference ? reference : "", names);
	if (!found)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s has no image for linux/%s", oci_blobs_path(blobs),
				       host_architecture());
	if (several)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT, "%s has several images: %s",
				       oci_blobs_path(blobs), names);
	*ret = found;
	return 0;
}

/* In an index within an index the first that fits is meant, as the specification says. */
static int choose_first(const OciBlobs *blobs, const json_t *index, const json_t **ret, Error *err)
{
	const json_t *manifests = json_object_get(index, "manifests");

	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *descriptor = json_array_get(manifests, i);

		if (may_be_for_host(descriptor)) {
			*ret = descriptor;
			return 0;
		}
	}
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT, "%s has no image for linux/%s",
			       oci_blobs_path(blobs), host_architecture());
}

static int refuse_type(const OciBlobs *blobs, const char *what, const char *type, Error *err)
{
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
			       "%s has %s of the media type '%s', which is not taken",
			       oci_blobs_path(blobs), what, type ? type : "");
}

/* Follows indexes down to a manifest; @digest is where to begin, and then the manifest's. */
static int find_manifest(OciBlobs *blobs, const char *reference,
			 char digest[static DISK_DIGEST_SIZE], json_t **ret, Error *err)
{
	for (size_t depth = 0; depth < DEPTH_MAX; depth++) {
		cleanup_(json_decrefp) json_t *index = NULL;
		const json_t *descriptor;
		const char *chosen, *type;

		if (read_json(blobs, depth ? digest : NULL, &index, err) < 0 ||
		    (depth ? choose_first(blobs, index, &descriptor, err)
			   : choose(blobs, index, reference, &descriptor, err)) < 0 ||
		    get_digest(blobs, descriptor, &chosen, err) < 0)
			return -1;
		text_copy(digest, DISK_DIGEST_SIZE, chosen);
		type = text_of(descriptor, "mediaType");
		if (is_in(type, manifest_types))
			return read_json(blobs, digest, ret, err);
		if (!is_in(type, index_types))
			return refuse_type(blobs, "an image", type, err);
	}
	return refuse_json(blobs, "an index", "lies too deep", err);
}

static const char *word_or_mark(const json_t *object, const char *key)
{
	const char *word = text_of(object, key);

	return word ? word : "?";
}

/* The manifest does not say what it is for; its configuration does. */
static int check_platform(OciBlobs *blobs, const json_t *manifest, Error *err)
{
	cleanup_(json_decrefp) json_t *config = NULL;
	const char *digest;

	if (get_digest(blobs, json_object_get(manifest, "config"), &digest, err) < 0 ||
	    read_json(blobs, digest, &config, err) < 0)
		return -1;
	if (is_for_host(config))
		return 0;
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
			       "%s has an image for %s/%s, and this host is linux/%s",
			       oci_blobs_path(blobs), word_or_mark(config, "os"),
			       word_or_mark(config, "architecture"), host_architecture());
}

static int open_layer(OciImage *image, OciBlobs *blobs, const json_t *descriptor, Error *err)
{
	OciLayer *layer = &image->layers[image->count];
	const char *type = text_of(descriptor, "mediaType"), *digest;
	json_int_t size = json_integer_value(json_object_get(descriptor, "size"));

	if (!is_in(type, layer_types))
		return refuse_type(blobs, "a layer", type, err);
	if (get_digest(blobs, descriptor, &digest, err) < 0 ||
	    oci_blobs_find(blobs, digest, &layer->blob, err) < 0)
		return -1;
	text_copy(layer->digest, sizeof layer->digest, digest);
	image->count++;
	if (size < 0 || (uint64_t)size != layer->blob.size)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "layer %s of %s has %" PRIu64 " bytes, and is to have %lld",
				       digest, oci_blobs_path(blobs), layer->blob.size,
				       (long long)size);
	return 0;
}

static int open_layers(OciImage *image, OciBlobs *blobs, const json_t *manifest, Error *err)
{
	const json_t *layers = json_object_get(manifest, "layers");
	if (!json_is_array(layers) || json_array_size(layers) > OCI_LAYERS_MAX)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s has an image without layers or with more than %d",
				       oci_blobs_path(blobs), OCI_LAYERS_MAX);
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const json_t *descriptor = json_array_get(layers, i);

		if (open_layer(image, blobs, descriptor, err) < 0)
			return -1;
	}
	return 0;
}

int oci_image_open(OciImage *ret, OciBlobs *blobs, const char *reference, Error *err)
{
	cleanup_(json_decrefp) json_t *manifest = NULL;

	*ret = (OciImage){ 0 };
	if (find_manifest(blobs, reference, ret->digest, &manifest, err) < 0 ||
	    check_platform(blobs, manifest, err) < 0)
		return -1;
	if (open_layers(ret, blobs, manifest, err) < 0) {
		oci_image_clear(ret);
		return -1;
	}
	return 0;
}

void oci_image_clear(OciImage *image)
{
	for (size_t i = 0; i < image->count; i++)
		(void)close(image->layers[i].blob.fd);
	image->count = 0;
}
