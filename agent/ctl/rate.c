/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/rate.h"

#include "agent/ctl/options.h"
#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* Largest first. */
static const struct {
	char suffix;
	unsigned shift;
} multiples[] = { { 'g', 30 }, { 'm', 20 }, { 'k', 10 } };

/* The first @length bytes of @text as a number. */
static int parse_amount(uint64_t *ret, RateUnit unit, const char *text, size_t length)
{
	cleanup_free char *number = text_printf("%.*s", (int)length, text);
	unsigned shift = 0;
	uint64_t amount;
	int r;

	for (size_t i = 0; unit == RATE_BYTES && length && i < array_size(multiples); i++)
		if (number[length - 1] == multiples[i].suffix)
			shift = multiples[i].shift;
	if (shift)
		number[length - 1] = '\0';
	r = text_to_u64(&amount, number);
	if (r < 0)
		return r;
	if (amount > UINT64_MAX >> shift)
		return -ERANGE;
	*ret = amount << shift;
	return 0;
}

int rate_parse(Hearth__V1__TokenBucket *bucket, RateUnit unit, const char *text)
{
	size_t size_length = strcspn(text, "/");
	const char *every = text + size_length + (text[size_length] == '/');
	size_t every_length = strcspn(every, "+");
	cleanup_free char *duration = text_printf("%.*s", (int)every_length, every);
	const char *burst = every + every_length;
	uint64_t size, extra = 0;
	int64_t usec;
	int r = parse_amount(&size, unit, text, size_length);

	if (r == 0)
		r = duration_parse(&usec, duration);
	if (r == 0 && *burst)
		r = parse_amount(&extra, unit, burst + 1, strlen(burst + 1));
	if (r < 0)
		return r;
	if (usec % USEC_PER_MSEC)
		return -EINVAL;
	bucket->size = size;
	bucket->one_time_burst = extra;
	bucket->refill_time_ms = (uint64_t)(usec / USEC_PER_MSEC);
	return 0;
}

static char *append_amount(char *at, const char *end, RateUnit unit, uint64_t amount)
{
	for (size_t i = 0; unit == RATE_BYTES && amount && i < array_size(multiples); i++)
		if (amount % (UINT64_C(1) << multiples[i].shift) == 0)
			return text_append(at, end, "%" PRIu64 "%c", amount >> multiples[i].shift,
					   multiples[i].suffix);
	return text_append(at, end, "%" PRIu64, amount);
}

const char *rate_text(const Hearth__V1__TokenBucket *bucket, RateUnit unit,
		      char buffer[static RATE_TEXT_MAX])
{
	const char *end = buffer + RATE_TEXT_MAX;
	char *at = append_amount(buffer, end, unit, bucket->size);

	if (bucket->refill_time_ms % 1000)
		at = text_append(at, end, "/%" PRIu64 "ms", bucket->refill_time_ms);
	else
		at = text_append(at, end, "/%" PRIu64 "s", bucket->refill_time_ms / 1000);
	if (bucket->one_time_burst) {
		at = text_append(at, end, "+");
		(void)append_amount(at, end, unit, bucket->one_time_burst);
	}
	return buffer;
}
