/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/message.h"
#include "agent/decode.h"
#include "base/text.h"
#include "netfw/egress_policy.h"
#include "tests/support/full_spec.h"

#include <criterion/criterion.h>
#include <hearth/v1/vm.pb-c.h>
#include <string.h>

enum {
	MESSAGE_BYTES = 1024 * 1024 /* limits.message_bytes where nobody says otherwise */
};

static const Method create = { .input = &hearth__v1__create_vm_request__descriptor,
			       .mutates = true };

/* A text of @length in @object's member @name. */
static void set_long(json_t *object, const char *name, size_t length)
{
	cleanup_free char *text = must_calloc(length + 1, 1);

	memset(text, 'a', length);
	cr_assert_eq(json_object_set_new(object, name, json_string(text)), 0);
}

/* @list gets copies of its first element until it has @count. */
static void fill_list(json_t *list, size_t count)
{
	while (json_array_size(list) < count)
		(void)json_array_append(list, json_array_get(list, 0));
}

/* As many rules, blocks and ports as a policy may have. */
static void fill_egress(json_t *egress)
{
	json_t *rules = json_object_get(egress, "rules");
	json_t *rule = json_array_get(rules, 0);
	json_t *peer = json_array_get(json_object_get(rule, "to"), 0);

	(void)json_object_del(peer, "except");
	fill_list(json_object_get(rule, "to"), EGRESS_PREFIXES_MAX);
	fill_list(json_object_get(rule, "ports"), EGRESS_PORTS_MAX);
	while (json_array_size(rules) < EGRESS_RULES_MAX)
		(void)json_array_append_new(rules, json_object());
}

/* A spec with as much as spec_check() allows of everything: drives, interfaces, labels, texts. */
static ProtobufCMessage *largest_spec(void)
{
	cleanup_(json_freep) json_t *json = json_loads(full_spec, 0, NULL);
	json_t *labels = json_object_get(json, "labels");
	json_t *drives = json_object_get(json, "drives");
	json_t *boot = json_object_get(json, "boot");
	json_t *mmds = json_object_get(json_object_get(json, "devices"), "mmds");
	ProtobufCMessage *message = NULL;
	Error err = { 0 };
	char key[64];

	for (int i = 0; i < 62; i++) {
		(void)text_append(key, key + sizeof key, "%063d", i);
		set_long(labels, key, 255);
	}
	set_long(json_object_get(json, "machine"), "cpuConfig", 32768);
	set_long(boot, "kernelPath", 4095);
	set_long(boot, "initrdPath", 4095);
	set_long(boot, "bootArgs", 2047);
	set_long(json_array_get(drives, 0), "path", 4095);
	set_long(mmds, "content", 51200);
	fill_list(drives, 16);
	fill_list(json_object_get(json, "networkInterfaces"), 8);
	fill_egress(json_object_get(json, "egress"));
	cr_assert_eq(json_to_message(&message, &hearth__v1__vm_spec__descriptor, json, &err), 0);
	return message;
}

Test(decode_largest, the_largest_spec_there_can_be_is_decoded)
{
	cleanup_(message_freep) ProtobufCMessage *spec = largest_spec();
	Hearth__V1__CreateVmRequest request;
	const Hearth__V1__CreateVmRequest *decoded;
	ProtobufCMessage *message = NULL;
	Arena arena;
	Error err = { 0 };

	hearth__v1__create_vm_request__init(&request);
	request.vm_id = (char[]){ "web-1" };
	request.spec = (Hearth__V1__VmSpec *)(void *)spec;
	size_t size = hearth__v1__create_vm_request__get_packed_size(&request);
	cleanup_free uint8_t *bytes = must_calloc(size, 1);
	(void)hearth__v1__create_vm_request__pack(&request, bytes);

	cr_assert_eq(decode(&message, &arena, &create, bytes, size, &err), 0, "%s", err.what);

	decoded = (const void *)message;
	cr_assert_leq(size, MESSAGE_BYTES);
	cr_assert_eq(decoded->spec->n_drives, 16);
	cr_assert_eq(decoded->spec->drives[15]->rate_limiter->ops->refill_time_ms, 500);
	cr_assert_eq(decoded->spec->n_network_interfaces, 8);
	cr_assert_eq(decoded->spec->n_labels, 64);
	cr_assert_eq(decoded->spec->egress->n_rules, EGRESS_RULES_MAX);
	cr_assert_eq(decoded->spec->egress->rules[0]->n_to, EGRESS_PREFIXES_MAX);
	arena_clear(&arena);
}
