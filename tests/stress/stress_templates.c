/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that import, clone, verify, pin, list and delete the same few templates: a clone is what
 * was imported, what is pinned stays, and at the end nothing is left that has no name. */

#include "base/file.h"
#include "base/text.h"
#include "runtime/images/templates.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	THREADS = 6,
	ROUNDS = 400,
	NAMES = 3,
	IMAGE = 256 << 10,
};

static char dir[] = "/tmp/hearth-stress-templates.XXXXXX";
static char source[64];
static char image[IMAGE];
static Templates *templates;
static atomic_uint wrong, cloned, imported, deleted, refused;

/* These are the answers of others having been there first; anything else is wrong. */
static void expect(int r, const Error *err, atomic_uint *done)
{
	bool fits = err->kind == ERROR_IN_USE || err->cause == CAUSE_MISSING ||
		    err->cause == CAUSE_EXISTS;

	if (r == 0) {
		atomic_fetch_add(done, 1);
	} else if (fits) {
		atomic_fetch_add(&refused, 1);
	} else {
		(void)fprintf(stderr, "%s\n", err->what);
		atomic_fetch_add(&wrong, 1);
	}
}

static void import(const char *name)
{
	const TemplateImport asked = { .name = name, .path = source };
	TemplateInfo info;
	Error err = { 0 };

	expect(templates_import(templates, &asked, &info, &err), &err, &imported);
}

static void clone_it(const char *name, size_t thread)
{
	cleanup_free char *to = text_printf("%s/clone-%zu", dir, thread);
	cleanup_free char *bytes = NULL;
	const TemplateClone asked = { .name = name, .to = to };
	DiskCloneWay way;
	size_t size;
	Error err = { 0 };
	int r = templates_clone(templates, &asked, &way, &err);

	expect(r, &err, &cloned);
	if (r < 0)
		return;
	if (file_read(&bytes, &size, to, 2 * (size_t)IMAGE) < 0 || size != IMAGE ||
	    memcmp(bytes, image, IMAGE) != 0)
		atomic_fetch_add(&wrong, 1);
	(void)unlink(to);
}

static void delete_it(const char *name)
{
	Error err = { 0 };

	expect(templates_delete(templates, name, &err), &err, &deleted);
}

static void pin_it(const char *name)
{
	TemplateInfo info;
	Error err = { 0 };

	if (templates_pin(templates, name, &err) < 0)
		return;
	if (templates_get(templates, name, &info, &err) < 0 || info.users == 0 ||
	    templates_delete(templates, name, &err) == 0)
		atomic_fetch_add(&wrong, 1);
	templates_unpin(templates, name);
}

static void list(void)
{
	cleanup_free TemplateInfo *infos = NULL;
	size_t count;
	Error err = { 0 };

	if (templates_list(templates, &infos, &count, &err) < 0 || count > NAMES)
		atomic_fetch_add(&wrong, 1);
}

static void *work(void *user)
{
	static const char *const names[NAMES] = { "a", "b", "c" };
	size_t thread = (size_t)(uintptr_t)user;
	unsigned seed = (unsigned)thread;

	for (int i = 0; i < ROUNDS; i++) {
		const char *name = names[rand_r(&seed) % NAMES];
		int what = rand_r(&seed) % 10;

		if (what < 2)
			import(name);
		else if (what < 7)
			clone_it(name, thread);
		else if (what < 8)
			pin_it(name);
		else if (what < 9)
			list();
		else
			delete_it(name);
	}
	return NULL;
}

/* Names in the catalog that begin with a dot, but for the digests. */
static size_t count_asides(void)
{
	cleanup_free char *path = text_printf("%s/templates", dir);
	cleanup_closedir DIR *all = opendir(path);
	const struct dirent *file;
	size_t count = 0;

	while (all && (file = readdir(all)))
		count += file->d_name[0] == '.' && strlen(file->d_name) > strlen(".hashes");
	return count;
}

int main(void)
{
	pthread_t threads[THREADS];
	cleanup_free char *catalog = NULL;
	TemplatesConfig config = { 0 };
	Error err = { 0 };

	if (!mkdtemp(dir))
		return 1;
	catalog = text_printf("%s/templates", dir);
	config.dir = catalog;
	(void)snprintf(source, sizeof source, "%s/source", dir);
	for (size_t i = 0; i < IMAGE; i++)
		image[i] = (char)(i * i % 251);
	if (file_write_atomic(source, image, IMAGE) < 0 ||
	    templates_open(&templates, &config, &err) < 0)
		return 1;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)i)) /* NOLINT: a number */
			return 1;
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	if (count_asides() > 0)
		atomic_fetch_add(&wrong, 1);
	templates_close(templates);
	(void)!file_remove_tree(dir);
	printf("%u imported, %u cloned, %u deleted, %u refused, %u wrong\n", atomic_load(&imported),
	       atomic_load(&cloned), atomic_load(&deleted), atomic_load(&refused),
	       atomic_load(&wrong));
	return atomic_load(&wrong) || !atomic_load(&cloned) || !atomic_load(&deleted);
}
