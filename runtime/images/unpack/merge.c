/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/unpack/merge.h"

#include "base/text.h"
#include "runtime/images/unpack/refuse.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define RESERVED ".wh..wh."

enum {
	LINKS_MAX = 40,
	XATTR_MAX = 64 << 10,
};

typedef struct Merge {
	Node *root;
	size_t layer, entry; /* the current one's */
	uint64_t bytes_max, bytes, memory, entries;
	const char *path; /* of the current entry */
} Merge;

static _Noreturn void refuse_entry(const Merge *merge, const char *why)
{
	refuse(UNPACK_INPUT, "layer %zu has %s: '%.100s'", merge->layer + 1, why, merge->path);
}

static void count_memory(Merge *merge, size_t bytes)
{
	merge->memory += bytes;
	if (merge->memory > MERGE_MEMORY_MAX)
		refuse_entry(merge, "more names and attributes than are taken, up to");
}

static Node *put(Merge *merge, Node *dir, const char *name, Inode *inode)
{
	Node *node;

	if (strlen(name) > TREE_NAME_MAX)
		refuse_entry(merge, "a name that is too long");
	node = tree_put(dir, name, inode, merge->layer);
	if (!node)
		refuse_entry(merge, "an entry that lies too deep");
	return node;
}

static Node *enter(Merge *merge, Node *dir, const char *path, bool make, unsigned *links);

/* The directory that @node is or leads to; NULL if there is none and none is to be made.
 * NOLINTNEXTLINE(misc-no-recursion) */
static Node *enter_node(Merge *merge, Node *node, bool make, unsigned *links)
{
	const char *target = node->inode->target;

	if (S_ISDIR(node->inode->mode))
		return node;
	if (!target && !make)
		return NULL;
	if (!target)
		refuse_entry(merge, "an entry below what is no directory");
	if (++*links > LINKS_MAX)
		refuse_entry(merge, "an entry behind too many symbolic links");
	return enter(merge, target[0] == '/' ? merge->root : node->parent, target, make, links);
}

/* One step of a path. NOLINTNEXTLINE(misc-no-recursion) */
static Node *enter_name(Merge *merge, Node *dir, const char *name, bool make, unsigned *links)
{
	Node *node;

	if (!*name || strcmp(name, ".") == 0)
		return dir;
	if (strcmp(name, "..") == 0)
		return dir->parent ? dir->parent : dir;
	node = tree_find(dir, name);
	if (node)
		return enter_node(merge, node, make, links);
	if (!make)
		return NULL;
	count_memory(merge, sizeof *node + sizeof *node->inode + strlen(name));
	return put(merge, dir, name, inode_new(S_IFDIR | 0755));
}

/* The directory @path, from @dir on, links resolved within the tree; what is missing of it is made,
 * or it is NULL. NOLINTNEXTLINE(misc-no-recursion) */
static Node *enter(Merge *merge, Node *dir, const char *path, bool make, unsigned *links)
{
	cleanup_free char *copy = text_dup(path);
	char *rest = copy, *name;

	while (dir && (name = strsep(&rest, "/")))
		dir = enter_name(merge, dir, name, make, links);
	return dir;
}

static void refuse_parents(const Merge *merge, const char *path)
{
	cleanup_free char *copy = text_dup(path);
	char *rest = copy, *name;

	while ((name = strsep(&rest, "/")))
		if (strcmp(name, "..") == 0)
			refuse_entry(merge, "a path with '..'");
}

/* Does the path end with what says nothing? */
static bool ends_idly(const char *path, size_t length)
{
	if (!length)
		return false;
	return path[length - 1] == '/' ||
	       (path[length - 1] == '.' && (length == 1 || path[length - 2] == '/'));
}

/* The last name of @path, empty if that is the root; what is before it is @parent. */
static const char *split(const Merge *merge, char *path, const char **parent)
{
	size_t length = strlen(path);
	char *slash;

	refuse_parents(merge, path);
	while (ends_idly(path, length))
		path[--length] = '\0';
	slash = strrchr(path, '/');
	*parent = slash ? path : "";
	if (slash)
		*slash = '\0';
	return slash ? slash + 1 : path;
}

static void apply_whiteout(Merge *merge, const char *parent, const char *name)
{
	unsigned links = 0;
	Node *dir = enter(merge, merge->root, parent, false, &links);
	Node *hidden;

	if (!dir)
		return;
	if (strcmp(name, OPAQUE) == 0) {
		tree_hide(dir, merge->layer);
		return;
	}
	if (strncmp(name, RESERVED, strlen(RESERVED)) == 0)
		return;
	hidden = tree_find(dir, name + strlen(WHITEOUT));
	if (hidden)
		tree_prune(hidden, merge->layer);
}

