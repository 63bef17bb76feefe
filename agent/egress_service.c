/* SPDX-License-Identifier: Apache-2.0 */

/*
 * EgressService, but for WatchEgress. What asks the filter does so on a thread
 * that may block; SetEgressPolicy is UpdateVm of one field.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/vm_job.h"
#include "agent/wire.h"
#include "agent/wire_egress.h"
#include "runtime/egress.h"

enum {
	PORT_MAX = 65535,
};

/* @state may be NULL: nothing but the record is known. */
static void reply_egress(Call *call, const VmRecord *record, const EgressState *state)
{
	const VmResolvedInterface *interface = network_interface(record->status.resolved);
	cleanup_(arena_clear) Arena arena;
	Hearth__V1__VmEgress answer;

	arena_init(&arena, SIZE_MAX);
	hearth__v1__vm_egress__init(&answer);
	answer.vm_id = record->vm_id;
	answer.uid = record->uid;
	answer.policy = wire_egress(&arena, record->spec->egress);
	answer.generation = record->generation;
	answer.revision = record->revision;
	if (interface)
		answer.enforcement = (Hearth__V1__Enforcement)interface->enforcement;
	if (state) {
		answer.traffic = wire_traffic(&arena, state, &answer.n_traffic);
		answer.names = wire_leads(&arena, state, &answer.n_names);
	}
	call_reply(call, &answer.base);
}

static void work_get(void *user)
{
	cleanup_(vm_job_freep) VmJob *job = user;
	cleanup_(egress_state_clear) EgressState state = { .record = NULL };
	Error err = { 0 };

	if (runtime_get_egress(job->runtime, job->vm_id, job->expected_uid, &state, &err) < 0)
		vm_job_fail(job, &err);
	else
		reply_egress(job->call, state.record, &state);
}

static void get_egress_policy(Call *call, Runtime *runtime,
			      const Hearth__V1__GetEgressPolicyRequest *request)
{
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	if (!request_fail(call, request->vm_id, &err))
		vm_job_run(vm_job_new(call, runtime, request->vm_id, request->expected_uid),
			   work_get);
}

/* The runtime's answer to whoever still listens. */
static void reply_set(void *user, const VmRecord *record, const Error *err)
{
	Call *call = user;

	if (record)
		reply_egress(call, record, NULL);
	else
		call_fail(call, err);
	call_unref(call);
}

static void set_egress_policy(Call *call, Runtime *runtime,
			      const Hearth__V1__SetEgressPolicyRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	cleanup_(spec_unrefp) VmSpec *update = spec_new();
	Error err = { 0 };

	update->egress = wire_take_egress(request->policy, "policy", &err);
	if (update->egress)
		fields_check(&vm_egress_policy_table, update->egress, "policy", &err);
	egress_check(update->egress, "policy", &err);
	request_check_vm_id(request->vm_id, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	vm_call.update = update;
	vm_call.update_mask = RUNTIME_UPDATE_EGRESS;
	vm_call.principal = call_principal(call);
	runtime_run_vm(runtime, VM_OP_UPDATE, &vm_call, reply_set, call_ref(call));
}

static void work_explain(void *user)
{
	cleanup_(vm_job_freep) VmJob *job = user;
	Hearth__V1__ExplainEgressResponse answer;
	EgressExplanation said;
	Error err = { 0 };

	if (runtime_explain_egress(job->runtime, job->vm_id, job->expected_uid, &job->probe, &said,
				   &err) < 0) {
		vm_job_fail(job, &err);
		return;
	}
	hearth__v1__explain_egress_response__init(&answer);
	answer.allowed = said.verdict < FILTER_FIRST_DROP;
	answer.verdict = message_text(network_verdict_name(said.verdict));
	answer.description = message_text(network_verdict_words(said.verdict));
	answer.has_rule = said.rule >= 0;
	answer.rule_index = said.rule >= 0 ? (uint32_t)said.rule : 0;
	answer.enforced = said.enforced;
	call_reply(job->call, &answer.base);
}

static void read_probe(NetworkProbe *probe, const Hearth__V1__ExplainEgressRequest *request,
		       Error *err)
{
	bool portless = request->protocol == HEARTH__V1__PROTOCOL__PROTOCOL_ICMP;

	probe->to_vm = request->direction == HEARTH__V1__DIRECTION__DIRECTION_TO_VM;
	probe->protocol = egress_protocol((VmProtocol)request->protocol);
	probe->port = (uint16_t)request->port;
	if (!*request->address)
		(void)error_add_violation(err, "address", "required");
	else if (network_parse_address(&probe->address, request->address) < 0)
		(void)error_add_violation(err, "address", "is no IPv4 or IPv6 address");
	else if (portless && probe->address.family == 6)
		probe->protocol = EGRESS_ICMPV6;
	if (portless && request->port)
		(void)error_add_violation(err, "port", "not with ICMP, which has none");
	else if (!portless && (request->port < 1 || request->port > PORT_MAX))
		(void)error_add_violation(err, "port", "must be 1 to %d", PORT_MAX);
}

static void explain_egress(Call *call, Runtime *runtime,
			   const Hearth__V1__ExplainEgressRequest *request)
{
	NetworkProbe probe = { .to_vm = false };
	VmJob *job;
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	read_probe(&probe, request, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	job = vm_job_new(call, runtime, request->vm_id, request->expected_uid);
	job->probe = probe;
	vm_job_run(job, work_explain);
}

static DEFINE_HANDLER(EgressService, get_egress_policy, GetEgressPolicy, VmEgress);
static DEFINE_HANDLER(EgressService, set_egress_policy, SetEgressPolicy, VmEgress);
static DEFINE_HANDLER(EgressService, explain_egress, ExplainEgress, ExplainEgressResponse);

Hearth__V1__EgressService_Service egress_service = HEARTH__V1__EGRESS_SERVICE__INIT(handle_);
