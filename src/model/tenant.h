/* A tenant: a customer who owns routers, an address space, limits and usage. Plain values, no behaviour beyond names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"
#include "model/problem.h"
#include "model/uuid.h"

#define NAME_SIZE 129 /* tenant and router names: at most 128 bytes of UTF-8, and NUL */

enum addressing {
    ADDRESSING_UNIQUE,  /* the tenant's addresses mean the same everywhere: it shares the hub's space */
    ADDRESSING_PRIVATE, /* a space of its own, which may overlap anybody's; hub addresses are translated 1:1 */
};

enum tenant_status {
    TENANT_ACTIVE,
    TENANT_DISABLED,
};

struct limits {
    uint64_t bits_per_second; /* each direction; 0: no limit */
    uint64_t packets_per_second;
    uint32_t routers; /* most routers the tenant may have; 0: as many as addressing allows */
};

struct tenant {
    struct uuid id;
    char name[NAME_SIZE];
    enum addressing addressing;
    enum tenant_status status;
    struct prefix subnet; /* unique: the tenant's first block; private: the whole of its own prefix */
    bool egress;          /* may its routers reach beyond the hub through the gateway */
    struct limits limits;
    int64_t created_at; /* wall time, microseconds */
    int64_t updated_at;
    /* usage, as of the last flush */
    uint32_t routers;
    uint32_t connected_routers; /* handshake within the last 180 s */
    uint64_t bytes_received;    /* by the gateway, from the tenant */
    uint64_t bytes_sent;
};

/* "unique"/"private", "active"/"disabled". Parsers: 0, or -EINVAL. */
const char *addressing_name(enum addressing addressing);
int addressing_parse(const char *name, enum addressing *ret_addressing);
const char *tenant_status_name(enum tenant_status status);
int tenant_status_parse(const char *name, enum tenant_status *ret_status);
/* 1 to 128 bytes of valid UTF-8, no control characters (C0, DEL, C1, line separators, bidirectional overrides), no
 * leading or trailing white space. NULL if the name is fine, else a sentence that says what is wrong. */
const char *name_fault(const char *name);
/* Copies as much of a UTF-8 text as fits, never a part of a letter. */
void name_fit(char *to, size_t room, const char *text);
/* The same as a problem of the field "name"; NULL stands for "". */
int name_check(const char *name, struct problem *ret_problem);
