/* What doctor looks at on this host: a table of checks over a struct of functions (doctor_host.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

struct doctor_host;
struct doctor_report;

/* What the gateway told of itself; empty where it did not answer. */
struct doctor_facts {
    char backend[16]; /* "engine", "kernel"; "": unknown */
    char interface[16];
    uint16_t listen_port;
    char endpoint[256]; /* a name or an address */
    struct prefix pool; /* family 0: unknown */
    uint64_t routers;
    const char *state_dir;
};

typedef void doctor_check_fn(const struct doctor_facts *facts, const struct doctor_host *host,
                             struct doctor_report *report);

struct doctor_check {
    const char *name;
    doctor_check_fn *run;
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_check_count;
