/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Other processes: starting them, telling one from its successor, ending them.
 *
 * A pid alone proves nothing, since the kernel reuses it: a process is known
 * by pid and start time, and signalled through a pidfd opened before the
 * start time was compared. All return -errno on failure.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One process for good. */
typedef struct ProcessId {
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot: /proc/PID/stat field 22, proc(5) */
} ProcessId;

/* Fills @ret->start_time as well; -ESRCH if there is no such process. */
int process_identify(ProcessId *ret, pid_t pid) must_check;

/**
 * process_open() - a pidfd of exactly @id
 * @ret:	close-on-exec, the caller's to close; readable once the process has ended
 *
 * Return: 0; -ESRCH if it is gone or its pid now belongs to another.
 */
int process_open(int *ret, const ProcessId *id) must_check;

/* Sends @signal; -ESRCH if it has ended. */
int process_signal(int pidfd, int signal) must_check;

/* Waits until @pidfd's process has ended or @deadline (monotonic usec); -ETIMEDOUT. */
int process_wait(int pidfd, int64_t deadline) must_check;

typedef struct ProcessResult {
	int code;     /* exit status; -1 if a signal ended it */
	int signal;   /* that signal, or 0 */
	char *output; /* standard output and error, NUL-terminated; to free */
} ProcessResult;

/* The program called @name in the directory of @path; to free. */
char *process_beside(const char *path, const char *name);

/* The program that @name is by PATH, or by being a path; to free. NULL: none. */
char *process_find(const char *name);

/**
 * process_run() - run a program to its end and collect what it says
 * @argv:	argv[0] is looked up on PATH; NULL-terminated
 * @timeout:	usec; past it the program is killed and -ETIMEDOUT returned
 *
 * Standard input is /dev/null; of the output 64 KiB are kept; no other
 * descriptor is inherited; signals have their default actions, none blocked;
 * the program is in a session of its own.
 */
int process_run(ProcessResult *ret, char *const argv[], int64_t timeout) must_check;

/* As process_run(), but given up with -ECANCELED, and the program killed, once @cancel_fd is
 * readable; -1: never. */
int process_run_until(ProcessResult *ret, char *const argv[], int cancel_fd, int64_t timeout)
	must_check;

typedef struct ProcessOptions {
	const char *input;    /* standard input; NULL: /dev/null */
	size_t output_max;    /* what is kept of the output */
	int64_t timeout;      /* usec */
	const int *inherited; /* they become its descriptors 3, 4 and so on */
	size_t inherited_count;
	bool kill_group;           /* if it is killed, its process group is */
	bool (*go_on)(void *user); /* asked every 0.1 s; false: as if cancelled. May be NULL */
	void *user;
} ProcessOptions;

/* As process_run(), with more to say about it. */
int process_run_options(ProcessResult *ret, char *const argv[], const ProcessOptions *options)
	must_check;

/* As process_run(), with a text as standard input and a limit of what is kept of the output. */
int process_run_with(ProcessResult *ret, char *const argv[], const char *input, size_t output_max,
		     int64_t timeout) must_check;

/* This boot of the host: /proc/sys/kernel/random/boot_id, 36 characters and a NUL. */
int process_boot_id(char ret[static 37]) must_check;
