/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Scope-bound release of resources, and the attributes every module uses.
 *
 * A variable marked cleanup_(f) is released by f when its scope ends, on
 * every path, in reverse order of declaration. Initialise it where you
 * declare it. Hand the resource on with take_ptr() or take_fd(), which leave
 * the variable empty so that there is nothing left to release.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup_(f) __attribute__((__cleanup__(f)))
#define must_check __attribute__((__warn_unused_result__))
#define printf_like(f, a) __attribute__((__format__(__printf__, f, a)))

/* Defines <func>p(), which releases a non-NULL pointer through func(). */
/* NOLINTBEGIN(bugprone-macro-parentheses): "type *p" declares */
#define DEFINE_CLEANUP(type, func)          \
	static inline void func##p(type *p) \
	{                                   \
		if (*p)                     \
			func(*p);           \
	}                                   \
	struct cleanup_semicolon
/* NOLINTEND(bugprone-macro-parentheses) */

/* Empties @p and evaluates to what it held. */
#define take_ptr(p)                         \
	__extension__({                     \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#define take_fd(fd)                \
	__extension__({            \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define array_size(a) (sizeof(a) / sizeof((a)[0]))

/* The structure of @type whose @member is at @ptr. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Zeroed memory; running out of it ends the agent, its VMs live on. */
#define new0(type) ((type *)must_calloc(1, sizeof(type)))
#define new0_array(type, n) ((type *)must_calloc((n), sizeof(type)))

static inline void *must_calloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

static inline void *must_realloc(void *old, size_t n, size_t size)
{
	void *p = reallocarray(old, n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

static inline void closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static inline void fclosep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

#define cleanup_free cleanup_(freep)
#define cleanup_close cleanup_(closep)
#define cleanup_closedir cleanup_(closedirp)
#define cleanup_fclose cleanup_(fclosep)
