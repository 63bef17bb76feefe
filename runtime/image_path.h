/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which files of the host a spec may name. Safe from any thread. */

#include "base/cleanup.h"

/**
 * image_path_resolve() - the file that @path leads to
 * @ret:	absolute, without symbolic links; to free
 * @dirs:	"DIR:DIR...", absolute: it must lie in one of these, or below; NULL or empty:
 * anywhere
 *
 * Return: 0; -EPERM when it lies elsewhere; -errno when it cannot be resolved.
 */
int image_path_resolve(char **ret, const char *path, const char *dirs) must_check;

/* What such a failure is in words. */
const char *image_path_problem(int r);
