/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/template_stamp.h"

#include "base/file.h"
#include "base/text.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

enum {
	BYTES_MAX = 4096,
};

static char *path_of(const char *dir)
{
	return text_printf("%s/stamp.json", dir);
}

int template_stamp_write(const char *dir, const TemplateStamp *stamp, Error *err)
{
	cleanup_free char *path = path_of(dir);
	cleanup_free char *text = NULL;
	char source[3 * TEMPLATE_SOURCE_MAX];
	json_t *json;
	int r;

	(void)text_to_utf8(source, stamp->source, strlen(stamp->source));
	json = json_pack("{s:i, s:I, s:s, s:I, s:s}", "version", TEMPLATE_STAMP_FORMAT, "size",
			 (json_int_t)stamp->size, "sha256", stamp->digest, "stamped_us",
			 (json_int_t)stamp->stamped, "source", source);
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	assert(text);
	r = file_write_atomic(path, text, strlen(text));
	return r < 0 ? disk_error(err, -r, "write %s", path) : 0;
}

/* Return: is @text a stamp of a format known here? */
static bool parse(TemplateStamp *ret, const char *text)
{
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *digest = "", *source = "";
	json_int_t version = 0, size = 0, stamped = 0;
	bool ok = json_unpack(json, "{s:I, s:I, s:s, s:I, s?s}", "version", &version, "size", &size,
			      "sha256", &digest, "stamped_us", &stamped, "source", &source) == 0;

	ok = ok && version >= 1 && version <= TEMPLATE_STAMP_FORMAT && size > 0 &&
	     disk_digest_is_valid(digest);
	if (ok) {
		*ret = (TemplateStamp){ .size = (uint64_t)size, .stamped = stamped };
		text_copy(ret->digest, sizeof ret->digest, digest);
		text_copy(ret->source, sizeof ret->source, source);
	}
	json_decref(json);
	return ok;
}

int template_stamp_read(TemplateStamp *ret, const char *dir, Error *err)
{
	cleanup_free char *path = path_of(dir);
	cleanup_free char *text = NULL;
	int r = file_read(&text, NULL, path, BYTES_MAX);

	if (r < 0)
		return disk_error(err, -r, "read %s", path);
	if (!parse(ret, text))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT, "%s is no stamp", path);
	return 0;
}
