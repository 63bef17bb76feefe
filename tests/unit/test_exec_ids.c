/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/exec_ids.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static char dir[] = "/tmp/hearth-exec-ids.XXXXXX";

static void make(void)
{
	cr_assert_not_null(mkdtemp(dir));
}

static void clear(void)
{
	(void)!file_remove_tree(dir);
}

TestSuite(exec_ids, .init = make, .fini = clear);

static bool spend(const char *id)
{
	Error err = { 0 };

	if (exec_ids_spend(dir, id, &err) == 0)
		return true;
	cr_assert_eq(err.kind, ERROR_GUEST_METADATA);
	cr_assert_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
	return false;
}

Test(exec_ids, an_id_is_spent_once)
{
	cr_expect(spend("a"));
	cr_expect(spend("ab"));
	cr_expect_not(spend("a"));
	cr_expect_not(spend("ab"));
	cr_expect(spend("b"));
}

Test(exec_ids, the_longest_differ_by_their_last_byte)
{
	cleanup_free char *x = text_printf("%063dx", 0), *y = text_printf("%063dy", 0);

	cr_expect(spend(x));
	cr_expect(spend(y));
	cr_expect_not(spend(x));
}

Test(exec_ids, the_last_are_remembered_in_a_file_that_does_not_grow)
{
	cleanup_free char *path = text_printf("%s/exec_ids", dir);
	const off_t most = (off_t)sizeof(uint64_t) + (off_t)EXEC_IDS_KEPT * EXEC_ID_MAX;
	struct stat state;
	uint64_t count = EXEC_IDS_KEPT;
	FILE *file;

	/* As if so many had been spent: each one costs a sync. */
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(&count, sizeof count, 1, file), 1);
	for (int i = 0; i < EXEC_IDS_KEPT; i++) {
		char place[EXEC_ID_MAX] = { 0 };

		(void)snprintf(place, sizeof place, "id-%d", i);
		cr_assert_eq(fwrite(place, sizeof place, 1, file), 1);
	}
	cr_assert_eq(fclose(file), 0);

	cr_expect_not(spend("id-0"));
	cr_expect(spend("new-1"));
	cr_expect(spend("new-2"));
	cr_expect_not(spend("new-1"));
	cr_expect_not(spend("id-2"));
	cr_expect(spend("id-0"), "that one was the oldest");
	cr_assert_eq(stat(path, &state), 0);
	cr_expect_eq(state.st_size, most);
}

static atomic_int won;

static void *race(void *arg)
{
	for (int i = 0; i < 20; i++) {
		cleanup_free char *id = text_printf("id-%d", i);

		if (spend(id))
			atomic_fetch_add(&won, 1);
	}
	return arg;
}

Test(exec_ids, of_two_that_spend_an_id_at_once_one_does)
{
	pthread_t threads[4];

	for (size_t i = 0; i < array_size(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, race, NULL), 0);
	for (size_t i = 0; i < array_size(threads); i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);

	cr_expect_eq(atomic_load(&won), 20);
}

Test(exec_ids, what_the_disk_says_is_told)
{
	Error err = { 0 };

	cr_assert_eq(exec_ids_spend("/nonexistent", "a", &err), -1);
	cr_expect_eq(err.kind, ERROR_GUEST_METADATA);
	cr_expect_str_eq(err.what, "exec: /nonexistent/exec_ids: No such file or directory");
}
