/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/unpack/fill.h"

#include "base/text.h"
#include "runtime/images/unpack/refuse.h"

#include <ext2fs/ext2fs.h>
#include <string.h>
#include <sys/stat.h>

enum {
	FAST_TARGET = 60,    /* bytes of a target that lie in the inode, with the NUL */
	DIR_ENTRY = 8,       /* bytes besides the name */
	EXTENT_BLOCKS = 256, /* of a file to each one of its extents, at the least */
	SUBDIRS_MAX = 64990,
	INODE_SIZE = 256,
	OLD_DEVICE_MAX = 256,
};

/* A regular file, to be filled when its layer is read. */
typedef struct Content {
	Inode *inode;
} Content;

typedef struct Fill {
	ext2_filsys fs;
	Content *contents; /* those of regular files with names */
	size_t count, next;
} Fill;

static uint64_t blocks_of(uint64_t bytes)
{
	return bytes / FILL_BLOCK + (bytes % FILL_BLOCK > 0);
}

static uint64_t measure_inode(const Inode *inode)
{
	uint64_t blocks = inode->xattr_count > 0;

	if (S_ISREG(inode->mode))
		blocks += blocks_of(inode->size) + inode->size / FILL_BLOCK / EXTENT_BLOCKS;
	else if (S_ISLNK(inode->mode))
		blocks += strlen(inode->target) >= FAST_TARGET;
	return blocks;
}

/* A file counts with each of its names: rather too much than too little.
 * NOLINTNEXTLINE(misc-no-recursion) */
static void measure(FillNeeds *needs, const Node *dir)
{
	uint64_t names = 0;

	needs->inodes++;
	for (const Node *node = dir->children; node; node = node->hh.next) {
		names += DIR_ENTRY + strlen(node->name) + 3;
		if (S_ISDIR(node->inode->mode)) {
			measure(needs, node);
			continue;
		}
		needs->inodes++;
		needs->bytes += measure_inode(node->inode) * FILL_BLOCK / node->inode->links;
	}
	needs->bytes += (blocks_of(names) + 1 + measure_inode(dir->inode)) * FILL_BLOCK;
}

FillNeeds fill_measure(const Node *root)
{
	FillNeeds needs = { 0 };

	measure(&needs, root);
	needs.bytes += needs.inodes * INODE_SIZE;
	return needs;
}

/* The file system has no more room, or something else went wrong with @name. */
static void check(errcode_t error, const char *name)
{
	if (!error)
		return;
	if (error == EXT2_ET_BLOCK_ALLOC_FAIL || error == EXT2_ET_INODE_ALLOC_FAIL)
		refuse(UNPACK_INPUT, "it does not fit into the size: there is no room for '%s'",
		       name);
	if (error == EXT2_ET_EA_NO_SPACE)
		refuse(UNPACK_INPUT, "'%s' has more attributes than ext4 takes", name);
	if (error < EXT2_ET_BASE)
		refuse(UNPACK_FAILED, "write '%s': %s", name, strerror((int)error));
	refuse(UNPACK_FAILED, "write '%s': error %ld of libext2fs", name, error);
}

