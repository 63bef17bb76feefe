/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/random_spec.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

enum {
	TEXT_MAX = 40,
	LABELS_MAX = 3,
};

static const char path_bytes[] = "abcABC019_,;:'\"\\ {}[]%&#+~";

static bool chance(long one_in)
{
	return random() % one_in == 0;
}

static uint64_t between(uint64_t min, uint64_t max)
{
	uint64_t number = (uint64_t)random() << 33 ^ (uint64_t)random() << 2 ^ (uint64_t)random();

	if (chance(4))
		return chance(2) ? min : max;
	return max - min == UINT64_MAX ? number : min + number % (max - min + 1);
}

/* @before, then @min to @max of @bytes. */
static char *text_of(const char *before, const char *bytes, uint64_t min, uint64_t max)
{
	size_t count = (size_t)between(min, max < TEXT_MAX ? max : TEXT_MAX);
	size_t length = strlen(before);
	char *text = new0_array(char, length + count + 1);

	(void)stpcpy(text, before);
	for (size_t i = 0; i < count; i++)
		text[length + i] = bytes[(size_t)random() % strlen(bytes)];
	return text;
}

static char *random_text(const Field *field)
{
	if (field->flags & FIELD_PATH)
		return text_of("/d-", path_bytes, 0, TEXT_MAX);
	return field->accept ? text_of("", field->accept, field->min ? field->min : 1,
				       field->max ? field->max : TEXT_MAX)
			     : NULL;
}

static void add_labels(FieldMap *map)
{
	map->count = between(1, LABELS_MAX);
	map->pairs = new0_array(struct FieldPair, map->count);
	for (size_t i = 0; i < map->count; i++) {
		map->pairs[i].key = text_printf("k%zu", i);
		map->pairs[i].value = text_of("", path_bytes, 0, TEXT_MAX);
	}
}

static uint64_t max_of(const Field *field, uint64_t of_type)
{
	return field->max && field->max < of_type ? field->max : of_type;
}

static void fill(const FieldTable *table, void *object);

/* NOLINTBEGIN(misc-no-recursion): as deep as the tables */
static void set(const Field *field, void *at)
{
	size_t count = (size_t)between(1, max_of(field, SPEC_DRIVES_MAX));

	switch (field->type) {
	case FIELD_BOOL:
		*(bool *)at = true;
		break;
	case FIELD_U32:
		*(uint32_t *)at = (uint32_t)between(field->min, max_of(field, UINT32_MAX));
		break;
	case FIELD_I32:
		*(int32_t *)at = (int32_t)random();
		break;
	case FIELD_U64:
		*(uint64_t *)at = between(field->min, max_of(field, UINT64_MAX));
		break;
	case FIELD_ENUM:
		*(int *)at = (int)between(1, field->name_count - 1);
		break;
	case FIELD_TEXT:
		*(char **)at = random_text(field);
		break;
	case FIELD_TIME:
		*(int64_t *)at = (int64_t)between(1, INT64_C(253402300799999999));
		break;
	case FIELD_DURATION:
		*(int64_t *)at = (int64_t)between(field->min, field->max);
		break;
	case FIELD_MAP:
		add_labels(at);
		break;
	case FIELD_OBJECT:
		*(void **)at = must_calloc(1, field->table->size);
		fill(field->table, *(void **)at);
		break;
	case FIELD_LIST:
		for (size_t i = 0; i < count; i++)
			fill(field->table, field_list_add(at, field->table));
		break;
	case FIELD_TEXTS:
		for (size_t i = 0; i < count; i++)
			field_texts_add(at, "text");
		break;
	case FIELD_TYPE_COUNT_:
		assert(false);
	}
}

static void fill(const FieldTable *table, void *object)
{
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];

		if (field->flags & FIELD_REQUIRED || chance(2))
			set(field, field_at(field, object));
	}
}
/* NOLINTEND(misc-no-recursion) */

static void unset(const FieldTable *table, void *member)
{
	void **at = member;

	if (*at)
		fields_clear(table, *at);
	free(*at);
	*at = NULL;
}

static void replace(char **text, char *by)
{
	free(*text);
	*text = by;
}

