/* SPDX-License-Identifier: Apache-2.0 */

/* QEMU's answers: the first byte says how large the pieces are in which the rest arrives. */

#include "runtime/qmp.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? (size_t)data[0] + 1 : 1;
	QmpInput input = { 0 };
	int r = 0;

	for (size_t at = 1; at < size && r >= 0; at += piece) {
		QmpMessage message;

		qmp_input_add(&input, (const char *)data + at,
			      piece < size - at ? piece : size - at);
		while ((r = qmp_input_next(&input, &message)) > 0) {
			if ((message.type == QMP_ERROR || message.type == QMP_EVENT) &&
			    !message.text)
				__builtin_trap();
			if (message.type == QMP_RETURN && !message.body)
				__builtin_trap();
			qmp_message_clear(&message);
		}
	}
	qmp_input_clear(&input);
	return 0;
}
