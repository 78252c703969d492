/* How fast the control plane alone is, over a data plane that takes no time: not a test, run by hand. */
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway.h"

static double seconds(uint64_t from) {
    return (double)(clock_mono_ns() - from) / 1e9;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    size_t total = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000, batch = 5000;
    enum addressing addressing = argc > 2 ? ADDRESSING_PRIVATE : ADDRESSING_UNIQUE;
    void *state;
    struct problem problem = {0};
    struct service_status status;
    gateway_setup(&state);
    struct gateway *g = state;
    struct bulk_item *items = calloc(batch, sizeof *items);
    struct router_spec *specs = calloc(batch, sizeof *specs);
    struct router_made *made = calloc(batch, sizeof *made);
    char(*names)[32] = calloc(batch, sizeof *names);
    uint64_t start = clock_mono_ns();
    double cpu = cpu_seconds();
    for (size_t at = 0; at < total; at += batch) {
        uint64_t from = clock_mono_ns();
        for (size_t i = 0; i < batch; i++) {
            struct key secret;
            snprintf(names[i], sizeof names[i], "tenant-%zu", at + i);
            key_make_preshared(&secret);
            items[i] = (struct bulk_item){.has_tenant = true,
                                          .tenant = {.name = names[i], .addressing = addressing},
                                          .routers = &specs[i],
                                          .router_count = 1,
                                          .made = &made[i]};
            specs[i] = (struct router_spec){.name = names[i], .public_key = secret};
        }
        if (service_bulk_create(g->service, &gateway_admin, items, batch, &problem) < 0) {
            fprintf(stderr, "%s\n", problem.detail);
            return 1;
        }
        if (at + batch == total || at == 0) {
            printf("batch at %zu: %.0f pairs/s\n", at, (double)batch / seconds(from));
        }
    }
    printf("bulk: %.0f pairs/s, %.1f us of CPU each\n", (double)total / seconds(start),
           (cpu_seconds() - cpu) * 1e6 / (double)total);
    uint64_t times[1000];
    for (size_t i = 0; i < 1000; i++) {
        struct router_made one;
        struct key key;
        key_make_preshared(&key);
        struct router_spec spec = {.tenant_id = items[i].made_tenant.id, .name = "one", .public_key = key};
        uint64_t from = clock_mono_ns();
        if (service_router_create(g->service, &gateway_admin, &spec, &one, &problem) < 0) {
            fprintf(stderr, "%s\n", problem.detail);
            return 1;
        }
        times[i] = clock_mono_ns() - from;
    }
    qsort(times, 1000, sizeof *times, compare);
    printf("add one: p50 %.2f ms, p99 %.2f ms\n", (double)times[500] / 1e6, (double)times[990] / 1e6);
    start = clock_mono_ns();
    service_reconcile(g->service, &problem);
    printf("reconcile, nothing to do: %.3f s\n", seconds(start));
    start = clock_mono_ns();
    gateway_restart(g);
    do {
        usleep(1000);
        service_status(g->service, &status);
    } while (!status.in_sync);
    printf("restart to reconciled: %.3f s\n", seconds(start));
    service_status(g->service, &status);
    printf("memory (with the fake data plane): %" PRIu64 " MB; tenants %" PRIu64 " routers %" PRIu64 "\n",
           status.memory_bytes >> 20, status.tenants, status.routers);
    fake_plane_restart();
    start = clock_mono_ns();
    cpu = cpu_seconds();
    service_reconcile(g->service, &problem);
    printf("CPU %.3f s: ", cpu_seconds() - cpu);
    printf("reconcile, all missing: %.3f s\n", seconds(start));
    free(items);
    free(specs);
    free(made);
    free(names);
    gateway_teardown(&state);
    return 0;
}
