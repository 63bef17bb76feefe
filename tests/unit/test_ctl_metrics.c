/* SPDX-License-Identifier: Apache-2.0 */

/* How hearthctl shows a VM's metrics. */

#include "agent/ctl/json.h"
#include "agent/ctl/vm_view.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

static const char told[] =
	"{\"vmId\":\"web-1\",\"uid\":\"u\",\"flushes\":\"3\",\"metrics\":["
	"{\"name\":\"net.tx\",\"value\":\"5\",\"kind\":\"METRIC_KIND_COUNTER\"},"
	"{\"name\":\"vcpu.io\",\"value\":\"7\",\"kind\":\"METRIC_KIND_COUNTER\"},"
	"{\"name\":\"vcpu.max_us\",\"value\":\"18446744073709551615\","
	"\"kind\":\"METRIC_KIND_GAUGE\"}],"
	"\"usage\":{\"cpuUsec\":\"12\",\"pids\":\"4\"}";

/* As an agent answers, with @more members. */
static Hearth__V1__VmMetrics *metrics_of(const char *more)
{
	cleanup_free char *text = text_printf("%s%s}", told, more);
	cleanup_(json_freep) json_t *json = json_loads(text, 0, NULL);
	ProtobufCMessage *message = NULL;
	Error err = { 0 };

	cr_assert_not_null(json);
	cr_assert_eq(json_to_message(&message, &hearth__v1__vm_metrics__descriptor, json, &err), 0,
		     "%s", err.what);
	return (Hearth__V1__VmMetrics *)(void *)message;
}

/* What is printed of the answer with @more; the caller's to free. */
static char *print(OutputFormat format, const char *more, const char *prefix)
{
	const Ctl ctl = { .format = format };
	cleanup_(message_freep) Hearth__V1__VmMetrics *metrics = metrics_of(more);
	char *text = new0_array(char, 4096);

	metrics_print(&ctl, metrics, prefix);
	(void)fflush(stdout);
	(void)fread(text, 1, 4095, cr_get_redirected_stdout());
	return text;
}

Test(ctl_metrics, a_table_has_all_of_them_and_what_is_used, .init = cr_redirect_stdout)
{
	cleanup_free char *text = print(OUTPUT_TABLE, "", NULL);

	cr_assert_str_eq(text, "NAME                       KIND      VALUE\n"
			       "net.tx                     counter   5\n"
			       "vcpu.io                    counter   7\n"
			       "vcpu.max_us                gauge     18446744073709551615\n"
			       "usage.cpu_usec             -         12\n"
			       "usage.cpu_throttled_usec   -         0\n"
			       "usage.memory_bytes         -         0\n"
			       "usage.memory_peak_bytes    -         0\n"
			       "usage.pids                 -         4\n");
}

Test(ctl_metrics, a_balloons_are_in_the_table_where_there_is_one, .init = cr_redirect_stdout)
{
	cleanup_free char *text = print(
		OUTPUT_TABLE, ",\"balloon\":{\"targetMib\":\"8\",\"oomKills\":\"2\"}", "balloon.");

	cr_assert_not_null(strstr(text, "\nballoon.target_mib            -      8\n"), "%s", text);
	cr_assert_not_null(strstr(text, "\nballoon.oom_kills             -      2\n"), "%s", text);
	cr_assert_null(strstr(text, "net.tx"), "%s", text);
	cr_assert_null(strstr(text, "usage."), "%s", text);
}

Test(ctl_metrics, names_are_those_that_begin_with_the_prefix, .init = cr_redirect_stdout)
{
	cleanup_free char *text = print(OUTPUT_NAME, "", "vcpu.");

	cr_assert_str_eq(text, "vcpu.io\nvcpu.max_us\n");
}

Test(ctl_metrics, a_prefix_of_none_leaves_none, .init = cr_redirect_stdout)
{
	cleanup_free char *text = print(OUTPUT_NAME, "", "vcpu.x");

	cr_assert_str_eq(text, "");
}

Test(ctl_metrics, json_is_the_answer_with_what_was_asked_for, .init = cr_redirect_stdout)
{
	cleanup_free char *text = print(OUTPUT_JSON, "", "net.");

	cr_assert_str_eq(text, "{\n"
			       "  \"vmId\": \"web-1\",\n"
			       "  \"uid\": \"u\",\n"
			       "  \"flushes\": \"3\",\n"
			       "  \"metrics\": [\n"
			       "    {\n"
			       "      \"name\": \"net.tx\",\n"
			       "      \"value\": \"5\",\n"
			       "      \"kind\": \"METRIC_KIND_COUNTER\"\n"
			       "    }\n"
			       "  ],\n"
			       "  \"usage\": {\n"
			       "    \"cpuUsec\": \"12\",\n"
			       "    \"pids\": \"4\"\n"
			       "  }\n"
			       "}\n");
}
