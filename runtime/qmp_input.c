/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/qmp.h"

#include <string.h>

void qmp_message_clear(QmpMessage *message)
{
	free(message->text);
	json_decref(message->body);
	*message = (QmpMessage){ 0 };
}

void qmp_input_clear(QmpInput *input)
{
	free(input->bytes);
	*input = (QmpInput){ 0 };
}

void qmp_input_add(QmpInput *input, const char *bytes, size_t count)
{
	if (!count)
		return;
	if (input->room - input->count < count) {
		input->room = (input->count + count) * 2;
		input->bytes = must_realloc(input->bytes, input->room, 1);
	}
	memcpy(input->bytes + input->count, bytes, count);
	input->count += count;
}

static void input_drop(QmpInput *input, size_t count)
{
	input->count -= count;
	input->searched = 0;
	if (input->count)
		memmove(input->bytes, input->bytes + count, input->count);
}

static bool is_blank(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	return true;
}

static int read_error(QmpMessage *ret, const json_t *error)
{
	const char *words = json_string_value(json_object_get(error, "desc"));

	if (!words)
		return -EINVAL;
	ret->type = QMP_ERROR;
	ret->text = text_dup(words);
	return 1;
}

static int read_event(QmpMessage *ret, const json_t *object)
{
	const char *name = json_string_value(json_object_get(object, "event"));

	if (!name)
		return -EINVAL;
	ret->type = QMP_EVENT;
	ret->text = text_dup(name);
	ret->body = json_incref(json_object_get(object, "data"));
	return 1;
}

/* One line, without its end; 1 or -EINVAL. */
static int read_line(QmpMessage *ret, const char *line, size_t length)
{
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	json_t *error = json_object_get(object, "error");
	json_t *value = json_object_get(object, "return");
	json_t *id = json_object_get(object, "id");
	int r = -EINVAL;

	*ret = (QmpMessage){ .id = json_is_integer(id) ? json_integer_value(id) : -1 };
	if (value) {
		ret->type = QMP_RETURN;
		ret->body = json_incref(value);
		r = 1;
	} else if (error) {
		r = read_error(ret, error);
	} else if (json_object_get(object, "event")) {
		r = read_event(ret, object);
	} else if (json_is_object(json_object_get(object, "QMP"))) {
		ret->type = QMP_GREETING;
		r = 1;
	}
	json_decref(object);
	return r;
}

int qmp_input_next(QmpInput *input, QmpMessage *ret)
{
	while (input->count > input->searched) {
		const char *end = memchr(input->bytes + input->searched, '\n',
					 input->count - input->searched);
		size_t length = end ? (size_t)(end - input->bytes) : input->count;
		int r;

		if (length > QMP_LINE_MAX)
			return -EMSGSIZE;
		if (!end) {
			input->searched = input->count;
			break;
		}
		if (is_blank(input->bytes, length)) {
			input_drop(input, length + 1);
			continue;
		}
		r = read_line(ret, input->bytes, length);
		input_drop(input, length + 1);
		return r;
	}
	return 0;
}
