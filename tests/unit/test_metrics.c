/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/rpcs.h"
#include "agent/metrics/text.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static char *text_of(MetricsText *text)
{
	char *copy = text_printf("%.*s", (int)text->length, text->bytes);

	free(text->bytes);
	*text = (MetricsText){ .bytes = NULL };
	return copy;
}

Test(metrics, a_family_is_its_head_and_its_samples)
{
	cleanup_free char *got = NULL;
	MetricsText text = { .bytes = NULL };

	metrics_head(&text, "a_total", "counter", "What it is.");
	metrics_number(&text, "a_total", METRICS_NO_LABELS, UINT64_MAX);
	metrics_number(&text, "a_total", METRICS_LABELS("of", "x", "and", "q\"\\\n."), 0);
	metrics_seconds(&text, "a_seconds", METRICS_NO_LABELS, 1500000);
	metrics_seconds(&text, "a_seconds", METRICS_NO_LABELS, 1);
	metrics_seconds(&text, "a_seconds", METRICS_NO_LABELS, 100000000);
	got = text_of(&text);

	cr_assert_str_eq(got, "# HELP a_total What it is.\n"
			      "# TYPE a_total counter\n"
			      "a_total 18446744073709551615\n"
			      "a_total{of=\"x\",and=\"q\\\"\\\\\\n.\"} 0\n"
			      "a_seconds 1.5\n"
			      "a_seconds 0.000001\n"
			      "a_seconds 100\n");
}

Test(metrics, a_histogram_adds_up)
{
	static const int64_t usec[] = { -5, 0, 100, 101, 1000000, 100000000, 100000001 };
	cleanup_free char *got = NULL;
	MetricsText text = { .bytes = NULL };
	Histogram histogram = { .usec = 0 };

	for (size_t i = 0; i < array_size(usec); i++)
		histogram_add(&histogram, usec[i]);
	metrics_histogram(&text, "h", METRICS_LABELS("of", "x"), &histogram);
	got = text_of(&text);

	cr_expect(strstr(got, "h_bucket{of=\"x\",le=\"0.0001\"} 3\n"), "%s", got);
	cr_expect(strstr(got, "h_bucket{of=\"x\",le=\"0.00025\"} 4\n"), "%s", got);
	cr_expect(strstr(got, "h_bucket{of=\"x\",le=\"1\"} 5\n"), "%s", got);
	cr_expect(strstr(got, "h_bucket{of=\"x\",le=\"100\"} 6\n"), "%s", got);
	cr_expect(strstr(got, "h_bucket{of=\"x\",le=\"+Inf\"} 7\n"), "%s", got);
	cr_expect(strstr(got, "h_sum{of=\"x\"} 201.000202\n"), "%s", got);
	cr_expect(strstr(got, "h_count{of=\"x\"} 7\n"), "%s", got);
}

Test(metrics, bounds_ascend)
{
	for (size_t i = 1; i < HISTOGRAM_BOUNDS; i++)
		cr_expect_gt(histogram_bounds[i], histogram_bounds[i - 1]);
}

Test(metrics, calls_are_counted_by_method_and_code_and_unknown_ones_together)
{
	static const char get[] = "/hearth.v1.VmService/GetVm";
	const ServerFinished rows[] = {
		{ .method = get, .is_known = true, .type = "unary", .grpc_code = 0 },
		{ .method = get, .is_known = true, .type = "unary", .grpc_code = 5 },
		{ .method = get, .is_known = true, .type = "unary", .grpc_code = 5 },
		{ .method = "/made/up", .type = "unary", .grpc_code = 12 },
		{ .method = "nonsense", .type = "unary", .grpc_code = 12 },
	};
	cleanup_free char *got = NULL;
	MetricsText text = { .bytes = NULL };

	for (size_t i = 0; i < array_size(rows); i++)
		rpcs_note(&rows[i]);
	rpcs_write(&text);
	got = text_of(&text);

#define OF(service, method, code)                                               \
	"grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"" service \
	"\",grpc_method=\"" method "\",grpc_code=\"" code "\"} "
	cr_expect(strstr(got, OF("hearth.v1.VmService", "GetVm", "OK") "1\n"), "%s", got);
	cr_expect(strstr(got, OF("hearth.v1.VmService", "GetVm", "NOT_FOUND") "2\n"), "%s", got);
	cr_expect(strstr(got, OF("unknown", "unknown", "UNIMPLEMENTED") "2\n"), "%s", got);
	cr_expect_null(strstr(got, "made"));
}
