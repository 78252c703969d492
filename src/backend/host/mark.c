#include "backend/host/mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host/link.h"

#define WORD "sallyport"

bool mark_is_ours(const struct link_state *state) {
    size_t size = strlen(WORD);
    return strcmp(state->kind, MARK_KIND) == 0 && strncmp(state->alias, WORD, size) == 0 &&
           (state->alias[size] == '\0' || state->alias[size] == ':');
}

uint64_t mark_number(const struct link_state *state) {
    const char *digits = strchr(state->alias, ':');
    return digits ? strtoull(digits + 1, NULL, 16) : 0;
}

int mark_set(const char *interface_name, uint64_t number) {
    char alias[LINK_ALIAS_SIZE] = WORD;
    struct link *link = NULL;
    int rc = link_open(interface_name, &link);
    if (number) {
        snprintf(alias, sizeof alias, WORD ":%016" PRIx64, number);
    }
    rc = rc < 0 ? rc : link_set_alias(link, alias);
    link_free(link);
    return rc;
}
