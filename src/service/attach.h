/* The way to the database: reached when the service opens or, if it is away, as soon as it comes; held against the
 * configuration before anything is read or written. */
#pragma once

#include "model/problem.h"

struct service;

/* Reaches the database and settles it; from then on it may be read and written. To be repeated while it is away. */
int attach(struct service *s, struct problem *ret_problem);
