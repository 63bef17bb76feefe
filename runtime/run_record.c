/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/run_record.h"

#include "base/file.h"
#include "base/text.h"

#include <jansson.h>
#include <string.h>

enum {
	BYTES_MAX = 64 << 20
};

static char *path_of(const char *run_dir)
{
	return text_printf("%s/record.json", run_dir);
}

int run_record_write(const char *run_dir, const VmRecord *record)
{
	cleanup_free char *path = path_of(run_dir);
	cleanup_free char *members = record_to_text(record);
	cleanup_free char *text =
		text_printf("{\"version\": %d, %s\n", RUN_RECORD_FORMAT, members + 1);
	int r = file_replace(path, text, strlen(text));

	if (r < 0)
		(void)unlink(path);
	return r;
}

/* Is @text of a format known here? */
static bool is_known(const char *text)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_int_t version = json_integer_value(json_object_get(root, "version"));

	json_decref(root);
	return version >= 1 && version <= RUN_RECORD_FORMAT;
}

int run_record_read(VmRecord **ret, const char *run_dir)
{
	cleanup_free char *path = path_of(run_dir);
	cleanup_free char *text = NULL;
	int r = file_read(&text, NULL, path, BYTES_MAX);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? -ENOENT : -EINVAL;
	if (!is_known(text) || record_from_text(ret, text, 0) < 0)
		return -EINVAL;
	return 0;
}
