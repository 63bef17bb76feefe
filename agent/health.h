/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The standard health service. "" is SERVING for as long as there is anybody
 * to answer; hearth's own services are as health_set_serving() says. A service
 * that the server does not have is not found.
 */

#include "agent/method.h"

typedef struct Health Health;

/* @methods: which services there are; read when asked. */
Health *health_new(const MethodTable *methods);
void health_free(Health *health);
ProtobufCService *health_service(Health *health);

/* Any thread. Tells the watchers, if it is a change. */
void health_set_serving(Health *health, bool serving);
