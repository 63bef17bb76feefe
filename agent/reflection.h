/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The standard reflection service, v1 and v1alpha, from the embedded
 * descriptor set. The two are the same on the wire, so one handler serves both.
 */

#include "agent/method.h"

typedef struct Reflection Reflection;

/* @methods: which services there are; read when asked. */
Reflection *reflection_new(const MethodTable *methods);
void reflection_free(Reflection *reflection);
ProtobufCService *reflection_service(Reflection *reflection);
ProtobufCService *reflection_service_alpha(Reflection *reflection);
