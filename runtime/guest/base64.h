/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Base64 of RFC 4648, padded: the only way bytes go over the wire.
 */

#include "base/cleanup.h"

#include <stddef.h>

#define GUEST_BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

/* Writes GUEST_BASE64_LENGTH(@length) bytes and no zero byte. Return: behind the last. */
char *guest_base64_write(char *to, const void *bytes, size_t length);

/**
 * guest_base64_read() - put into @text's place the bytes it stands for
 * @ret:	how many
 * Return:	0, or -EBADMSG, with some of the text changed
 */
int guest_base64_read(char *text, size_t length, size_t *ret) must_check;
