/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_json.h"

#include "base/text.h"

char *firecracker_id(const char *id)
{
	char *copy = text_dup(id);

	for (char *at = copy; *at; at++)
		if (*at == '-')
			*at = '_';
	return copy;
}

static json_t *bucket_json(const VmTokenBucket *bucket)
{
	/* Without size it is no limit at all. */
	static const VmTokenBucket none = { 0 };
	json_t *json;

	if (!bucket)
		bucket = &none;
	json = json_pack("{s:I, s:I}", "size", (json_int_t)bucket->size, "refill_time",
			 (json_int_t)bucket->refill_time_ms);
	if (bucket->one_time_burst)
		(void)json_object_set_new(json, "one_time_burst",
					  json_integer((json_int_t)bucket->one_time_burst));
	return json;
}

json_t *firecracker_rate_limiter(const VmRateLimiter *limiter)
{
	json_t *json = json_object();

	if (limiter->bandwidth)
		(void)json_object_set_new(json, "bandwidth", bucket_json(limiter->bandwidth));
	if (limiter->ops)
		(void)json_object_set_new(json, "ops", bucket_json(limiter->ops));
	return json;
}

json_t *firecracker_rate_limiter_update(const VmRateLimiter *limiter)
{
	return json_pack("{s:o, s:o}", "bandwidth",
			 bucket_json(limiter ? limiter->bandwidth : NULL), "ops",
			 bucket_json(limiter ? limiter->ops : NULL));
}
