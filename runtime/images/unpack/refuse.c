/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/unpack/refuse.h"

#include "base/text.h"

void refuse(int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vfprintf(stderr, format, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	_exit(code);
}
