/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/jail.h"

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/image_path.h"

#include <assert.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

enum {
	FILES_LIMIT = 2048, /* descriptors of a VMM: its devices, and clients of its sockets */
	STATUS_MAX = 16 * 1024,
};

static const char kernel_name[] = "kernel";
static const char initrd_name[] = "initrd";

char *jail_drive_name(const VmDrive *drive)
{
	return text_printf("drive-%s-%016" PRIx64, drive->drive_id,
			   text_hash(drive->path, strlen(drive->path)));
}

/* The real path of a program, by PATH or by being a path; JAILER naming it. */
static int find_program(char **ret, const char *name, Error *err)
{
	cleanup_free char *found = process_find(name);
	char *real = found ? realpath(found, NULL) : NULL;

	if (!real)
		return error_set(err, ERROR_JAILER, "%s is not installed", name);
	*ret = real;
	return 0;
}

static char *name_of(const char *path)
{
	cleanup_free char *copy = text_dup(path);

	return text_dup(basename(copy));
}

static void set_group(char ret[static JAIL_GROUP_MAX], const JailConfig *config,
		      const char *instance)
{
	(void)snprintf(ret, JAIL_GROUP_MAX, "%s/%s", config->group, instance);
}

int jail_begin(Jail **ret, const JailConfig *config, const char *program, const char *instance,
	       Error *err)
{
	cleanup_(jail_freep) Jail *jail = new0(Jail);
	cleanup_free char *name = NULL;
	char why[256];
	int r;

	jail->config = config;
	text_copy(jail->instance, sizeof jail->instance, instance);
	set_group(jail->group, config, instance);
	if (find_program(&jail->program, program, err) < 0)
		return -1;
	if (cgroup_find(&jail->cgroups, NULL, why, sizeof why) < 0)
		return error_set(err, ERROR_JAILER, "%s", why);
	r = file_make_dirs(config->dir);
	jail->dir = r == 0 ? realpath(config->dir, NULL) : NULL;
	if (!jail->dir)
		return error_set_errno(err, ERROR_JAILER, r < 0 ? -r : errno, "make %s",
				       config->dir);
	name = name_of(jail->program);
	jail->root = text_printf("%s/%s/%s/root", jail->dir, name, instance);
	*ret = take_ptr(jail);
	return 0;
}

/* One file of the spec, resolved and looked at again. */
static int add_file(Jail *jail, const char *image_dirs, const KeeperJailFile *file,
		    const char *field, Error *err)
{
	char *real = NULL;
	int r = image_path_resolve(&real, file->path, image_dirs);

	if (r < 0)
		return error_add_violation(err, field, "%s: %s", file->path, image_path_problem(r));
	assert(jail->count < JAIL_FILES);
	jail->files[jail->count++] = (KeeperJailFile){
		.name = text_dup(file->name),
		.path = real,
		.read_only = file->read_only,
	};
	return 0;
}

static int add_drive_as(Jail *jail, const char *image_dirs, const VmSpec *spec, size_t i,
			const char *name, Error *err)
{
	const VmDrive *drive = spec_drive(spec, i);
	cleanup_free char *field = text_printf("spec.drives[%zu].path", i);
	cleanup_free char *copy = text_dup(name);
	const KeeperJailFile file = { copy, drive->path, drive->read_only };

	return add_file(jail, drive_is_own(drive) ? NULL : image_dirs, &file, field, err);
}

static int add_drive(Jail *jail, const char *image_dirs, const VmSpec *spec, size_t i, Error *err)
{
	cleanup_free char *name = jail_drive_name(spec_drive(spec, i));

	return add_drive_as(jail, image_dirs, spec, i, name, err);
}

/* Under the name it had in the jail that the snapshot was taken in, as well: the VMM looks there.
 */
static int add_restored_drive(Jail *jail, const char *image_dirs, const Job *job, size_t i,
			      Error *err)
{
	const FieldTexts *names = job->restore->drive_names;
	cleanup_free char *own = jail_drive_name(spec_drive(job->spec, i));
	const char *name = i < names->count ? names->items[i] : "";

	if (name[0] != '/' || !name[1] || strchr(name + 1, '/'))
		return error_set_cause(err, ERROR_JAILER, CAUSE_INPUT,
				       "the snapshot's drive '%s' was at '%s', which is in no jail",
				       spec_drive(job->spec, i)->drive_id, name);
	if (add_drive_as(jail, image_dirs, job->spec, i, own, err) < 0)
		return -1;
	return strcmp(own, name + 1) == 0
		       ? 0
		       : add_drive_as(jail, image_dirs, job->spec, i, name + 1, err);
}

static int add_snapshot(Jail *jail, const Job *job, Error *err)
{
	static const char *const names[][2] = { { JAIL_SNAPSHOT_MEMORY, SNAPSHOT_MEMORY },
						{ JAIL_SNAPSHOT_STATE, SNAPSHOT_STATE } };

	for (size_t i = 0; i < array_size(names); i++) {
		cleanup_free char *name = text_dup(names[i][0]);
		cleanup_free char *path = text_printf("%s/%s", job->restore->dir, names[i][1]);
		const KeeperJailFile file = { name, path, true };

		if (i == 0 && job->restore->paged) /* the pager's alone */
			continue;
		if (add_file(jail, NULL, &file, "spec.restore_from", err) < 0)
			return -1;
	}
	return 0;
}

