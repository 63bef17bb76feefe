/* SPDX-License-Identifier: Apache-2.0 */

/* What a VMM may say of its memory, and what it may not. */

/* NOLINTBEGIN(bugprone-suspicious-include): the pager is a program, not a library */
#include "runtime/pager/handshake.c"
#include "runtime/pager/regions.c"
#include "runtime/pager/uffd.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <criterion/criterion.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#define MIB(n) ((uint64_t)(n)*1024 * 1024)

#define REGION(address, size, offset, page)                                            \
	"{\"base_host_virt_addr\":" #address ",\"size\":" #size ",\"offset\":" #offset \
	",\"page_size\":" #page ",\"page_size_kib\":" #page "}"

static int parse(Regions *ret, const char *text, Error *err)
{
	return handshake_parse(ret, text, strlen(text), MIB(8), err);
}

static void check_refused(const char *text, const char *why)
{
	Regions regions = { 0 };
	Error err = { 0 };

	cr_assert_eq(parse(&regions, text, &err), -1, "%s", text);

	cr_assert_eq(err.kind, ERROR_UFFD);
	cr_assert_eq(err.cause, CAUSE_INPUT);
	cr_assert_not_null(strstr(err.what, why), "%s: %s", text, err.what);
	cr_assert_eq(regions.count, 0);
}

Test(pager_handshake, firecrackers_words_are_understood)
{
	Regions regions;
	Error err = { 0 };

	cr_assert_eq(parse(&regions,
			   "[" REGION(139637976727552, 4194304, 4194304,
				      4096) "," REGION(139637972533248, 4194304, 0, 4096) "]",
			   &err),
		     0, "%s", err.what);

	cr_assert_eq(regions.count, 2);
	cr_assert_eq(regions.page_size, 4096);
	cr_assert_eq(regions.items[0].address, UINT64_C(139637972533248));
	cr_assert_eq(regions.items[0].offset, 0);
	cr_assert_eq(regions.items[1].offset, MIB(4));
}

Test(pager_handshake, older_versions_have_only_the_misnamed_page_size)
{
	Regions regions;
	Error err = { 0 };

	cr_assert_eq(parse(&regions,
			   "[{\"base_host_virt_addr\": 4194304, \"size\": 2097152, \"offset\": "
			   "0, \"page_size_kib\": 2097152, \"news\": [1]}]",
			   &err),
		     0, "%s", err.what);

	cr_assert_eq(regions.page_size, PAGE_HUGE);
}

Test(pager_handshake, what_is_no_array_of_regions_is_refused)
{
	static const char *const texts[] = {
		"", "[", "[]", "{}", "1", "[1", "[]]", "\xff", "[\"a\", \"a\"", "null",
	};

	for (size_t i = 0; i < array_size(texts); i++)
		check_refused(texts[i], "no array");
}

Test(pager_handshake, a_region_has_all_its_numbers)
{
	static const char *const texts[] = {
		"[1]",
		"[[]]",
		"[{}]",
		"[{\"base_host_virt_addr\": 4096, \"size\": 4096, \"offset\": 0}]",
		"[{\"base_host_virt_addr\": 4096, \"size\": 4096, \"page_size\": 4096}]",
		"[{\"base_host_virt_addr\": 4096, \"offset\": 0, \"page_size\": 4096}]",
		"[{\"size\": 4096, \"offset\": 0, \"page_size\": 4096}]",
		"[" REGION(-4096, 4096, 0, 4096) "]",
		"[" REGION(4096, "4096", 0, 4096) "]",
		"[" REGION(4096, 4096.0, 0, 4096) "]",
		"[" REGION(4096, 4096, null, 4096) "]",
	};

	for (size_t i = 0; i < array_size(texts); i++)
		check_refused(texts[i], "lacks a number");
}

