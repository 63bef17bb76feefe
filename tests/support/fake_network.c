/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_network.h"

#include "base/lock.h"
#include "base/text.h"

#include <stdlib.h>

enum {
	PORTS_MAX = 128,
};

/* One VM that is attached. */
typedef struct Port {
	char instance_id[17]; /* empty: nobody */
	uint32_t slot;
	size_t rules;
} Port;

struct FakeNetwork {
	Network network;
	Lock lock;
	unsigned calls[FAKE_CALL_COUNT_]; /* under lock, as all below */
	unsigned failures[FAKE_CALL_COUNT_];
	Port ports[PORTS_MAX];
	int verdict;
	NetworkSink *sink;
	void *user;
};

static FakeNetwork *fake_of(Network *network)
{
	return container_of(network, FakeNetwork, network);
}

/* Notes a call: 0, or -1 if it is to fail. */
static int note(FakeNetwork *fake, FakeCall call, Error *err)
{
	bool fails;

	lock_take(&fake->lock);
	fake->calls[call]++;
	fails = fake->failures[call] > 0;
	if (fails)
		fake->failures[call]--;
	lock_drop(&fake->lock);
	return fails ? error_set(err, ERROR_FIREWALL, "told to fail") : 0;
}

/* The place of @instance_id, or a free one for ""; aborts if there is none. */
static Port *find(FakeNetwork *fake, const char *instance_id) lock_requires(fake->lock)
{
	for (size_t i = 0; i < PORTS_MAX; i++)
		if (text_equal(fake->ports[i].instance_id, instance_id))
			return &fake->ports[i];
	return NULL;
}

static size_t rules_of(const VmSpec *spec)
{
	return spec->egress ? spec->egress->rules.count : 0;
}

static int attach(Network *network, Job *job, Error *err)
{
	FakeNetwork *fake = fake_of(network);
	Port *port;

	if (note(fake, FAKE_ATTACH, err) < 0)
		return -1;
	network_interface(job->resolved)->enforcement = VM_ENFORCEMENT_BPF;
	lock_take(&fake->lock);
	port = find(fake, job->resolved->instance_id);
	if (!port)
		port = find(fake, "");
	if (!port)
		abort();
	text_copy(port->instance_id, sizeof port->instance_id, job->resolved->instance_id);
	port->slot = job->resolved->network_slot;
	port->rules = rules_of(job->spec);
	lock_drop(&fake->lock);
	return 0;
}

static int detach(Network *network, const char *instance_id, Error *err)
{
	FakeNetwork *fake = fake_of(network);
	Port *port;

	if (note(fake, FAKE_DETACH, err) < 0)
		return -1;
	lock_take(&fake->lock);
	port = find(fake, instance_id);
	if (port)
		*port = (Port){ .slot = 0 };
	lock_drop(&fake->lock);
	return 0;
}

static int set_policy(Network *network, const VmResolved *resolved, const VmSpec *to, Error *err)
{
	FakeNetwork *fake = fake_of(network);
	Port *port;

	if (note(fake, FAKE_SET_POLICY, err) < 0)
		return -1;
	lock_take(&fake->lock);
	port = find(fake, resolved->instance_id);
	if (port)
		port->rules = rules_of(to);
	lock_drop(&fake->lock);
	return port ? 0
		    : error_set(err, ERROR_FIREWALL, "%s is not attached", resolved->instance_id);
}

static int explain(Network *network, const VmResolved *resolved, const NetworkProbe *probe,
		   int *ret, Error *err)
{
	FakeNetwork *fake = fake_of(network);

	(void)resolved;
	(void)probe;
	if (note(fake, FAKE_EXPLAIN, err) < 0)
		return -1;
	lock_take(&fake->lock);
	*ret = fake->verdict;
	lock_drop(&fake->lock);
	return 0;
}

static int counters(Network *network, const VmResolved *resolved, NetworkCounters *ret, Error *err)
{
	if (note(fake_of(network), FAKE_COUNTERS, err) < 0)
		return -1;
	ret->from_vm.packets[FILTER_PASS_FLOW] = 100 + resolved->network_slot;
	ret->from_vm.packets[FILTER_DROP_POLICY] = 7;
	ret->from_vm.passed_bytes = 4000;
	ret->from_vm.dropped_bytes = 420;
	ret->to_vm.packets[FILTER_PASS_REPLY] = 90;
	ret->to_vm.passed_bytes = 9000;
	return 0;
}

static void watch(Network *network, NetworkSink *sink, void *user)
{
	FakeNetwork *fake = fake_of(network);

	lock_take(&fake->lock);
	fake->sink = sink;
	fake->user = user;
	lock_drop(&fake->lock);
}

static void release(Network *network)
{
	free(fake_of(network));
}

FakeNetwork *fake_network_new(bool leases)
{
	static const NetworkOps leasing = {
		.leases = true,
		.attach = attach,
		.detach = detach,
		.set_policy = set_policy,
		.explain = explain,
		.counters = counters,
		.watch = watch,
		.free = release,
	};
	static const NetworkOps off = { .free = release };
	FakeNetwork *fake = new0(FakeNetwork);

	fake->network.ops = leases ? &leasing : &off;
	lock_init(&fake->lock);
	return fake;
}

Network *fake_network(FakeNetwork *fake)
{
	return &fake->network;
}

void fake_fail(FakeNetwork *fake, FakeCall call, unsigned times)
{
	lock_take(&fake->lock);
	fake->failures[call] = times;
	lock_drop(&fake->lock);
}

unsigned fake_calls(FakeNetwork *fake, FakeCall call)
{
	unsigned calls;

	lock_take(&fake->lock);
	calls = fake->calls[call];
	lock_drop(&fake->lock);
	return calls;
}

int fake_rules(FakeNetwork *fake, uint32_t slot)
{
	int rules = -1;

	lock_take(&fake->lock);
	for (size_t i = 0; i < PORTS_MAX; i++)
		if (fake->ports[i].instance_id[0] && fake->ports[i].slot == slot)
			rules = (int)fake->ports[i].rules;
	lock_drop(&fake->lock);
	return rules;
}

void fake_answer(FakeNetwork *fake, int verdict)
{
	lock_take(&fake->lock);
	fake->verdict = verdict;
	lock_drop(&fake->lock);
}

void fake_deny(FakeNetwork *fake, const NetworkEvent *event)
{
	NetworkSink *sink;
	void *user;

	lock_take(&fake->lock);
	sink = fake->sink;
	user = fake->user;
	lock_drop(&fake->lock);
	if (sink)
		sink(user, event);
}
