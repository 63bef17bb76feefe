/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/egress.h"
#include "runtime/vm.h"

#include <string.h>

/* What is asked about egress. It claims nothing: the VM may end, or be destroyed, meanwhile. */

void egress_state_clear(EgressState *state)
{
	record_unref(take_ptr(state->record));
	network_leads_free(take_ptr(state->leads), state->lead_count);
}

/* The network that @record's VM is attached to at this moment; NULL: to none. */
static Network *attached_to(Runtime *runtime, const VmRecord *record)
{
	const VmResolved *resolved = record->status.resolved;
	const VmResolvedInterface *interface = network_interface(resolved);
	const Backend *backend = runtime->backends[resolved->backend];

	return backend && interface && interface->enforcement ? backend->network : NULL;
}

int runtime_get_egress(Runtime *runtime, const char *vm_id, const char *expected_uid,
		       EgressState *ret, Error *err)
{
	Network *network;

	if (runtime_get_vm(runtime, vm_id, expected_uid, &ret->record, err) < 0)
		return -1;
	network = attached_to(runtime, ret->record);
	if (network && network->ops->leads)
		ret->lead_count =
			network->ops->leads(network, ret->record->status.resolved, &ret->leads);
	if (!network || !network->ops->counters)
		return 0;
	ret->has_counters = true;
	return network->ops->counters(network, ret->record->status.resolved, &ret->counters, err);
}

static int explain_by_policy(const NetworkConfig *config, const VmRecord *record,
			     const NetworkProbe *probe, EgressExplanation *ret, Error *err)
{
	const EgressTarget target = { probe->address, probe->protocol, probe->port };
	cleanup_(egress_unrefp) Egress *egress = NULL;

	if (egress_read(&egress, record->spec->egress, "spec.egress", err) < 0)
		return -1; /* it was good when it was recorded */
	ret->rule = probe->to_vm ? -1
				 : egress_policy_find(egress_policy(egress), config->denied,
						      config->denied_count, &target);
	ret->verdict = probe->to_vm    ? FILTER_DROP_UNSOLICITED
		       : ret->rule < 0 ? FILTER_DROP_POLICY
				       : FILTER_PASS_POLICY;
	return 0;
}

/* The first rule that allows @probe by a name that has led there, or -1. */
static int find_lead(Network *network, const VmRecord *record, const NetworkProbe *probe)
{
	const EgressTarget target = { probe->address, probe->protocol, probe->port };
	cleanup_(egress_unrefp) Egress *egress = NULL;
	NetworkLead *leads = NULL;
	Error ignored = { 0 };
	size_t count;
	int first = -1;

	if (!network->ops->leads ||
	    egress_read(&egress, record->spec->egress, "spec.egress", &ignored) < 0)
		return -1;
	count = network->ops->leads(network, record->status.resolved, &leads);
	for (size_t i = 0; i < count; i++) {
		int rule = -1;

		if (prefix_compare(&leads[i].address, &probe->address) == 0)
			rule = egress_policy_find_name(egress_policy(egress), leads[i].name,
						       &target);
		if (rule >= 0 && (first < 0 || rule < first))
			first = rule;
	}
	network_leads_free(leads, count);
	return first;
}

int runtime_explain_egress(Runtime *runtime, const char *vm_id, const char *expected_uid,
			   const NetworkProbe *probe, EgressExplanation *ret, Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	Network *network;

	*ret = (EgressExplanation){ .rule = -1 };
	if (runtime_get_vm(runtime, vm_id, expected_uid, &record, err) < 0 ||
	    explain_by_policy(&runtime->config.network, record, probe, ret, err) < 0)
		return -1;
	network = attached_to(runtime, record);
	if (!network || !network->ops->explain)
		return 0;
	ret->enforced = true;
	if (network->ops->explain(network, record->status.resolved, probe, &ret->verdict, err) < 0)
		return -1;
	if (ret->verdict >= FILTER_FIRST_DROP)
		ret->rule = -1;
	else if (ret->rule < 0 && !probe->to_vm)
		ret->rule = find_lead(network, record, probe);
	return 0;
}

EgressHub *runtime_egress_hub(Runtime *runtime)
{
	return runtime->egress_hub;
}

/* A reference to the VM of @slot, or NULL: there may be none any more. */
static Vm *find_slot(Runtime *runtime, uint32_t slot)
{
	Vm *found = NULL;

	lock_take(&runtime->table_lock);
	for (Vm *vm = runtime->table; vm && !found; vm = vm->hh.next)
		if (atomic_load_explicit(&vm->network_slot, memory_order_relaxed) == slot)
			found = vm_ref(vm);
	lock_drop(&runtime->table_lock);
	return found;
}

void runtime_take_event(void *user, const NetworkEvent *packet)
{
	Runtime *runtime = user;
	cleanup_(vm_unrefp) Vm *vm = NULL;
	cleanup_(record_unrefp) VmRecord *record = NULL;
	EgressEvent event = { .packet = *packet };

	if (!packet->slot || !egress_hub_is_watched(runtime->egress_hub))
		return;
	vm = find_slot(runtime, packet->slot);
	if (vm)
		record = vm_published(vm);
	if (!record)
		return;
	text_copy(event.vm_id, sizeof event.vm_id, vm->id);
	text_copy(event.uid, sizeof event.uid, vm->uid);
	text_copy(event.tenant, sizeof event.tenant, record->tenant);
	egress_hub_publish(runtime->egress_hub, &event);
}
