/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_vms.h"

#include "base/lock.h"

#include <assert.h>
#include <string.h>
#include <uthash.h>

/* One VM, found by its tap and by each of its addresses. */
typedef struct Entry {
	NetworkVm vm;
	UT_hash_handle hh, hh4, hh6;
} Entry;

struct NetworkVms {
	Lock lock;
	Entry *by_ifindex, *by_address4, *by_address6; /* under lock */
};

/* What of @address a table is keyed by. */
enum {
	KEY_BYTES = sizeof(((Prefix *)NULL)->address),
};

NetworkVms *network_vms_new(void)
{
	NetworkVms *vms = new0(NetworkVms);

	lock_init(&vms->lock);
	return vms;
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
static Entry *find(NetworkVms *vms, uint32_t ifindex) lock_requires(vms->lock)
{
	Entry *entry;

	HASH_FIND(hh, vms->by_ifindex, &ifindex, sizeof ifindex, entry);
	return entry;
}

static Entry *find_address(NetworkVms *vms, const Prefix *address) lock_requires(vms->lock)
{
	Entry *entry = NULL;

	if (address->family == 4)
		HASH_FIND(hh4, vms->by_address4, address->address, KEY_BYTES, entry);
	else if (address->family == 6)
		HASH_FIND(hh6, vms->by_address6, address->address, KEY_BYTES, entry);
	return entry;
}

static void add(NetworkVms *vms, Entry *entry) lock_requires(vms->lock)
{
	HASH_ADD(hh, vms->by_ifindex, vm.ifindex, sizeof entry->vm.ifindex, entry);
	if (entry->vm.address4.family)
		HASH_ADD(hh4, vms->by_address4, vm.address4.address, KEY_BYTES, entry);
	if (entry->vm.address6.family)
		HASH_ADD(hh6, vms->by_address6, vm.address6.address, KEY_BYTES, entry);
}

static void take_out(NetworkVms *vms, Entry *entry) lock_requires(vms->lock)
{
	HASH_DELETE(hh, vms->by_ifindex, entry);
	if (entry->vm.address4.family)
		HASH_DELETE(hh4, vms->by_address4, entry);
	if (entry->vm.address6.family)
		HASH_DELETE(hh6, vms->by_address6, entry);
}
/* NOLINTEND(readability-function-*) */

static void entry_free(Entry *entry)
{
	if (entry)
		egress_unref(entry->vm.egress);
	free(entry);
}

void network_vms_free(NetworkVms *vms)
{
	Entry *entry;

	if (!vms)
		return;
	do {
		lock_take(&vms->lock);
		entry = vms->by_ifindex;
		if (entry)
			take_out(vms, entry);
		lock_drop(&vms->lock);
		entry_free(entry);
	} while (entry);
	free(vms);
}

void network_vms_put(NetworkVms *vms, const NetworkVm *vm)
{
	Entry *entry = new0(Entry), *old;

	entry->vm = *vm;
	entry->vm.egress = egress_ref(vm->egress);
	lock_take(&vms->lock);
	old = find(vms, vm->ifindex);
	if (old)
		take_out(vms, old);
	add(vms, entry);
	lock_drop(&vms->lock);
	entry_free(old);
}

void network_vms_drop(NetworkVms *vms, uint32_t ifindex)
{
	Entry *entry;

	lock_take(&vms->lock);
	entry = find(vms, ifindex);
	if (entry)
		take_out(vms, entry);
	lock_drop(&vms->lock);
	entry_free(entry);
}

bool network_vms_find(NetworkVms *vms, const Prefix *address, NetworkVm *ret)
{
	const Entry *entry;

	lock_take(&vms->lock);
	entry = find_address(vms, address);
	if (entry) {
		*ret = entry->vm;
		ret->egress = egress_ref(entry->vm.egress);
	}
	lock_drop(&vms->lock);
	return entry;
}

NetworkVm *network_vms_all(NetworkVms *vms, size_t *count)
{
	NetworkVm *all;
	size_t n = 0;

	lock_take(&vms->lock);
	all = new0_array(NetworkVm, HASH_COUNT(vms->by_ifindex));
	for (const Entry *entry = vms->by_ifindex; entry; entry = entry->hh.next) {
		all[n] = entry->vm;
		all[n++].egress = egress_ref(entry->vm.egress);
	}
	lock_drop(&vms->lock);
	*count = n;
	return all;
}
