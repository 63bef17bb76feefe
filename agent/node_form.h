/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The node as the API shows it, at one moment. Building one reads the store: not on a poller. */

#include "agent/agent.h"

typedef struct NodeForm NodeForm;

NodeForm *node_form_new(Agent *agent, Runtime *runtime);
void node_form_free(NodeForm *form);
DEFINE_CLEANUP(NodeForm *, node_form_free);

const ProtobufCMessage *node_form_message(const NodeForm *form);
