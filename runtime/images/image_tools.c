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
 * it becomes another user, and so is told again. In between, before anything of strangers is read,
 * both are in one process group.
 */

enum {
	OUTPUT_MAX = 16 << 10,
	FILES_MAX = 256,
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

/* A sanitizer reserves more than there is. */
#ifdef SANITIZED
static const uint64_t memory_max = UINT64_MAX;
#else
static const uint64_t memory_max = UINT64_C(4) << 30;
#endif
static const char default_path[] = "/usr/sbin:/usr/bin:/sbin:/bin";

static const char *const needed[] = {
	"setpriv", "unshare", "prlimit", "env", "resize2fs", "e2fsck", "mke2fs",
};

/* With this agent ends what it runs. */
static const char *const tied[] = { "setpriv", "--pdeathsig=SIGKILL", "--", NULL };

static const char *const namespaces[] = {
	"unshare", "--net", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child=SIGKILL",
	"--",      NULL,
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
	add_all(words, tied);
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
		.kill_group = true,
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

void image_tool_last_words(const ImageToolResult *result, char ret[static IMAGE_TOOL_WORDS_MAX])
{
	const char *end = result->output + strlen(result->output), *at;

	while (end > result->output && end[-1] == '\n')
		end--;
	for (at = end; at > result->output && at[-1] != '\n';)
		at--;
	text_copy(ret,
		  (size_t)(end - at) + 1 < IMAGE_TOOL_WORDS_MAX ? (size_t)(end - at) + 1
								: IMAGE_TOOL_WORDS_MAX,
		  at);
	for (char *c = ret; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

/* The words of strerror(), in the locale that tools have. */
static bool is_full(const char *said)
{
	return strstr(said, "No space left on device") || strstr(said, "Disk quota exceeded");
}

int image_tool_failed(const ImageTool *tool, const ImageToolResult *result, Error *err)
{
	char words[IMAGE_TOOL_WORDS_MAX];

	image_tool_last_words(result, words);
	return error_set_cause(err, ERROR_ROOTFS,
			       is_full(result->output) ? CAUSE_EXHAUSTED : CAUSE_HOST,
			       "%s ended with %d: %s", tool->argv[0], result->code, words);
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
