/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What tests/crash/wraps*.c tell points.c of. */

/*
 * A change has been made to a thing of @kind, which tests/crash/kinds.py has a check for, by @call.
 * @about: what was changed, a path or a name; its last component is part of the point's name.
 */
void crash_point(const char *kind, const char *call, const char *about);

/* This process passes no more points. */
void crash_points_end(void);

/* The wrapper of a call that answers a number, below 0 when it has failed; else @passed is carried
 * out. */
#define WRAP_CALL(type, name, parameters, arguments, passed) \
	type __real_##name parameters;                       \
	type __wrap_##name parameters;                       \
	type __wrap_##name parameters                        \
	{                                                    \
		type r = __real_##name arguments;            \
                                                             \
		if (r >= 0)                                  \
			passed;                              \
		return r;                                    \
	}

/* One that changes a thing of @kind. */
#define WRAP(kind, name, about, parameters, arguments) \
	WRAP_CALL(int, name, parameters, arguments, crash_point(kind, #name, about))
