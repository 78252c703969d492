#include "daemon/move.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/migrate.h"

static void tell(void *context, uint64_t done, uint64_t whole) {
    (void)context;
    printf("%" PRIu64 " %" PRIu64 "\n", done, whole);
    fflush(stdout);
}

int move_store(const char *from, const char *to) {
    struct problem problem = {0};
    struct migrated moved;
    if (strcmp(from, to) == 0) {
        fputs("sallyportd: the store cannot be moved onto itself\n", stderr);
        return 1;
    }
    if (store_migrate(from, to, tell, NULL, &moved, &problem) < 0) {
        fprintf(stderr, "sallyportd: %s\n", problem.detail);
        return 1;
    }
    printf("moved %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", moved.rows, moved.tenants, moved.routers);
    return fflush(stdout) == 0 ? 0 : 1;
}
