/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/request.h"

#include "runtime/guest/base64.h"

#include <string.h>

int guest_request_bad(const GuestRequest *request, const char *name)
{
	guest_session_fail(request->session, request->id, GUEST_BAD_REQUEST, "%s", name);
	return -1;
}

static const GuestJsonValue *find(const GuestRequest *request, const char *name)
{
	return guest_json_member(request->json, request->object, name);
}

int guest_request_text(const GuestRequest *request, const char *name, GuestNeed need,
		       const char **ret)
{
	const GuestJsonValue *value = find(request, name);
	const char *text;

	if (!value)
		return need == GUEST_REQUIRED ? guest_request_bad(request, name) : 0;
	text = guest_json_text(request->json, value);
	if (!text)
		return guest_request_bad(request, name);
	*ret = text;
	return 0;
}

int guest_request_bool(const GuestRequest *request, const char *name, bool *ret)
{
	const GuestJsonValue *value = find(request, name);

	if (!value)
		return 0;
	if (value->type != GUEST_JSON_BOOL)
		return guest_request_bad(request, name);
	*ret = value->number;
	return 0;
}

int guest_request_number(const GuestRequest *request, const char *name, GuestNeed need, int64_t max,
			 int64_t *ret)
{
	const GuestJsonValue *value = find(request, name);

	if (!value)
		return need == GUEST_REQUIRED ? guest_request_bad(request, name) : 0;
	if (value->type != GUEST_JSON_NUMBER || value->number < 1 || value->number > max)
		return guest_request_bad(request, name);
	*ret = value->number;
	return 0;
}

int guest_request_list(const GuestRequest *request, const char *name, GuestJsonType type,
		       const GuestJsonValue **ret)
{
	const GuestJsonValue *value = find(request, name);

	if (!value)
		return 0;
	if (value->type != type)
		return guest_request_bad(request, name);
	*ret = value;
	return 0;
}

int guest_request_data(const GuestRequest *request, const char *name, char **ret, size_t *length)
{
	const GuestJsonValue *value = find(request, name);
	char *text = value ? (char *)request->json->line + value->text : NULL;

	if (!value || value->type != GUEST_JSON_TEXT ||
	    guest_base64_read(text, (size_t)value->number, length) < 0 || *length > GUEST_DATA_MAX)
		return guest_request_bad(request, name);
	*ret = text;
	return 0;
}
