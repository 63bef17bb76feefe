/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parts of the catalog share; for runtime/images/templates*.c alone. */

#include "base/lock.h"
#include "runtime/images/disk_room.h"
#include "runtime/images/hash_cache.h"
#include "runtime/images/templates.h"

#include <uthash.h>

#define TEMPLATE_IMAGE "rootfs.ext4"

enum {
	TEMPLATE_GROWN_MAX = 8, /* sizes of one template that are kept */
};

/* The image, grown. */
typedef struct Grown {
	uint64_t size, allocated;
	DiskIdentity identity;
} Grown;

/* A template that somebody has asked for. Lives as long as its directory. */
typedef struct Entry {
	UT_hash_handle hh;
	char name[ERROR_ID_MAX];
	size_t users;        /* under lock: pins */
	size_t holds;        /* under lock: calls that work with it; it stays while there are any */
	bool absent;         /* under lock: being imported or deleted */
	bool claimed;        /* under lock: one call at a time reads, stamps or grows it */
	bool stamped;        /* under lock */
	TemplateStamp stamp; /* under lock */
	uint64_t allocated;  /* of its image; set by who has made it absent */
	size_t grown_count;  /* claimed */
	Grown grown[TEMPLATE_GROWN_MAX]; /* claimed; the oldest first */
} Entry;

struct Templates {
	char *dir;
	int fd; /* of dir */
	uint64_t max_image_bytes;
	char *unpacker;
	uid_t tool_uid;
	HashCache *hashes;
	DiskRoom *room;
	Lock lock;
	Cond settled;   /* with lock: an entry is claimed no more */
	Entry *entries; /* under lock */
};

/* Where it is; to free. @file may be NULL. */
char *template_path(const Templates *templates, const char *name, const char *file);

/* Fails with INPUT unless @name is one. */
int template_check_name(const char *name, Error *err) must_check;

/* Finds it, on the disk if need be. To release. ROOTFS: INPUT, MISSING. */
int template_hold(Templates *templates, const char *name, Entry **ret, Error *err) must_check;
void template_release(Templates *templates, Entry *entry);

/* Reserves the name of one that is to come; ROOTFS/EXISTS. Then either it has come or not; one that
 * is pinned stays known. */
int template_reserve(Templates *templates, const char *name, Entry **ret, Error *err) must_check;
void template_came(Templates *templates, Entry *entry, const TemplateStamp *stamp,
		   uint64_t allocated);
void template_came_not(Templates *templates, Entry *entry);

/* Waits until nobody else has claimed it. */
void template_claim(Templates *templates, Entry *entry);
void template_settle(Templates *templates, Entry *entry);

/* Its image, open, and what the stamp says; ROOTFS as templates_verify(). */
int template_open_image(Templates *templates, Entry *entry, bool read_all,
			const DiskProgress *progress, int *ret, Error *err) must_check;

/* As disk_room_take(); what was grown makes way. */
int template_take_room(Templates *templates, uint64_t bytes, const char *what, Error *err)
	must_check;

/* The image, open, of @size bytes; its file system fills it. */
int template_open_grown(Templates *templates, Entry *entry, int image, uint64_t size, int *ret,
			Error *err) must_check;

/* An image that was made of an OCI image, to be imported. */
typedef struct Unpacked {
	int fd;                        /* a file without a name; to close */
	uint64_t room;                 /* what it has taken of the catalog's, to settle with 0 */
	char digest[DISK_DIGEST_SIZE]; /* of the OCI image's manifest */
} Unpacked;

/* As templates_import() has it. */
int template_unpack(Templates *templates, const TemplateImport *asked, const DiskProgress *progress,
		    Unpacked *ret, Error *err) must_check;
