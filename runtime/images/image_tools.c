/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/image_tools.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The programs of util-linux do what is to be done between the fork and the tool: there is no code
 * of ours in a child. unshare stays outside, and its end is the tool's; setpriv forgets that when
 * it becomes another user, and so is told again.
 */

enum {
	OUTPUT_MAX = 16 << 10,
	FILES_MAX = 256,
	SAID_MAX = 200,
};

static const uint64_t memory_max = UINT64_C(4) << 30;
static const char default_path[] = "/usr/sbin:/usr/bin:/sbin:/bin";

static const char *const needed[] = {
	"unshare", "prlimit", "setpriv", "env", "resize2fs", "e2fsck"
};

static const char *const namespaces[] = {
	"unshare", "--net", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL", "--", NULL,
};

static void add_all(Words *words, const char *const *more)
{
	for (size_t i = 0; more[i]; i++)
		words_add(words, more[i]);
}

static void add_number(Words *words, const char *option, uint64_t value)
{
	cleanup_free char *word = text_printf("--%s=%" PRIu64, option, value);

	words_add(words, word);
}

static void add_limits(Words *words, const ImageTool *tool, uint64_t file_max)
{
	words_add(words, "prlimit");
	add_number(words, "core", 0);
	add_number(words, "as", memory_max);
	add_number(words, "cpu", (uint64_t)(tool->timeout / USEC_PER_SEC) + 1);
	add_number(words, "fsize", file_max);
	add_number(words, "nofile", FILES_MAX);
	words_add(words, "--");
}

static void add_user(Words *words, uid_t uid)
{
	static const char *const fewest[] = { "--clear-groups", "--inh-caps=-all",
					      "--bounding-set=-all", "--pdeathsig=SIGKILL", NULL };

	add_number(words, "reuid", uid);
	add_number(words, "regid", uid);
	add_all(words, fewest);
}

/* Nothing of ours is told to it but where programs are. */
static void add_environment(Words *words, const ImageTool *tool)
{
	const char *path = getenv("PATH");
	cleanup_free char *word = text_printf("PATH=%s", path ? path : default_path);

	words_add(words, "env");
	words_add(words, "-i");
	words_add(words, "LC_ALL=C");
	words_add(words, word);
	if (tool->environment)
		add_all(words, tool->environment);
}

static void add_command(Words *words, const ImageTool *tool, uint64_t file_max)
{
	if (tool->uid)
		add_all(words, namespaces);
	add_limits(words, tool, file_max);
	words_add(words, "setpriv");
	words_add(words, "--no-new-privs");
	if (tool->uid)
		add_user(words, tool->uid);
	words_add(words, "--");
	add_environment(words, tool);
	add_all(words, (const char *const *)tool->argv);
}

static int run(ProcessResult *ret, const ImageTool *tool, uint64_t file_max, Error *err)
{
	cleanup_(words_clear) Words words = { 0 };
	cleanup_free int *files = new0_array(int, tool->input_count + 1);
	const ProcessOptions options = {
		.output_max = OUTPUT_MAX,
		.timeout = tool->timeout,
		.inherited = files,
		.inherited_count = tool->input_count + 1,
		.go_on = tool->go_on,
		.user = tool->user,
	};
	int r;

	files[0] = tool->file;
	for (size_t i = 0; i < tool->input_count; i++)
		files[i + 1] = tool->inputs[i];
	add_command(&words, tool, file_max);
	r = process_run_options(ret, words.items, &options);
	return r < 0 ? disk_error(err, -r, "run %s", tool->argv[0]) : 0;
}

/* Runs it with the file its own. */
static int run_as_owner(ProcessResult *ret, const ImageTool *tool, Error *err)
{
	struct stat st;
	int r;

	if (fstat(tool->file, &st) < 0 ||
	    (tool->uid && fchown(tool->file, tool->uid, tool->uid) < 0))
		return disk_error(err, errno, "give %s its file", tool->argv[0]);
	r = run(ret, tool, (uint64_t)st.st_size, err);
	if (tool->uid && fchown(tool->file, st.st_uid, st.st_gid) < 0 && r == 0) {
		free(ret->output);
		r = disk_error(err, errno, "take its file from %s", tool->argv[0]);
	}
	return r;
}

int image_tool_run(ImageToolResult *ret, const ImageTool *tool, Error *err)
{
	cleanup_free char *program = process_find(tool->argv[0]);
	ProcessResult result = { 0 };

	if (!program)
		return error_set(err, ERROR_ROOTFS, "%s is not installed", tool->argv[0]);
	if (run_as_owner(&result, tool, err) < 0)
		return -1;
	if (result.signal) {
		free(result.output);
		return error_set(err, ERROR_ROOTFS, "%s was ended by signal %d", tool->argv[0],
				 result.signal);
	}
	*ret = (ImageToolResult){ .code = result.code, .output = result.output };
	return 0;
}

/* Where the last line of @said begins; what is behind it is cut off. */
static const char *last_line(char *said)
{
	char *at;

	for (at = said + strlen(said); at > said && at[-1] == '\n';)
		*--at = '\0';
	at = strrchr(said, '\n');
	return at ? at + 1 : said;
}

int image_tool_failed(const ImageTool *tool, const ImageToolResult *result, Error *err)
{
	return error_set(err, ERROR_ROOTFS, "%s ended with %d: %.*s", tool->argv[0], result->code,
			 SAID_MAX, last_line(result->output));
}

bool image_tools_missing(char *names, size_t size)
{
	char *at = names;

	text_copy(names, size, NULL);
	for (size_t i = 0; i < array_size(needed); i++) {
		cleanup_free char *program = process_find(needed[i]);

		if (!program)
			at = text_append(at, names + size, "%s%s", at == names ? "" : ", ",
					 needed[i]);
	}
	return at != names;
}
