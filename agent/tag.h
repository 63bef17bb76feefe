/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What goes through the completion queue: embedded in what the event is about. */

#include "agent/tsan.h"

#include <stdbool.h>

typedef struct Tag Tag;

struct Tag {
	void (*done)(Tag *tag, bool ok); /* on a poller */
};
