/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The algorithm of Firecracker's own example (examples/uffd/on_demand_handler.rs, v1.17.0-dev): the
 * file is mapped with MAP_POPULATE after the VMM has connected; poll(), messages one by one until
 * there are none, each page by itself. Without what it does for REMOVE. */

#include <sys/types.h>

/* A process that listens at @socket and serves from @memory; it is there when this returns. */
pid_t example_start(const char *socket, const char *memory);
