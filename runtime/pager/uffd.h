/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is done with a userfaultfd (ioctl_userfaultfd(2)), as functions.
 *
 * Those that fill memory wake whoever waits for what they have filled, and
 * return how many bytes that is, which may be fewer than asked for; or, if
 * none, -errno:
 *	EEXIST	the first page is there
 *	ENOENT	it is not, or not all is, this descriptor's any more
 *	EAGAIN	the layout is changing: nothing can be filled until a REMOVE is read
 *	ESRCH	the process has ended
 *	EFAULT	the source cannot be read
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

ssize_t uffd_copy(int uffd, uint64_t to, const void *from, uint64_t size);
ssize_t uffd_zero(int uffd, uint64_t to, uint64_t size);
/* Whoever waits for these pages looks at them again. */
void uffd_wake(int uffd, uint64_t at, uint64_t size);

/* These pages are the process's own business from now on: 0 or -errno. */
int uffd_unregister(int uffd, uint64_t at, uint64_t size) must_check;

/* 0 or -errno. A property of what all copies of the descriptor share. */
int uffd_set_blocking(int uffd, bool blocking) must_check;

/* Is @pid's descriptor @fd one? @pid 0: this process's. */
bool uffd_is_one(pid_t pid, int fd);

/**
 * uffd_take_over() - a copy of the only userfaultfd that a process has
 * @pidfd:	of @pid
 *
 * Return: 0; -ENOENT: it has none; -ENOTUNIQ: several; -errno.
 */
int uffd_take_over(int *ret, pid_t pid, int pidfd) must_check;
