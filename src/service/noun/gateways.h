/* What this gateway says of itself among the others. */
#pragma once

struct presence;
struct service;

void gateways_presence(struct service *s, struct presence *ret_presence);
