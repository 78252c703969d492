/* Which data plane this gateway uses, and why, in words for the log and `sallyport status`. */
#pragma once

#include "backend/backend.h"
#include "daemon/config.h"

#define CHOICE_WHY_SIZE 320

struct choice {
    const struct backend_ops *backend;
    bool automatic; /* another may be taken if the store holds what this one cannot carry */
    char why[CHOICE_WHY_SIZE];
};

/* As configured; `auto` takes the kernel where it can be used. Touches nothing. */
void choice_make(enum config_backend kind, const char *interface_name, struct choice *ret_choice);
/* The engine after all, for the reason that the problem says. */
void choice_fall_back(struct choice *choice, const struct problem *problem);