/* Another name of what is there already. */
static Inode *find_linked(Merge *merge, const char *target)
{
	cleanup_free char *copy = text_dup(target);
	unsigned links = 0;
	const char *parent, *name = split(merge, copy, &parent);
	const Node *dir = enter(merge, merge->root, parent, false, &links);
	const Node *node = dir ? tree_find(dir, name) : NULL;

	if (!node)
		refuse_entry(merge, "a hard link to what is not there");
	if (S_ISDIR(node->inode->mode))
		refuse_entry(merge, "a hard link to a directory");
	if (node->inode->links == USHRT_MAX / 2)
		refuse_entry(merge, "a hard link to what has too many names");
	node->inode->links++;
	return node->inode;
}

/* Others are the host's, or would have to be translated. */
static bool is_kept(const char *name)
{
	return strncmp(name, "user.", strlen("user.")) == 0 ||
	       strcmp(name, "security.capability") == 0;
}

static void add_xattrs(Merge *merge, Inode *inode, struct archive_entry *entry)
{
	const char *name;
	const void *value;
	size_t size;

	(void)archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !is_kept(name))
			continue;
		if (size > XATTR_MAX)
			refuse_entry(merge, "an attribute that is too large");
		count_memory(merge, strlen(name) + size);
		inode_add_xattr(inode, name, value, size);
	}
}

static void set_target(Merge *merge, Inode *inode, const char *target)
{
	if (!target || !*target || strlen(target) > TREE_TARGET_MAX)
		refuse_entry(merge, "a symbolic link that leads nowhere");
	count_memory(merge, strlen(target));
	inode->target = text_dup(target);
}

/* Those of an entry that is no regular file are read as well. */
static void count_bytes(Merge *merge, struct archive_entry *entry)
{
	int64_t size = archive_entry_size(entry);

	if (size < 0 || (uint64_t)size > merge->bytes_max - merge->bytes)
		refuse(UNPACK_INPUT,
		       "its files have more than the %" PRIu64 " bytes that an image may have",
		       merge->bytes_max);
	merge->bytes += (uint64_t)size;
}

static uint32_t id_of(const Merge *merge, int64_t id)
{
	if (id < 0 || id >= UINT32_MAX)
		refuse_entry(merge, "an owner that there cannot be");
	return (uint32_t)id;
}

static Inode *make_inode(Merge *merge, struct archive_entry *entry)
{
	Inode *inode = inode_new(archive_entry_mode(entry));

	count_memory(merge, sizeof *inode);
	inode->uid = id_of(merge, archive_entry_uid(entry));
	inode->gid = id_of(merge, archive_entry_gid(entry));
	inode->mtime = archive_entry_mtime(entry);
	inode->layer = merge->layer;
	inode->entry = merge->entry;
	add_xattrs(merge, inode, entry);
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		inode->size = (uint64_t)archive_entry_size(entry);
		break;
	case S_IFLNK:
		inode->mode = S_IFLNK | 0777; /* as on every Linux */
		set_target(merge, inode, archive_entry_symlink(entry));
		break;
	case S_IFCHR:
	case S_IFBLK:
		inode->major = (uint32_t)archive_entry_rdevmajor(entry);
		inode->minor = (uint32_t)archive_entry_rdevminor(entry);
		break;
	case S_IFDIR:
	case S_IFIFO:
		break;
	default:
		refuse_entry(merge, "an entry of a type that is not taken");
	}
	return inode;
}

static void replace_root(Merge *merge, Inode *inode)
{
	if (!S_ISDIR(inode->mode))
		refuse_entry(merge, "a root that is no directory");
	inode_drop(merge->root->inode);
	merge->root->inode = inode;
}

static void apply(Merge *merge, struct archive_entry *entry)
{
	const char *linked = archive_entry_hardlink(entry);
	cleanup_free char *path = text_dup(merge->path);
	const char *parent, *name = split(merge, path, &parent);
	unsigned links = 0;
	Node *dir;

	count_memory(merge, sizeof *dir + strlen(name));
	if (!*name) {
		replace_root(merge, make_inode(merge, entry));
		return;
	}
	if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0) {
		apply_whiteout(merge, parent, name);
		return;
	}
	dir = enter(merge, merge->root, parent, true, &links);
	(void)put(merge, dir, name, linked ? find_linked(merge, linked) : make_inode(merge, entry));
}

static void merge_layer(Merge *merge, const LayerPlace *place)
{
	Layer *layer = layer_open(place);
	struct archive_entry *entry;

	for (merge->entry = 0; (entry = layer_next(layer)); merge->entry++) {
		merge->path = archive_entry_pathname(entry);
		if (!merge->path || strlen(merge->path) >= PATH_MAX)
			refuse(UNPACK_INPUT, "layer %zu has a path that is too long",
			       merge->layer + 1);
		if (++merge->entries > MERGE_ENTRIES_MAX)
			refuse(UNPACK_INPUT, "its layers have more than %d entries",
			       MERGE_ENTRIES_MAX);
		count_bytes(merge, entry);
		apply(merge, entry);
	}
	layer_close(layer);
}

Node *merge_layers(const LayerPlace *places, size_t count, uint64_t bytes_max)
{
	Merge merge = { .root = tree_new(), .bytes_max = bytes_max };

	for (merge.layer = 0; merge.layer < count; merge.layer++)
		merge_layer(&merge, &places[merge.layer]);
	return merge.root;
}
