/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Many threads that check specs at once, on a host whose QEMU does nothing
 * useful until it is replaced by one that does: it is looked at by one of them
 * at a time, and once it works all of them are told so.
 */

#include "base/file.h"
#include "base/text.h"
#include "runtime/qemu_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
	THREADS = 8,
	ROUNDS = 5
};

/* Says that it is QEMU, and leaves a file behind if it does so twice at the same time. */
static const char script[] = "#!/bin/sh\n"
			     "case \"$*\" in\n"
			     "--version) mkdir $0.busy || : > $0.twice; sleep 0.05\n"
			     "	rmdir $0.busy; echo QEMU emulator version 9.8.7;;\n"
			     "*) exit %d;;\n"
			     "esac\n";

static Backend *backend;
static VmSpec *spec;
static atomic_uint available;

static void *check(void *unused)
{
	Error err = { 0 };

	(void)unused;
	/* Of QEMU it complains first, of the spec's missing kernel afterwards. */
	if (backend->ops->check(backend, spec, &err) < 0 && err.kind == ERROR_INVALID_REQUEST)
		atomic_fetch_add(&available, 1);
	return NULL;
}

/* How many of the threads were told that there is a QEMU. */
static unsigned check_at_once(void)
{
	Qemu *qemu = container_of(backend, Qemu, backend);
	pthread_t threads[THREADS];

	atomic_store(&available, 0);
	if (qemu->probed)
		qemu->probed -= QEMU_PROBE_AGAIN;
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, check, NULL))
			abort();
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	return atomic_load(&available);
}

static void install(const char *path, int code)
{
	cleanup_free char *text = text_printf(script, code);

	if (file_write_atomic(path, text, strlen(text)) < 0 || chmod(path, 0700) < 0)
		abort();
}

int main(void)
{
	char dir[] = "/tmp/hearth-probe-XXXXXX";
	char *made = mkdtemp(dir);
	cleanup_free char *path = text_printf("%s/qemu", dir);
	cleanup_free char *twice = text_printf("%s.twice", path);
	const BackendConfig config = {
		.keeper_path = "/nowhere",
		.qemu_path = path,
		.accelerator = "auto",
		.state_dir = dir,
	};
	unsigned early = 0, late;
	bool overlapped;

	if (!made)
		return 1;
	backend = qemu_new(&config);
	spec = spec_new();
	install(path, 1);
	for (int i = 0; i < ROUNDS; i++)
		early += check_at_once();
	install(path, 85); /* the proof that it ran the probe's program */
	late = check_at_once();
	overlapped = access(twice, F_OK) == 0;

	spec_unref(spec);
	backend->ops->free(backend);
	printf("told of a QEMU: %u before, %u after; %s\n", early, late,
	       overlapped ? "looked at twice at once" : "looked at by one at a time");
	return file_remove_tree(dir) < 0 || early || late != THREADS || overlapped;
}