Test(pager_handshake, numbers_that_cannot_be_are_refused)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "[" REGION(4096, 4096, 0, 8192) "]", "pages of 8192" },
		{ "[" REGION(4096, 4096, 0, 0) "]", "pages of 0" },
		{ "[" REGION(4097, 4096, 0, 4096) "]", "whole pages" },
		{ "[" REGION(4096, 4097, 0, 4096) "]", "whole pages" },
		{ "[" REGION(4096, 4096, 1, 4096) "]", "whole pages" },
		{ "[" REGION(4096, 0, 0, 4096) "]", "whole pages" },
		{ "[" REGION(4096, 2097152, 0, 2097152) "]", "whole pages" },
		{ "[" REGION(4096, 8392704, 0, 4096) "]", "beyond the memory file" },
		{ "[" REGION(4096, 8388608, 4096, 4096) "]", "beyond the memory file" },
		{ "[" REGION(4096, 4096, 9223372036854771712, 4096) "]", "beyond the memory file" },
		{ "[" REGION(72057594037927936, 4096, 0, 4096) "]", "fit no process" },
		{ "[" REGION(4096, 9223372036854771712, 0, 4096) "]", "fit no process" },
		{ "[" REGION(9223372036854771712, 9223372036854771712, 0, 4096) "]",
		  "fit no process" },
		{ "[" REGION(4096, 8192, 0, 4096) "," REGION(8192, 4096, 8192, 4096) "]",
		  "overlap" },
		{ "[" REGION(8192, 4096, 8192, 4096) "," REGION(4096, 8192, 0, 4096) "]",
		  "overlap" },
		{ "[" REGION(4096, 4096, 0, 4096) "," REGION(4096, 4096, 4096, 4096) "]",
		  "overlap" },
		{ "[" REGION(4096, 8192, 0, 4096) "," REGION(16384, 4096, 4096, 4096) "]",
		  "overlap in the memory file" },
		{ "[" REGION(2097152, 2097152, 0, 2097152) "," REGION(4194304, 2097152, 2097152,
								      4096) "]",
		  "another size" },
		{ "[" REGION(99999999999999999999, 4096, 0, 4096) "]", "no array" },
	};

	for (size_t i = 0; i < array_size(cases); i++)
		check_refused(cases[i].text, cases[i].why);
}

Test(pager_handshake, more_regions_than_are_served_are_refused)
{
	char text[(REGIONS_MAX + 1) * 160];
	char *at = text;

	for (int i = 0; i <= REGIONS_MAX; i++)
		at = text_append(at, text + sizeof text,
				 "%s{\"base_host_virt_addr\":%d,\"size\":4096,\"offset\":%d,"
				 "\"page_size\":4096}",
				 i ? "," : "[", (i + 1) * 4096, i * 4096);
	(void)text_append(at, text + sizeof text, "]");

	check_refused(text, "no array of 1 to 32");
}

Test(pager_handshake, brackets_without_end_do_no_harm)
{
	cleanup_free char *deep = new0_array(char, HANDSHAKE_MAX + 1);

	memset(deep, '[', HANDSHAKE_MAX);

	check_refused(deep, "no array");
}

Test(pager_handshake, pages_and_addresses_are_each_others_inverse)
{
	Regions regions = { PAGE_SMALL,
			    2,
			    { { 0x10000, 0x3000, 0x2000 }, { 0x20000, 0x2000, 0 } } };
	Error err = { 0 };

	cr_assert_eq(regions_check(&regions, 0x5000, &err), 0, "%s", err.what);

	for (uint64_t page = 0; page < 5; page++) {
		const Region *region = regions_of_page(&regions, page);
		uint64_t address = region_address(&regions, region, page);

		cr_assert_eq(regions_find(&regions, address + 4095), region);
		cr_assert_eq(region_page(&regions, region, address + 4095), page);
		cr_assert_lt(page, region_end(&regions, region));
	}
	cr_assert_null(regions_of_page(&regions, 5));
	cr_assert_null(regions_find(&regions, 0xffff));
	cr_assert_null(regions_find(&regions, 0x13000));
	cr_assert_null(regions_find(&regions, 0x22000));
}

