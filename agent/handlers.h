/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How handlers meet protobuf-c, and VmService's that have a file of their own;
 * vm_service.c puts all into its table.
 */

#include "agent/agent.h"

/* clang-format off */
/*
 * Defines handle_<name>() for a service's table: name(call, runtime, request) once there is a
 * runtime; until then the call fails.
 */
#define DEFINE_HANDLER(Service, name, Name, Output)                                                   \
	void handle_##name(Hearth__V1__##Service##_Service *service,                                  \
			   const Hearth__V1__##Name##Request *request,                                \
			   Hearth__V1__##Output##_Closure closure, void *data)                        \
	{                                                                                             \
		Call *call = data;                                                                    \
		Runtime *runtime = agent_runtime(call);                                               \
                                                                                                      \
		(void)service;                                                                        \
		(void)closure;                                                                        \
		if (runtime)                                                                          \
			name(call, runtime, request);                                                 \
	}                                                                                             \
	struct cleanup_semicolon

#define DECLARE_VM_HANDLER(name, Name, Output)                                                        \
	void handle_##name(Hearth__V1__VmService_Service *service,                                    \
			   const Hearth__V1__##Name##Request *request,                                \
			   Hearth__V1__##Output##_Closure closure, void *data)

/* CreateVm's for server_inspect(). */
void inspect_create(Call *call, const ProtobufCMessage *message, Error *err);

DECLARE_VM_HANDLER(list_vms, ListVms, ListVmsResponse);
DECLARE_VM_HANDLER(list_vm_events, ListVmEvents, ListVmEventsResponse);
DECLARE_VM_HANDLER(watch_vms, WatchVms, WatchVmsResponse);
DECLARE_VM_HANDLER(wait_vm, WaitVm, Vm);
/* Answers @call with @record's VM once it is Ready, or with why that will not be. */
void reply_when_ready(Call *call, Runtime *runtime, const VmRecord *record);
DECLARE_VM_HANDLER(read_console, ReadConsole, ReadConsoleResponse);
DECLARE_VM_HANDLER(diagnose_vm, DiagnoseVm, DiagnoseVmResponse);
DECLARE_VM_HANDLER(get_vm_metrics, GetVmMetrics, VmMetrics);

/* NodeService's, for node_service.c. */
void handle_drain(Hearth__V1__NodeService_Service *service, const Hearth__V1__DrainRequest *request,
		  Hearth__V1__DrainResponse_Closure closure, void *data);

/* GuestService's, for guest_service.c. */
void handle_run(Hearth__V1__GuestService_Service *service, const Hearth__V1__RunRequest *request,
		Hearth__V1__RunResponse_Closure closure, void *data);
void handle_exec(Hearth__V1__GuestService_Service *service, const Hearth__V1__ExecRequest *request,
		 Hearth__V1__ExecResponse_Closure closure, void *data);

/* SnapshotService's, for snapshot_service.c. */
void handle_watch_snapshots(Hearth__V1__SnapshotService_Service *service,
			    const Hearth__V1__WatchSnapshotsRequest *request,
			    Hearth__V1__WatchSnapshotsResponse_Closure closure, void *data);

/* EgressService's, for egress_service.c. */
void handle_watch_egress(Hearth__V1__EgressService_Service *service,
			 const Hearth__V1__WatchEgressRequest *request,
			 Hearth__V1__WatchEgressResponse_Closure closure, void *data);
/* clang-format on */
