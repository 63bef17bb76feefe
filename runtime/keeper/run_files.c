/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/run_files.h"

#include "base/file.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
	FORMAT_VERSION = 1, /* KEEPER_FORMAT of runtime/keeper_link.h */
	TEXT_MAX = 512
};

static int write_file(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = text_printf("%s/%s", dir, name);

	return file_write_atomic(path, text, strlen(text));
}

int run_files_write_keeper(const char *dir, pid_t vmm)
{
	char boot_id[37], text[TEXT_MAX];
	ProcessId self = { 0 }, child = { 0 };
	int r;

	r = process_identify(&self, getpid());
	if (r == 0)
		r = process_identify(&child, vmm);
	/* It may have ended already and waits to be reaped; so nobody else has its pid. */
	if (r == -ESRCH)
		child = (ProcessId){ .pid = vmm };
	else if (r < 0)
		return r;
	r = process_boot_id(boot_id);
	if (r < 0)
		return r;
	(void)text_append(text, text + sizeof text,
			  "{\"version\": %d, \"hearth\": \"%s\", \"boot_id\": \"%s\",\n"
			  " \"keeper\": {\"pid\": %d, \"start_time\": %" PRIu64 "},\n"
			  " \"vmm\": {\"pid\": %d, \"start_time\": %" PRIu64 "}}\n",
			  FORMAT_VERSION, HEARTH_VERSION, boot_id, (int)self.pid, self.start_time,
			  (int)child.pid, child.start_time);
	return write_file(dir, "keeper.json", text);
}

int run_files_write_exit(const char *dir, const VmmEnd *end)
{
	char text[TEXT_MAX];

	(void)text_append(text, text + sizeof text,
			  "{\"version\": %d, \"code\": %d, \"signal\": %d, \"time\": %" PRId64
			  ", \"evidence\": \"%s\"}\n",
			  FORMAT_VERSION, end->code, end->signal, end->time, end->evidence);
	return write_file(dir, "exit.json", text);
}
