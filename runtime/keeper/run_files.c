/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/run_files.h"

#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum {
	FORMAT_VERSION = 1, /* KEEPER_FORMAT of runtime/keeper_link.h */
	TEXT_MAX = 512,
	MESSAGE_MAX = 256
};

static const char reserved_name[] = "exit.json.reserved";

/* It may have ended already and waits to be reaped; so nobody else has its pid. */
static int identify_child(ProcessId *ret, pid_t pid)
{
	int r = process_identify(ret, pid);

	if (r != -ESRCH)
		return r;
	*ret = (ProcessId){ .pid = pid };
	return 0;
}

static int add_process(char *at, char *end, const char *name, pid_t pid)
{
	ProcessId id = { 0 };
	int r = identify_child(&id, pid);

	if (r == 0)
		(void)text_append(at, end, ",\n \"%s\": {\"pid\": %d, \"start_time\": %" PRIu64 "}",
				  name, (int)id.pid, id.start_time);
	return r;
}

int run_files_write_keeper(const char *dir, pid_t vmm, pid_t pager)
{
	cleanup_free char *path = text_printf("%s/keeper.json", dir);
	char boot_id[37], text[TEXT_MAX], *end = text + sizeof text;
	int r = process_boot_id(boot_id);

	if (r < 0)
		return r;
	(void)text_append(text, end, "{\"version\": %d, \"hearth\": \"%s\", \"boot_id\": \"%s\"",
			  FORMAT_VERSION, HEARTH_VERSION, boot_id);
	r = add_process(text + strlen(text), end, "keeper", getpid());
	if (r == 0)
		r = add_process(text + strlen(text), end, "vmm", vmm);
	if (r == 0 && pager > 0)
		r = add_process(text + strlen(text), end, "pager", pager);
	if (r < 0)
		return r;
	(void)text_append(text + strlen(text), end, "}\n");
	return file_replace(path, text, strlen(text));
}

void run_files_sync_keeper(const char *dir)
{
	cleanup_free char *path = text_printf("%s/keeper.json", dir);

	(void)!file_sync(path);
}

/* Fills the reserved file: behind @text white space, which JSON may end in. */
static int fill_reserved(int fd, const char *text)
{
	char block[TEXT_MAX];
	size_t length = sizeof block - 1;
	ssize_t n;

	(void)text_append(block, block + sizeof block, "%-*s\n", (int)length - 1, text);
	n = pwrite(fd, block, length, 0);
	if (n < 0 || fsync(fd) < 0)
		return -errno;
	return n == (ssize_t)length ? 0 : -ENOSPC;
}

int run_files_reserve_exit(int *ret, const char *dir)
{
	cleanup_free char *path = text_printf("%s/%s", dir, reserved_name);
	cleanup_close int fd = open(
		path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int r;

	if (fd < 0)
		return -errno;
	/* Nothing of it need outlive the host: it is not synced. */
	r = posix_fallocate(fd, 0, TEXT_MAX - 1);
	if (r == 0)
		*ret = take_fd(fd);
	return -r;
}

/* As the inside of a JSON string, cut where it gets long. */
static void plain(char ret[static MESSAGE_MAX], const char *message)
{
	text_copy(ret, MESSAGE_MAX, message);
	for (char *at = ret; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~' || strchr("\"\\", *at))
			*at = ' ';
}

int run_files_write_exit(const char *dir, int reserved, const VmmEnd *end)
{
	cleanup_free char *from = text_printf("%s/%s", dir, reserved_name);
	cleanup_free char *to = text_printf("%s/exit.json", dir);
	char text[TEXT_MAX], message[MESSAGE_MAX];

	plain(message, end->message);
	(void)text_append(text, text + sizeof text,
			  "{\"version\": %d, \"code\": %d, \"signal\": %d, \"time\": %" PRId64
			  ", \"evidence\": \"%s\", \"message\": \"%s\"}\n",
			  FORMAT_VERSION, end->code, end->signal, end->time, end->evidence,
			  message);
	if (fill_reserved(reserved, text) == 0 && rename(from, to) == 0)
		return 0;
	/* Somebody has removed it, or the file system writes elsewhere than it has reserved. */
	return file_write_atomic(to, text, strlen(text));
}
