/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the suites about updates of a running Firecracker have in common: two specs that differ in
 * all that can change. */

#include "base/text.h"
#include "runtime/firecracker_internal.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <string.h>

static const char old_text[] = "{\"drives\": [{\"drive_id\": \"a\", \"path\": \"/1\"},"
			       " {\"drive_id\": \"b\", \"path\": \"/2\"}],"
			       " \"network_interfaces\": [{\"interface_id\": \"e\"}],"
			       " \"devices\": {\"balloon\": {\"amount_mib\": 8, "
			       "\"stats_interval\": 1000000}, \"mmds\": {}}}";

static const char new_text[] =
	"{\"drives\": [{\"drive_id\": \"a\", \"path\": \"/3\"},"
	" {\"drive_id\": \"b\", \"path\": \"/4\"}],"
	" \"network_interfaces\": [{\"interface_id\": \"e\","
	" \"tx_rate_limiter\": {\"ops\": {\"size\": 1, \"refill_time_ms\": 2}}}],"
	" \"devices\": {\"balloon\": {\"amount_mib\": 9, \"stats_interval\": 2000000},"
	" \"mmds\": {\"content\": \"{\\\"a\\\": 1}\"}}}";
