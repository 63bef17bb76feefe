/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a name has led. A plain value; its owner says whose memory it is. */

#include "netfw/prefix.h"

typedef struct NameLead {
	const char *name;        /* in lower case, without a dot at its end */
	const Prefix *addresses; /* of full length */
	size_t count;
	uint32_t ttl; /* seconds for which flows may begin */
} NameLead;
