/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/jail.h"

#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum {
	WORDS_MAX = 300,
	CHILDREN_MAX = 4096
};

int jail_add_file(KeeperJail *jail, const char *text, bool read_only)
{
	size_t length = strcspn(text, "=");
	JailFile *file = &jail->files[jail->count];

	if (jail->count == JAIL_FILES_MAX || !length || text[length] != '=' ||
	    text[length + 1] != '/' || memchr(text, '/', length))
		return -1;
	*file = (JailFile){
		.name = text_printf("%.*s", (int)length, text),
		.path = text_dup(text + length + 1),
		.read_only = read_only,
	};
	jail->count++;
	return 0;
}

void jail_clear(KeeperJail *jail)
{
	for (size_t i = 0; i < jail->count; i++) {
		free(jail->files[i].name);
		free(jail->files[i].path);
	}
	free(jail->root);
	*jail = (KeeperJail){ 0 };
}

static int furnish_one(const KeeperJail *jail, const JailFile *file, int root, Error *err)
{
	cleanup_(jail_mount_release) JailMount mount = { .tree = -1 };

	if (jail_file_open(&mount, file, jail->uid, err) < 0)
		return -1;
	return jail_mount_place(&mount, file, root, jail->uid, err);
}

void jail_hasten(const char *own_group)
{
	cleanup_free char *path = text_printf("%s/cgroup.procs", own_group);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!dprintf(fd, "%d", (int)getpid());
}

int jail_furnish(const KeeperJail *jail, Error *err)
{
	cleanup_close int root = -1;

	/* What the host unmounts goes here too; what is mounted here is not seen there. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "make a mount namespace");
	root = open(jail->root, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (root < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "open %s", jail->root);
	for (size_t i = 0; i < jail->count; i++)
		if (furnish_one(jail, &jail->files[i], root, err) < 0)
			return -1;
	return 0;
}

/* What was said on @output, as one line. */
static void read_words(char ret[static WORDS_MAX], int output)
{
	ssize_t n = read(output, ret, WORDS_MAX - 1);

	while (n > 0 && strchr("\r\n", ret[n - 1]))
		n--;
	ret[n > 0 ? n : 0] = '\0';
	for (char *at = ret; *at; at++)
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = ' ';
}

/* This process's only child; 0: it has none, or more. */
static pid_t only_child(void)
{
	cleanup_free char *text = NULL;
	char *end;
	long pid;

	if (file_read(&text, NULL, "/proc/thread-self/children", CHILDREN_MAX) < 0)
		return 0;
	pid = strtol(text, &end, 10);
	return strspn(end, " \n") == strlen(end) ? (pid_t)pid : 0;
}

int jail_find_vmm(pid_t *ret, pid_t jailer, int output, Error *err)
{
	char words[WORDS_MAX];
	int status;

	while (waitpid(jailer, &status, 0) < 0)
		if (errno != EINTR)
			return error_set_errno(err, ERROR_JAILER, errno, "wait for the jailer");
	*ret = only_child();
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && *ret > 0)
		return 0;
	read_words(words, output);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(err, ERROR_JAILER, "the jailer ended with %s %d%s%s",
				 WIFEXITED(status) ? "code" : "signal",
				 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
				 words[0] ? ": " : "", words);
	*ret = -1;
	return error_set(err, ERROR_JAILER, "the jailer has left no VMM behind%s%s",
			 words[0] ? ": " : "", words);
}

static int open_all(JailMount mounts[static JAIL_FILES_MAX], const KeeperJail *jail, Error *err)
{
	for (size_t i = 0; i < jail->count; i++)
		if (jail_file_open(&mounts[i], &jail->files[i], jail->uid, err) < 0)
			return -1;
	return 0;
}

/* In the VMM's namespace, whose root is the jail. */
static int place_all(const JailMount mounts[static JAIL_FILES_MAX], const KeeperJail *jail,
		     Error *err)
{
	cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "open the jail's root");
	for (size_t i = 0; i < jail->count; i++)
		if (jail_mount_place(&mounts[i], &jail->files[i], root, jail->uid, err) < 0)
			return -1;
	return 0;
}

static void remove_all(const char *const *gone, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		cleanup_free char *path = text_printf("/%s", gone[i]);

		(void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
		(void)unlink(path);
	}
}

int jail_attach(const KeeperJail *jail, int vmm_pidfd, const char *const *gone, size_t gone_count,
		Error *err)
{
	JailMount mounts[JAIL_FILES_MAX];
	int r;

	for (size_t i = 0; i < JAIL_FILES_MAX; i++)
		mounts[i].tree = -1;
	r = open_all(mounts, jail, err);
	if (r == 0 && setns(vmm_pidfd, CLONE_NEWNS) < 0)
		r = error_set_errno(err, ERROR_JAILER, errno, "enter the jail");
	if (r == 0)
		r = place_all(mounts, jail, err);
	if (r == 0)
		remove_all(gone, gone_count);
	for (size_t i = 0; i < JAIL_FILES_MAX; i++)
		jail_mount_release(&mounts[i]);
	return r;
}
