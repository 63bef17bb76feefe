/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The files of an image as they are when all layers lie on each other, in memory, without their
 * bytes. Names are looked for in this tree and in no other, so that no link and no ".." leads out.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

enum {
	TREE_DEPTH_MAX = 1000,
	TREE_NAME_MAX = 255,
	TREE_TARGET_MAX = 4095,
};

typedef struct Xattr {
	char *name;
	void *value;
	size_t size;
} Xattr;

/* A file, whatever names it has. */
typedef struct Inode {
	mode_t mode; /* with its type */
	uint32_t uid, gid;
	int64_t mtime; /* sec */
	uint64_t size; /* of a regular file */
	uint32_t major, minor;
	char *target; /* of a symbolic link */
	Xattr *xattrs;
	size_t xattr_count;
	size_t links;        /* names */
	size_t layer, entry; /* where its bytes are */
	uint32_t number;     /* in the file system; 0: none yet */
} Inode;

typedef struct Node {
	UT_hash_handle hh;
	char *name;
	struct Node *parent;   /* NULL: the root */
	struct Node *children; /* by name */
	Inode *inode;
	size_t layer; /* the last that said something about it, or about what is below it */
	unsigned depth;
} Node;

Node *tree_new(void);
void tree_free(Node *root);

Node *tree_find(const Node *dir, const char *name);

/* Puts @inode there, which was counted as another name's or is new. A directory in place of a
 * directory keeps what is in it; all else that was there is gone. Evaluates to NULL if it would lie
 * too deep. */
Node *tree_put(Node *dir, const char *name, Inode *inode, size_t layer);

/* Removes @node, or what is below it, as far as it is of layers before @layer. */
void tree_prune(Node *node, size_t layer);

/* Removes what is in @dir as far as it is of layers before @layer. */
void tree_hide(Node *dir, size_t layer);

/* Sorts each directory by name. */
void tree_sort(Node *root);

/* To be given to tree_put(). */
Inode *inode_new(mode_t mode);
void inode_add_xattr(Inode *inode, const char *name, const void *value, size_t size);
/* One name less; without names it is gone. */
void inode_drop(Inode *inode);
