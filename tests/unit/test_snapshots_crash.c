/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/snapshots_fixture.h"

#include <signal.h>
#include <sys/wait.h>

/* Agents that die at any moment: what they leave under a name is whole, and nothing else is left.
 */

enum {
	DEATHS = 40,
	STEP_US = 4000, /* how much longer each lives than the one before */
};

/* All that the catalog can do to a disk, again and again. */
static void live(Shelf *s)
{
	for (;;) {
		Error err = { 0 };

		if (!shelf_has(s, "web", "base"))
			shelf_make(s, "web", "base");
		if (!shelf_has(s, "web", "one"))
			shelf_make_diff(s, "one", "base", 2 * MIB, 21);
		(void)!snapshots_flatten(s->snapshots, "web", "one", NULL, &err);
		(void)!snapshots_delete(s->snapshots, "web", "one", &err);
		error_clear(&err);
		(void)!snapshots_delete(s->snapshots, "web", "base", &err);
	}
}

static void expect_whole(const Shelf *s)
{
	cleanup_closedir DIR *dir = opendir(s->dir);
	const struct dirent *file;
	SnapshotInfo *infos;
	size_t count;

	while ((file = readdir(dir)))
		cr_expect(file->d_name[0] != '.' || strlen(file->d_name) < 3 ||
				  strncmp(file->d_name, ".hashes", strlen(".hashes")) == 0,
			  "%s is left", file->d_name);
	snapshots_list(s->snapshots, NULL, NULL, &infos, &count);
	for (size_t i = 0; i < count; i++) {
		Error err = { 0 };

		cr_expect_eq(infos[i].state, SNAPSHOT_READY);
		cr_expect_eq(snapshots_verify(s->snapshots, "web", infos[i].snapshot_id, true, NULL,
					      &err),
			     0, "%s", err.what);
	}
	snapshot_infos_free(infos, count);
}

SHELF_TEST(snapshots_crash, what_has_a_name_is_whole)
{
	for (int i = 0; i < DEATHS; i++) {
		pid_t child = fork();

		cr_assert_geq(child, 0);
		if (child == 0) {
			shelf_restart(s);
			live(s);
		}
		clock_sleep_us((int64_t)i * STEP_US);
		cr_assert_eq(kill(child, SIGKILL), 0);
		cr_assert_eq(waitpid(child, NULL, 0), child);
		shelf_restart(s);
		expect_whole(s);
	}
}
