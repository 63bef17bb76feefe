/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An option that tells several things at once, "id=data,path=/srv/data.img,ro":
 * each part sets a field of one message, as rows of a table say. A value has no
 * comma; the last of several parts of one name counts.
 */

#include "agent/ctl/options.h"

typedef enum PartType {
	PART_TEXT,
	PART_TRUE, /* takes no value */
	PART_FALSE,
	PART_NUMBER, /* of 32 bits */
	PART_ENUM,
	PART_BANDWIDTH, /* a bucket of a rate limiter, which is made when there is none */
	PART_OPS,
} PartType;

/* A table is ended by one without a name. */
typedef struct Part {
	const char *name;
	PartType type;
	size_t offset;                        /* of the field in the message */
	const ProtobufCEnumDescriptor *names; /* PART_ENUM */
} Part;

/**
 * parts_parse() - put what @text says into @message
 * @message:	of the type that @parts are of; owned throughout, as json_to_message() makes it
 * @problem:	on failure, what is wrong, for the user
 *
 * Return: 0 or -1.
 */
int parts_parse(void *message, const Part *parts, const char *text,
		char problem[static OPTION_PROBLEM_MAX]) must_check;
