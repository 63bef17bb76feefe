/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The catalog of templates: disks that VMs get clones of.
 *
 * A template is a directory of the catalog's, by its name (an id, as a VM's): rootfs.ext4, which is
 * the image, of whatever file system; and stamp.json, which says what the image was when it
 * came (runtime/images/template_stamp.h). What somebody has placed there without a stamp is a
 * template as well, found when it is asked for, and gets its stamp with its first use. Links are
 * not followed.
 *
 * No clone is made of an image that is not what its stamp says. An image is read for that once, and
 * again only if it was changed (runtime/images/hash_cache.h).
 *
 * All is made aside, in a name that begins with a dot, and has its own name when it is whole and on
 * the disk; what a dead agent left under such names is removed at the start. An ext4 that is to be
 * larger is grown once for each size, and kept as grown-<bytes>.ext4 while there is room and
 * this agent lives.
 *
 * The directory is one agent's (the store's lock sees to that), and is best on the file system
 * where the clones go: then they are reflinks. Calls block, long ones as their header says; safe
 * from any thread.
 */

#include "runtime/images/disk_clone.h"
#include "runtime/images/template_stamp.h"

typedef struct TemplatesConfig {
	const char *dir;          /* absolute; made if missing */
	uint64_t max_bytes;       /* of all templates; 0: no limit */
	uint64_t max_image_bytes; /* of one; 0: no limit */
	uint64_t spare_bytes;     /* of the file system, that are to stay free */
	const char *unpacker;     /* hearth-unpack, as it is run; NULL: by PATH */
	uid_t tool_uid; /* who works on images (runtime/images/image_tools.h); 0: as we are */
} TemplatesConfig;

typedef struct TemplateInfo {
	char name[ERROR_ID_MAX];
	bool stamped; /* else stamp is empty, for the image was not read yet */
	TemplateStamp stamp;
	uint64_t size, allocated; /* bytes of the image, and what it has of the disk */
	uint32_t extents;         /* few make clones fast; 0: not known */
	size_t users;             /* those who have pinned it */
	Error problem;            /* why no clone can be made of it, as far as it is known unread */
} TemplateInfo;

typedef struct Templates Templates;

/* Removes what is left of what was never finished. ROOTFS. */
int templates_open(Templates **ret, const TemplatesConfig *config, Error *err) must_check;
void templates_close(Templates *templates); /* no call is under way; accepts NULL */
DEFINE_CLEANUP(Templates *, templates_close);

/**
 * templates_list() - all that are there now
 * @ret:	by name; the caller's to free
 *
 * Reads no image. Those that are being imported or deleted are left out.
 */
int templates_list(Templates *templates, TemplateInfo **ret, size_t *count, Error *err) must_check;

/* One; ROOTFS: MISSING. */
int templates_get(Templates *templates, const char *name, TemplateInfo *ret, Error *err) must_check;

typedef struct TemplateImport {
	const char *name;
	const char *path;      /* a raw image or an OCI image, resolved (runtime/image_path.h) */
	const char *digest;    /* what the template must have; NULL: whatever it has */
	const char *reference; /* which of several OCI images; NULL: the only one */
	uint64_t size; /* what becomes of an OCI image has; 0: its files', a fifth, 64 MiB */
	const DiskProgress *progress; /* may be NULL; what is done is a part of the whole, in bytes
				       * that count as often as they are read */
} TemplateImport;

/**
 * templates_import() - copy an image into the catalog, in few extents, and stamp it
 *
 * An OCI image, which is a directory or a tar archive (runtime/images/oci_image.h), becomes an
 * ext4: the same bytes each time. If a template of that name and the digest asked for is there
 * already, it is @ret. Takes as long as the image is large. ROOTFS: INPUT (name, digest, no image
 * that is taken, too large, changed while it was read), MISSING (the image), EXISTS, CORRUPT (it
 * has another digest, or cannot be read), EXHAUSTED (disk, quota or limit), TIMEOUT (given up); of
 * these nothing is left.
 */
int templates_import(Templates *templates, const TemplateImport *import, TemplateInfo *ret,
		     Error *err) must_check;

/**
 * templates_verify() - is the image what its stamp says?
 * @read_all:	read it even if it was not changed: disks fail silently
 * @progress:	may be NULL
 *
 * Stamps one that has no stamp. ROOTFS: MISSING, CORRUPT. Of several callers one reads and the
 * others wait, and cannot give up meanwhile.
 */
int templates_verify(Templates *templates, const char *name, bool read_all,
		     const DiskProgress *progress, Error *err) must_check;

typedef struct TemplateClone {
	const char *name;
	const char *to; /* as disk_clone() has it, and so what follows */
	uint64_t size;
	bool durable;
	const DiskProgress *progress;
} TemplateClone;

/**
 * templates_clone() - make a disk (mode 0600) of a verified template
 * @ret:	how
 *
 * An ext4 fills a larger disk; what else it may be is the guest's to grow. ROOTFS as
 * templates_verify() and disk_clone().
 */
int templates_clone(Templates *templates, const TemplateClone *clone, DiskCloneWay *ret, Error *err)
	must_check;

/* A VM depends on it: until it is unpinned as often, it is not deleted. Nothing of that is
 * recorded. ROOTFS: MISSING. */
int templates_pin(Templates *templates, const char *name, Error *err) must_check;
void templates_unpin(Templates *templates, const char *name);

/* Its clones live on. ROOTFS: MISSING; IN_USE: it is pinned, or somebody works with it. */
int templates_delete(Templates *templates, const char *name, Error *err) must_check;
