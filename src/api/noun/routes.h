/* The one table of routes: method, path, who may, what it takes, and the function that answers.
 *
 * openapi.json describes the same routes for people and clients; a test holds the two together. */
#pragma once

#include "api/http/route.h"

extern const struct route_table routes;
