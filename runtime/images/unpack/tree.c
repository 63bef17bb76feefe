/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/unpack/tree.h"

#include "base/text.h"

#include <string.h>
#include <sys/stat.h>

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
Node *tree_find(const Node *dir, const char *name)
{
	Node *found;

	HASH_FIND_STR(dir->children, name, found);
	return found;
}

static void add(Node *dir, Node *node)
{
	HASH_ADD_KEYPTR(hh, dir->children, node->name, strlen(node->name), node);
}

static void take_out(Node *node)
{
	HASH_DEL(node->parent->children, node);
}

static int by_name(const Node *a, const Node *b)
{
	return strcmp(a->name, b->name);
}

static void sort(Node *dir)
{
	HASH_SORT(dir->children, by_name);
}
/* NOLINTEND(readability-function-*) */

Inode *inode_new(mode_t mode)
{
	Inode *inode = new0(Inode);

	inode->mode = mode;
	inode->links = 1;
	return inode;
}

void inode_add_xattr(Inode *inode, const char *name, const void *value, size_t size)
{
	Xattr *xattr;

	inode->xattrs = must_realloc(inode->xattrs, inode->xattr_count + 1, sizeof *inode->xattrs);
	xattr = &inode->xattrs[inode->xattr_count++];
	*xattr = (Xattr){ .name = text_dup(name), .value = must_calloc(size, 1), .size = size };
	if (size)
		memcpy(xattr->value, value, size);
}

void inode_drop(Inode *inode)
{
	if (--inode->links)
		return;
	for (size_t i = 0; i < inode->xattr_count; i++) {
		free(inode->xattrs[i].name);
		free(inode->xattrs[i].value);
	}
	free(inode->xattrs);
	free(inode->target);
	free(inode);
}

static Node *node_new(const char *name, Inode *inode)
{
	Node *node = new0(Node);

	node->name = text_dup(name);
	node->inode = inode;
	return node;
}

/* As deep as TREE_DEPTH_MAX at most. NOLINTNEXTLINE(misc-no-recursion) */
static void drop(Node *node)
{
	while (node->children)
		drop(node->children);
	if (node->parent)
		take_out(node);
	inode_drop(node->inode);
	free(node->name);
	free(node);
}

Node *tree_new(void)
{
	return node_new("", inode_new(S_IFDIR | 0755));
}

void tree_free(Node *root)
{
	drop(root);
}

/* All that is above something of @layer is of that layer as well. */
static void touch(Node *node, size_t layer)
{
	for (; node && node->layer != layer; node = node->parent)
		node->layer = layer;
}

static void replace_inode(Node *node, Inode *inode)
{
	inode_drop(node->inode);
	node->inode = inode;
}

Node *tree_put(Node *dir, const char *name, Inode *inode, size_t layer)
{
	Node *node = tree_find(dir, name);

	if (dir->depth == TREE_DEPTH_MAX)
		return NULL;
	if (node && S_ISDIR(node->inode->mode) && S_ISDIR(inode->mode)) {
		replace_inode(node, inode);
	} else {
		if (node)
			drop(node);
		node = node_new(name, inode);
		node->parent = dir;
		node->depth = dir->depth + 1;
		add(dir, node);
		node->layer = layer;
	}
	touch(dir, layer);
	node->layer = layer;
	return node;
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static void prune_children(Node *dir, size_t layer)
{
	Node *next;

	for (Node *child = dir->children; child; child = next) {
		next = child->hh.next;
		tree_prune(child, layer);
	}
}

/* NOLINTNEXTLINE(misc-no-recursion) */
void tree_prune(Node *node, size_t layer)
{
	if (node->layer < layer)
		drop(node);
	else
		prune_children(node, layer);
}

void tree_hide(Node *dir, size_t layer)
{
	touch(dir, layer);
	prune_children(dir, layer);
}

/* NOLINTNEXTLINE(misc-no-recursion) */
void tree_sort(Node *root)
{
	sort(root);
	for (Node *child = root->children; child; child = child->hh.next)
		tree_sort(child);
}
