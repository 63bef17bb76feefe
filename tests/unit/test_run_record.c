/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/run_record.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>

static char dir[] = "/tmp/test-run-record-XXXXXX";

static void make_dir(void)
{
	cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
	(void)!file_remove_tree(dir);
}

TestSuite(run_record, .init = make_dir, .fini = remove_dir);

static VmRecord *a_record(void)
{
	VmRecord *record = record_new();

	record->vm_id = text_dup("web-1");
	record->uid = text_dup("u");
	record->spec = spec_new();
	record->status.state = VM_RUNNING;
	record->status.resolved = new0(VmResolved);
	record->status.resolved->instance_id = text_dup("0123456789abcdef");
	return record;
}

static void write_text(const char *text)
{
	cleanup_free char *path = text_printf("%s/record.json", dir);

	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
}

Test(run_record, what_is_written_is_read_again_and_nobody_elses_to_read)
{
	cleanup_(record_unrefp) VmRecord *written = a_record(), *read = NULL;
	cleanup_free char *path = text_printf("%s/record.json", dir);
	cleanup_free char *before = record_to_text(written), *after = NULL;
	struct stat st;

	cr_assert_eq(run_record_write(dir, written), 0);
	cr_assert_eq(run_record_read(&read, dir), 0);

	after = record_to_text(read);
	cr_assert_str_eq(before, after);
	cr_assert(record_is_whole(read));
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(run_record, one_that_is_not_there_is_told_from_one_that_cannot_be_read)
{
	VmRecord *read = NULL;

	cr_assert_eq(run_record_read(&read, dir), -ENOENT);
	write_text("{\"version\": 1");
	cr_assert_eq(run_record_read(&read, dir), -EINVAL);
	cr_assert_null(read);
}

Test(run_record, unknown_members_are_let_alone_and_a_later_format_is_refused)
{
	cleanup_(record_unrefp) VmRecord *read = NULL;

	write_text("{\"version\": 2, \"vm\": {\"vm_id\": \"a\", \"uid\": \"b\"}, \"spec\": {}, "
		   "\"status\": {}}");
	cr_assert_eq(run_record_read(&read, dir), -EINVAL);
	write_text("{\"version\": 1, \"later\": [], \"vm\": {\"vm_id\": \"a\", \"uid\": \"b\", "
		   "\"later\": 1}, \"spec\": {}, \"status\": {\"later\": null}}");
	cr_assert_eq(run_record_read(&read, dir), 0);
	cr_assert_not(record_is_whole(read), "it has no instance");
}

Test(run_record, one_that_cannot_be_written_leaves_no_older_one)
{
	cleanup_(record_unrefp) VmRecord *record = a_record();
	cleanup_free char *obstacle = text_printf("%s/record.json.new", dir);
	VmRecord *read = NULL;

	cr_assert_eq(run_record_write(dir, record), 0);
	cr_assert_eq(mkdir(obstacle, 0700), 0);

	cr_assert_lt(run_record_write(dir, record), 0);
	cr_assert_eq(run_record_read(&read, dir), -ENOENT);
}
