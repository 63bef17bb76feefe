/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The service manager's watchdog (notify.h): it ends a hearthd that hangs. VMs go on, and the next
 * one finds them.
 */

#include "agent/server.h"
#include "base/loop.h"

/* From the main thread, about every second: tells the manager, as often as it wants to know, if
 * @loop and a poller of @server are at work as well. Waits some seconds for one that is not. */
void alive_tell(Loop *loop, Server *server);
