/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/handlers.h"
#include "agent/request.h"

/* GetVmMetrics. */

static void get_vm_metrics(Call *call, Runtime *runtime,
			   const Hearth__V1__GetVmMetricsRequest *request)
{
	Error err = { 0 };

	(void)runtime;
	(void)error_set(&err, ERROR_UNSUPPORTED, "metrics");
	(void)request_fail(call, request->vm_id, &err);
}

DEFINE_HANDLER(VmService, get_vm_metrics, GetVmMetrics, VmMetrics);
