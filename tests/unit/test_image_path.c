/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/image_path.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>

/* allowed/image, allowed/out -> ../image, image, in -> allowed/image, alias -> allowed */
typedef struct Tree {
	char dir[40];
} Tree;

static char *at(const Tree *tree, const char *name)
{
	return text_printf("%s/%s", tree->dir, name);
}

static void add_link(const Tree *tree, const char *to, const char *name)
{
	cleanup_free char *path = at(tree, name);

	cr_assert_eq(symlink(to, path), 0);
}

static Tree tree_new(void)
{
	Tree tree = { "/tmp/hearth-images-XXXXXX" };
	cleanup_free char *allowed = NULL, *inside = NULL, *outside = NULL;

	cr_assert_not_null(mkdtemp(tree.dir));
	allowed = at(&tree, "allowed");
	inside = at(&tree, "allowed/image");
	outside = at(&tree, "image");
	cr_assert_eq(mkdir(allowed, 0700), 0);
	cr_assert_eq(file_write_atomic(inside, "x", 1), 0);
	cr_assert_eq(file_write_atomic(outside, "x", 1), 0);
	add_link(&tree, "../image", "allowed/out");
	add_link(&tree, "allowed/image", "in");
	add_link(&tree, "allowed", "alias");
	return tree;
}

static void tree_remove(Tree *tree)
{
	cr_expect_eq(file_remove_tree(tree->dir), 0);
}

static void check(const Tree *tree, const char *name, const char *dirs, int expected)
{
	cleanup_free char *path = at(tree, name), *real = NULL;
	int r = image_path_resolve(&real, path, dirs);

	cr_assert_eq(r, expected, "%s in %s: %d", name, dirs, r);
	cr_assert_eq(real != NULL, r == 0);
}

Test(image_path, is_judged_by_where_its_links_lead)
{
	cleanup_(tree_remove) Tree tree = tree_new();
	cleanup_free char *allowed = at(&tree, "allowed"), *alias = at(&tree, "alias");
	cleanup_free char *many = text_printf("/nonexistent:%s", allowed);

	check(&tree, "allowed/image", allowed, 0);
	check(&tree, "in", allowed, 0);
	check(&tree, "alias/image", allowed, 0);
	check(&tree, "allowed/image", alias, 0);
	check(&tree, "allowed/image", many, 0);
	check(&tree, "allowed/out", allowed, -EPERM);
	check(&tree, "image", allowed, -EPERM);
}

Test(image_path, is_resolved_anywhere_where_all_is_allowed)
{
	cleanup_(tree_remove) Tree tree = tree_new();
	cleanup_free char *link = at(&tree, "alias/image"), *real = NULL;

	check(&tree, "image", NULL, 0);
	check(&tree, "image", "", 0);
	check(&tree, "image", "/", 0);
	cr_assert_eq(image_path_resolve(&real, link, NULL), 0);
	cr_assert_not_null(strstr(real, "/allowed/image"), "%s", real);
}

Test(image_path, a_neighbour_with_a_longer_name_is_not_within)
{
	cleanup_(tree_remove) Tree tree = tree_new();
	cleanup_free char *allowed = at(&tree, "allow");

	cr_assert_eq(mkdir(allowed, 0700), 0);

	check(&tree, "allowed/image", allowed, -EPERM);
}

Test(image_path, what_is_not_there_says_so)
{
	cleanup_(tree_remove) Tree tree = tree_new();

	check(&tree, "nothing", "/", -ENOENT);
	check(&tree, "image/below", "/", -ENOTDIR);
}