static int add_boot(Jail *jail, const char *image_dirs, const VmSpec *spec, Error *err)
{
	cleanup_free char *kernel = text_dup(kernel_name), *initrd = text_dup(initrd_name);
	const KeeperJailFile boot[] = {
		{ kernel, spec->boot->kernel_path, true },
		{ initrd, spec->boot->initrd_path, true },
	};

	if (add_file(jail, image_dirs, &boot[0], "spec.boot.kernel_path", err) < 0)
		return -1;
	return text_equal(spec->boot->initrd_path, "")
		       ? 0
		       : add_file(jail, image_dirs, &boot[1], "spec.boot.initrd_path", err);
}

static int add_files(Jail *jail, const char *image_dirs, const Job *job, Error *err)
{
	if (job->restore ? add_snapshot(jail, job, err) < 0
			 : add_boot(jail, image_dirs, job->spec, err) < 0)
		return -1;
	for (size_t i = 0; i < job->spec->drives.count; i++)
		if (job->restore ? add_restored_drive(jail, image_dirs, job, i, err) < 0
				 : add_drive(jail, image_dirs, job->spec, i, err) < 0)
			return -1;
	return 0;
}

int jail_new(Jail **ret, const BackendConfig *config, const char *program, const Job *job,
	     Error *err)
{
	cleanup_(jail_freep) Jail *jail = NULL;

	if (!job->resolved->jail_uid)
		return error_set_cause(err, ERROR_JAILER, CAUSE_EXHAUSTED,
				       "no user is left to run the VM as");
	if (jail_begin(&jail, &config->jail, program, job->resolved->instance_id, err) < 0 ||
	    add_files(jail, config->image_dirs, job, err) < 0)
		return -1;
	jail->uid = job->resolved->jail_uid;
	jail->limits = spec_limits(job->spec);
	*ret = take_ptr(jail);
	return 0;
}

void jail_free(Jail *jail)
{
	if (!jail)
		return;
	for (size_t i = 0; i < jail->count; i++) {
		free(jail->files[i].name);
		free(jail->files[i].path);
	}
	free(jail->program);
	free(jail->dir);
	free(jail->root);
	free(jail);
}

int jail_make(const Jail *jail, Error *err)
{
	int r = file_make_dirs(jail->root);

	return r < 0 ? error_set_errno(err, ERROR_JAILER, -r, "make %s", jail->root) : 0;
}

char **jail_argv(const Jail *jail, const char *const *vmm_args, size_t count)
{
	char limits[CGROUP_WORDS_MAX][CGROUP_WORD_MAX];
	size_t limit_count = cgroup_words(&jail->cgroups, &jail->limits, limits);
	Words words = { 0 };

	words_add(&words, jail->config->jailer_path);
	words_add_option(&words, "--id", jail->instance);
	words_add_option(&words, "--exec-file", jail->program);
	words_printf(&words, "--uid", "%" PRIu32, jail->uid);
	words_printf(&words, "--gid", "%" PRIu32, jail->uid);
	words_add_option(&words, "--chroot-base-dir", jail->dir);
	words_add(&words, "--new-pid-ns");
	words_printf(&words, "--resource-limit", "no-file=%d", FILES_LIMIT);
	words_printf(&words, "--cgroup-version", "%d", jail->cgroups.version);
	words_add_option(&words, "--parent-cgroup", jail->config->group);
	for (size_t i = 0; i < limit_count; i++)
		words_add_option(&words, "--cgroup", limits[i]);
	words_add(&words, "--");
	for (size_t i = 0; i < count; i++)
		words_add(&words, vmm_args[i]);
	return words.items;
}

void jail_paths(FirecrackerPaths *ret, const VmSpec *spec)
{
	*ret = (FirecrackerPaths){
		.kernel = text_printf("/%s", kernel_name),
		.console = text_dup("/console.fifo"),
		.metrics = text_dup("/metrics.fifo"),
		.vsock = text_dup("/vsock.sock"),
	};
	if (!text_equal(spec->boot->initrd_path, ""))
		ret->initrd = text_printf("/%s", initrd_name);
	for (size_t i = 0; i < spec->drives.count; i++) {
		cleanup_free char *name = jail_drive_name(spec_drive(spec, i));

		ret->drives[i] = text_printf("/%s", name);
	}
}

/* The four user ids of @pid's status, or the group ids, are all @wanted. */
static bool ids_are(const char *status, const char *key, uint32_t wanted)
{
	const char *at = strstr(status, key);
	unsigned ids[4] = { 0 };

	/* NOLINTNEXTLINE(cert-err34-c): the kernel's numbers, which fit */
	if (!at || sscanf(at + strlen(key), "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return false;
	for (size_t i = 0; i < array_size(ids); i++)
		if (ids[i] != wanted)
			return false;
	return true;
}

int jail_verify(const Jail *jail, pid_t pid, Error *err)
{
	cleanup_free char *path = text_printf("/proc/%d/status", (int)pid);
	cleanup_free char *status = NULL;
	int r = file_read(&status, NULL, path, STATUS_MAX);

	if (r < 0)
		return error_set_errno(err, ERROR_JAILER, -r, "read %s", path);
	if (!ids_are(status, "\nUid:", jail->uid) || !ids_are(status, "\nGid:", jail->uid))
		return error_set(err, ERROR_JAILER,
				 "the VMM, pid %d, does not run as user %" PRIu32, (int)pid,
				 jail->uid);
	return cgroup_verify(&jail->cgroups, jail->group, &jail->limits, pid, err);
}