/* A socket with the VMM, this process, at its other end. */
typedef struct Desk {
	int vmm, pager, pidfd;
	Message *message;
} Desk;

static Desk desk_new(void)
{
	int ends[2];
	Desk desk = { .message = new0(Message) };
	ProcessId self;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	cr_assert_eq(process_identify(&self, getpid()), 0);
	cr_assert_eq(process_open(&desk.pidfd, &self), 0);
	desk.vmm = ends[0];
	desk.pager = ends[1];
	desk.message->uffd = -1;
	return desk;
}

static void desk_free(Desk *desk)
{
	closep(&desk->vmm);
	closep(&desk->pager);
	closep(&desk->pidfd);
	closep(&desk->message->uffd);
	free(desk->message);
}

static void send_with(int to, const char *text, const int *fds, size_t count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = { .header = { CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec part = { text_dup(text), strlen(text) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = count ? &control : NULL,
		.msg_controllen = count ? CMSG_SPACE(count * sizeof(int)) : 0,
	};

	if (count)
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
	cr_assert_eq(sendmsg(to, &message, MSG_NOSIGNAL), (ssize_t)part.iov_len);
	free(part.iov_base);
}

static int open_uffd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		cr_skip_test("this process may not have a userfaultfd");
	return fd;
}

static int count_fds(void)
{
	cleanup_closedir DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir)) /* NOLINT(concurrency-mt-unsafe): this thread's own stream */
		count++;
	return count;
}

Test(pager_handshake, it_may_come_in_pieces)
{
	cleanup_(desk_free) Desk desk = desk_new();
	cleanup_close int uffd = open_uffd();
	Error err = { 0 };

	send_with(desk.vmm, "[" REGION(4096, 4096, 0, 4096), &uffd, 1);
	send_with(desk.vmm, "]", NULL, 0);

	cr_assert_eq(receive(desk.message, desk.pager, desk.pidfd, &err), 0, "%s", err.what);
	cr_assert(uffd_is_one(0, desk.message->uffd));
}

static void check_unheard(const char *text, const int *fds, size_t count, const char *why)
{
	cleanup_(desk_free) Desk desk = desk_new();
	Error err = { 0 };
	int before = count_fds();

	send_with(desk.vmm, text, fds, count);
	(void)shutdown(desk.vmm, SHUT_WR);

	cr_assert_eq(receive(desk.message, desk.pager, desk.pidfd, &err), -1);
	cr_assert_eq(err.kind, ERROR_UFFD);
	cr_assert_not_null(strstr(err.what, why), "%s", err.what);
	cr_assert_eq(count_fds(), before + (desk.message->uffd >= 0));
}

Test(pager_handshake, exactly_one_userfaultfd_is_taken)
{
	cleanup_close int uffd = open_uffd();
	cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int two[] = { uffd, uffd }, many[12];

	for (size_t i = 0; i < array_size(many); i++)
		many[i] = uffd;

	check_unheard("[1]", NULL, 0, "no userfaultfd");
	check_unheard("[1]", &null, 1, "something else than one");
	check_unheard("[1]", two, 2, "something else than one");
	check_unheard("[1]", many, array_size(many), "something else than one");
	check_unheard("[1", &uffd, 1, "hung up after 2 bytes");
}

Test(pager_handshake, there_is_an_end_to_what_is_read)
{
	cleanup_(desk_free) Desk desk = desk_new();
	cleanup_free char *blanks = text_printf("[%*s", HANDSHAKE_MAX, "");
	Error err = { 0 };

	send_with(desk.vmm, blanks, NULL, 0);

	cr_assert_eq(receive(desk.message, desk.pager, desk.pidfd, &err), -1);
	cr_assert_not_null(strstr(err.what, "more than 65536 bytes"), "%s", err.what);
}