static void set_device(struct ext2_inode *to, const Inode *from)
{
	uint32_t major = from->major, minor = from->minor;

	if (major < OLD_DEVICE_MAX && minor < OLD_DEVICE_MAX)
		to->i_block[0] = major << 8 | minor;
	else
		to->i_block[1] = (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
}

/* What it says about itself, but for its bytes. */
static void set_attributes(struct ext2_inode *to, const Inode *from)
{
	int64_t time = from->mtime;
	uint32_t seconds = time < 0 ? 0 : time > INT32_MAX ? INT32_MAX : (uint32_t)time;

	to->i_mode = (__u16)from->mode;
	to->i_uid = (__u16)from->uid;
	to->osd2.linux2.l_i_uid_high = (__u16)(from->uid >> 16);
	to->i_gid = (__u16)from->gid;
	to->osd2.linux2.l_i_gid_high = (__u16)(from->gid >> 16);
	to->i_mtime = to->i_atime = to->i_ctime = seconds;
}

static void write_xattrs(Fill *fill, const Node *node)
{
	const Inode *inode = node->inode;
	struct ext2_xattr_handle *handle;

	if (!inode->xattr_count)
		return;
	check(ext2fs_xattrs_open(fill->fs, inode->number, &handle), node->name);
	for (size_t i = 0; i < inode->xattr_count; i++)
		check(ext2fs_xattr_set(handle, inode->xattrs[i].name, inode->xattrs[i].value,
				       inode->xattrs[i].size),
		      node->name);
	check(ext2fs_xattrs_close(&handle), node->name);
}

static int type_of(mode_t mode)
{
	static const struct {
		mode_t mode;
		int type;
	} types[] = {
		{ S_IFREG, EXT2_FT_REG_FILE }, { S_IFCHR, EXT2_FT_CHRDEV },
		{ S_IFBLK, EXT2_FT_BLKDEV },   { S_IFIFO, EXT2_FT_FIFO },
		{ S_IFLNK, EXT2_FT_SYMLINK },
	};

	for (size_t i = 0; i < array_size(types); i++)
		if ((mode & S_IFMT) == types[i].mode)
			return types[i].type;
	return EXT2_FT_UNKNOWN;
}

/* Gives @node, whose inode has its number, a name in the directory @dir. */
typedef errcode_t Enter(ext2_filsys fs, ext2_ino_t dir, const Node *node);

static errcode_t enter_link(ext2_filsys fs, ext2_ino_t dir, const Node *node)
{
	return ext2fs_link(fs, dir, node->name, node->inode->number, type_of(node->inode->mode));
}

static errcode_t enter_symlink(ext2_filsys fs, ext2_ino_t dir, const Node *node)
{
	return ext2fs_symlink(fs, dir, node->inode->number, node->name, node->inode->target);
}

static errcode_t enter_dir(ext2_filsys fs, ext2_ino_t dir, const Node *node)
{
	return ext2fs_mkdir(fs, dir, node->inode->number, node->name);
}

/* A directory that is full grows first. */
static void enter(Fill *fill, const Node *node, Enter *how)
{
	ext2_ino_t dir = node->parent->inode->number;
	errcode_t error = how(fill->fs, dir, node);

	if (error == EXT2_ET_DIR_NO_SPACE) {
		check(ext2fs_expand_dir(fill->fs, dir), node->name);
		error = how(fill->fs, dir, node);
	}
	check(error, node->name);
}

static ext2_ino_t allocate(Fill *fill, const Node *node)
{
	ext2_ino_t number;

	check(ext2fs_new_inode(fill->fs, node->parent->inode->number, (int)node->inode->mode, NULL,
			       &number),
	      node->name);
	node->inode->number = number;
	return number;
}

static void update_inode(Fill *fill, const Node *node)
{
	struct ext2_inode inode;

	check(ext2fs_read_inode(fill->fs, node->inode->number, &inode), node->name);
	set_attributes(&inode, node->inode);
	if (!S_ISDIR(node->inode->mode))
		inode.i_links_count = (__u16)node->inode->links;
	check(ext2fs_write_inode(fill->fs, node->inode->number, &inode), node->name);
	write_xattrs(fill, node);
}

static void make_symlink(Fill *fill, const Node *node)
{
	(void)allocate(fill, node);
	enter(fill, node, enter_symlink);
	update_inode(fill, node);
}

/* A regular file without bytes, a device or a FIFO. */
static void make_file(Fill *fill, const Node *node)
{
	ext2_ino_t number = allocate(fill, node);
	struct ext2_inode inode = { .i_links_count = (__u16)node->inode->links };
	ext2_extent_handle_t extents;

	set_attributes(&inode, node->inode);
	if (S_ISREG(node->inode->mode)) {
		check(ext2fs_extent_open2(fill->fs, number, &inode, &extents), node->name);
		ext2fs_extent_free(extents);
		fill->contents =
			must_realloc(fill->contents, fill->count + 1, sizeof *fill->contents);
		fill->contents[fill->count++].inode = node->inode;
	} else {
		set_device(&inode, node->inode);
	}
	ext2fs_inode_alloc_stats2(fill->fs, number, 1, 0);
	check(ext2fs_write_new_inode(fill->fs, number, &inode), node->name);
	write_xattrs(fill, node);
	enter(fill, node, enter_link);
}

static void make_node(Fill *fill, const Node *node)
{
	if (node->inode->number)
		enter(fill, node, enter_link);
	else if (S_ISLNK(node->inode->mode))
		make_symlink(fill, node);
	else
		make_file(fill, node);
}

static void make_dir(Fill *fill, const Node *node)
{
	(void)allocate(fill, node);
	enter(fill, node, enter_dir);
}

/* mke2fs has made it, and is not to be contradicted. */
static bool is_there(Fill *fill, const Node *node)
{
	ext2_ino_t number;

	if (node->parent->parent || strcmp(node->name, "lost+found") != 0)
		return false;
	check(ext2fs_lookup(fill->fs, EXT2_ROOT_INO, node->name, (int)strlen(node->name), NULL,
			    &number),
	      node->name);
	if (!S_ISDIR(node->inode->mode))
		refuse(UNPACK_INPUT, "its /lost+found is no directory");
	node->inode->number = number;
	return true;
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static void make_children(Fill *fill, const Node *dir)
{
	size_t dirs = 0;

	update_inode(fill, dir);
	for (const Node *node = dir->children; node; node = node->hh.next) {
		bool there = is_there(fill, node);

		if (!S_ISDIR(node->inode->mode)) {
			make_node(fill, node);
			continue;
		}
		if (++dirs > SUBDIRS_MAX)
			refuse(UNPACK_INPUT, "'%s' has more than %d directories", dir->name,
			       SUBDIRS_MAX);
		if (!there)
			make_dir(fill, node);
		make_children(fill, node);
	}
}

/* In the order in which their bytes come. */
static int by_place(const void *a, const void *b)
{
	const Inode *x = ((const Content *)a)->inode, *y = ((const Content *)b)->inode;

	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

static void write_content(Fill *fill, const Inode *inode, Layer *layer, const char *name)
{
	ext2_file_t file;
	const void *bytes;
	uint64_t at;
	size_t size;

	check(ext2fs_file_open(fill->fs, inode->number, EXT2_FILE_WRITE, &file), name);
	while (layer_data(layer, &bytes, &size, &at)) {
		const char *piece = bytes;

		if (at > inode->size || size > inode->size - at)
			refuse(UNPACK_CORRUPT, "'%s' has more bytes than it says", name);
		check(ext2fs_file_llseek(file, at, EXT2_SEEK_SET, NULL), name);
		while (size) {
			unsigned written;
			unsigned most = size < 1 << 20 ? (unsigned)size : 1 << 20;

			check(ext2fs_file_write(file, piece, most, &written), name);
			piece += written;
			size -= written;
		}
	}
	check(ext2fs_file_set_size2(file, (ext2_off64_t)inode->size), name);
	check(ext2fs_file_close(file), name);
}

static void write_layer(Fill *fill, size_t index, const LayerPlace *place)
{
	Layer *layer = layer_open(place);
	struct archive_entry *entry;

	for (size_t i = 0; (entry = layer_next(layer)); i++) {
		const Inode *inode =
			fill->next < fill->count ? fill->contents[fill->next].inode : NULL;

		if (!inode || inode->layer != index || inode->entry != i)
			continue;
		write_content(fill, inode, layer, archive_entry_pathname(entry));
		fill->next++;
	}
	layer_close(layer);
}

void fill(const char *path, Node *root, const LayerPlace *places, size_t count)
{
	Fill it = { 0 };

	check(ext2fs_open(path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &it.fs),
	      "the file system");
	check(ext2fs_read_bitmaps(it.fs), "the file system");
	root->inode->number = EXT2_ROOT_INO;
	make_children(&it, root);
	if (it.count)
		qsort(it.contents, it.count, sizeof *it.contents, by_place);
	for (size_t i = 0; i < count; i++)
		write_layer(&it, i, &places[i]);
	if (it.next != it.count)
		refuse(UNPACK_CORRUPT, "its layers changed while they were read");
	check(ext2fs_close_free(&it.fs), "the file system");
	free(it.contents);
}
