/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Telling ThreadSanitizer that the completion queue orders what happens before
 * an operation is handed to gRPC core and what happens after its event: the
 * library is not instrumented, so the sanitizer cannot see it.
 */

#if defined(__SANITIZE_THREAD__)
#define TSAN_ON 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN_ON 1
#endif
#endif

#ifdef TSAN_ON
#include <sanitizer/tsan_interface.h>
#define tsan_release(tag) __tsan_release(tag)
#define tsan_acquire(tag) __tsan_acquire(tag)
#else
#define tsan_release(tag) ((void)(tag))
#define tsan_acquire(tag) ((void)(tag))
#endif