static void fit_machine(VmSpec *spec)
{
	VmMachine *machine = spec->machine;

	if (!machine)
		return;
	if (machine->smt && machine->vcpus > 1)
		machine->vcpus &= ~1U;
	if (machine->huge_pages > VM_HUGE_PAGES_NONE)
		machine->memory_mib &= ~UINT64_C(1);
	if (!machine->cpu_template && chance(2))
		machine->cpu_config = text_dup(
			"{\"kvm_capabilities\":[\"!56\"],\"cpuid_modifiers\":[{\"leaf\":\"0x1\","
			"\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":[{\"register\":\"ecx\","
			"\"bitmap\":\"0bxxxx000000000011xx00011011110010\"}]}],"
			"\"msr_modifiers\":[{\"addr\":\"0x10\",\"bitmap\":\"0b0\"}]}");
}

static void fit_drives(VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		VmDrive *drive = &((VmDrive *)spec->drives.items)[i];

		drive->is_root = drive->is_root && i == 0;
		drive->from_snapshot = drive->from_snapshot && spec->restore_from;
		if (drive->from_snapshot) {
			replace(&drive->path, NULL);
			replace(&drive->template_id, NULL);
			drive->size_mib = 0;
		} else if (chance(2)) { /* of a template */
			replace(&drive->path, NULL);
			replace(&drive->template_id, text_printf("t%zu", i));
		} else {
			replace(&drive->template_id, NULL);
			drive->size_mib = 0;
			if (!drive->path)
				drive->path = text_printf("/d%zu", i);
		}
		replace(&drive->drive_id, text_printf("%zu-%.29s", i, drive->drive_id));
	}
}

static void fit_interfaces(VmSpec *spec)
{
	bool mmds = false;

	for (size_t i = 0; i < spec->network_interfaces.count; i++) {
		VmInterface *interface = &((VmInterface *)spec->network_interfaces.items)[i];

		replace(&interface->interface_id,
			text_printf("%zu-%.29s", i, interface->interface_id));
		if (interface->guest_mac)
			replace(&interface->guest_mac,
				text_printf("%02lX:%02lx:%02lx:%02lx:%02lx:%02zx", random() & 0xfe,
					    random() & 0xff, random() & 0xff, random() & 0xff,
					    random() & 0xff, i + 1));
		if (i == 0 && chance(2))
			interface->ipv4_address = text_printf("10.0.%ld.1", random() % 256);
		if (i == 0 && chance(2))
			interface->ipv6_address = text_printf("fd00::%lx", random() % 0xffff);
		interface->mmds = interface->mmds && spec_mmds(spec);
		mmds = mmds || interface->mmds;
	}
	if (spec_mmds(spec) && !mmds)
		unset(&vm_mmds_table, &spec->devices->mmds);
}

static void fit_overrides(VmRestoreFrom *from)
{
	for (size_t i = 0; from && i < from->network_overrides.count; i++) {
		VmNetworkOverride *override =
			&((VmNetworkOverride *)from->network_overrides.items)[i];

		replace(&override->interface_id,
			text_printf("%zu-%.29s", i, override->interface_id));
		override->ipv4_address = text_printf("10.1.%ld.1", random() % 256);
		override->ipv6_address = text_printf("fd01::%lx", random() % 0xffff);
	}
}

static void fit_peer(VmEgressPeer *peer)
{
	long block = random() % 256;

	replace(&peer->cidr, text_printf("10.%ld.0.0/16", block));
	for (size_t i = 0; i < peer->except.count; i++)
		replace(&peer->except.items[i],
			text_printf("10.%ld.%ld.0/24", block, random() % 256));
}

static void fit_port(VmEgressPort *port)
{
	if (port->protocol == VM_PROTOCOL_ICMP)
		port->port = 0;
	if (!port->port || port->end_port < port->port)
		port->end_port = 0;
}

static void fit_egress(VmSpec *spec)
{
	const FieldList *rules = spec->egress ? &spec->egress->rules : &(FieldList){ 0 };

	for (size_t i = 0; i < rules->count; i++) {
		VmEgressRule *rule = &((VmEgressRule *)rules->items)[i];

		for (size_t k = 0; k < rule->to.count; k++)
			fit_peer(&((VmEgressPeer *)rule->to.items)[k]);
		for (size_t k = 0; k < rule->ports.count; k++)
			fit_port(&((VmEgressPort *)rule->ports.items)[k]);
	}
}

static void fit_devices(VmSpec *spec)
{
	VmBalloon *balloon = spec->devices ? spec->devices->balloon : NULL;
	VmMmds *mmds = spec->devices ? spec->devices->mmds : NULL;

	if (balloon) {
		balloon->amount_mib %= spec_memory_mib(spec);
		balloon->stats_interval -= balloon->stats_interval % USEC_PER_SEC;
	}
	if (!mmds)
		return;
	if (chance(2))
		mmds->content =
			text_dup("{\"a\":[1,0.1,null,{\"\xc3\xbc\\u0001\":\"\\\\\"}],\"b\":{}}");
	if (chance(2))
		mmds->ipv4_address =
			text_printf("169.254.%lu.%lu", 1 + random() % 254, random() % 256);
}

/* Secrets differ, and are for a guest that can be talked to. */
static void fit_guest(VmSpec *spec)
{
	bool wanted = spec_vsock(spec) && spec->guest_agent != VM_GUEST_AGENT_NONE;

	if (!spec_vsock(spec))
		spec->guest_agent = VM_GUEST_AGENT_UNSET;
	for (size_t i = 0; i < spec->secrets.count; i++) {
		free(spec->secrets.items[i]);
		spec->secrets.items[i] = text_printf("secret-%zu", i);
	}
	for (; !wanted && spec->secrets.count; spec->secrets.count--)
		free(spec->secrets.items[spec->secrets.count - 1]);
	if (!spec->secrets.count)
		free(take_ptr(spec->secrets.items));
}

static void fit_rest(VmSpec *spec)
{
	VmRestartPolicy *restart = spec->restart_policy;
	uint64_t least = spec_memory_mib(spec) + SPEC_OVERHEAD_MIN_MIB;

	if (spec->limits && spec->limits->memory_mib && spec->limits->memory_mib < least)
		spec->limits->memory_mib = least;
	fit_guest(spec);
	if (!spec->expires_at)
		spec->expire_action = VM_EXPIRE_UNSET;
	if (restart && restart->max_backoff && restart->max_backoff < restart->initial_backoff)
		restart->max_backoff = restart->initial_backoff;
}

VmSpec *random_spec_new(void)
{
	VmSpec *spec = spec_new();

	fill(&vm_spec_table, spec);
	if (!spec->boot)
		spec->boot = new0(VmBoot);
	if (!spec->boot->kernel_path)
		spec->boot->kernel_path = text_dup("/k");
	fit_machine(spec);
	fit_drives(spec);
	fit_devices(spec);
	fit_interfaces(spec);
	fit_overrides(spec->restore_from);
	fit_egress(spec);
	fit_rest(spec);
	return spec;
}
