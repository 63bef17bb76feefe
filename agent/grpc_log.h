/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What gRPC core has to say, on standard error: errors only, and only so many
 * a second, because a hostile client can make it say something with each frame.
 */

void grpc_log_install(void);
