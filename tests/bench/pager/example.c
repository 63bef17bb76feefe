/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/pager/example.h"

#include "base/text.h"
#include "runtime/pager/regions.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

__attribute__((__noreturn__)) static void die(const char *what)
{
	perror(what);
	_exit(2);
}

static uint64_t number(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static int take_mappings(Regions *ret, int connection)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char text[1024];
	struct iovec part = { text, sizeof text };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t n = recvmsg(connection, &message, 0);
	json_t *array = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	int uffd;

	if (!array || !CMSG_FIRSTHDR(&message))
		die("the example's hand-shake");
	memcpy(&uffd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof uffd);
	ret->count = json_array_size(array);
	for (size_t i = 0; i < ret->count; i++) {
		const json_t *region = json_array_get(array, i);

		ret->page_size = number(region, "page_size");
		ret->items[i] = (Region){ number(region, "base_host_virt_addr"),
					  number(region, "size"), number(region, "offset") };
	}
	json_decref(array);
	return uffd;
}

static void serve_page(int uffd, const Regions *regions, const char *memory, uint64_t address)
{
	address &= ~(regions->page_size - 1);
	for (size_t i = 0; i < regions->count; i++) {
		const Region *region = &regions->items[i];
		struct uffdio_copy copy = { .dst = address, .len = regions->page_size };

		if (address < region->address || address >= region->address + region->size)
			continue;
		copy.src = (uintptr_t)(memory + region->offset + (address - region->address));
		if (ioctl(uffd, UFFDIO_COPY, &copy) < 0 && errno != EEXIST)
			die("the example's UFFDIO_COPY");
		return;
	}
}

__attribute__((__noreturn__)) static void serve(int listener, const char *path)
{
	int connection = accept(listener, NULL, NULL), file = open(path, O_RDONLY | O_CLOEXEC);
	struct uffd_msg messages[16];
	Regions regions = { 0 };
	struct stat st;
	char *memory;
	int uffd;

	if (connection < 0 || file < 0 || fstat(file, &st) < 0)
		die("the example");
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	uffd = take_mappings(&regions, connection);
	for (;;) {
		struct pollfd polled = { .fd = uffd, .events = POLLIN };
		size_t count = 0;

		if (poll(&polled, 1, -1) < 0)
			die("the example's poll");
		while (count < array_size(messages) &&
		       read(uffd, &messages[count], sizeof *messages) == (ssize_t)sizeof *messages)
			count++;
		for (size_t i = 0; i < count; i++)
			serve_page(uffd, &regions, memory, messages[i].arg.pagefault.address);
	}
}

pid_t example_start(const char *socket_path, const char *memory)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	text_copy(address.sun_path, sizeof address.sun_path, socket_path);
	(void)unlink(socket_path);
	if (bind(listener, (const void *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
		die(socket_path);
	pid = fork();
	if (pid < 0)
		die("start the example");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listener, memory);
	}
	(void)close(listener);
	return pid;
}
