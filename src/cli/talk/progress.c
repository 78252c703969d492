#include "cli/talk/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define BAR 30
#define REDRAW_NS (100 * NSEC_PER_MSEC)

struct progress progress_start(const char *what) {
    return (struct progress){.what = what, .terminal = isatty(STDERR_FILENO), .began_ns = clock_mono_ns()};
}

void progress_update(struct progress *p, size_t done, size_t whole, size_t items) {
    uint64_t now = clock_mono_ns();
    unsigned percent = whole ? (unsigned)(done * 100 / whole) : 100;
    double seconds = (double)(now - p->began_ns) / (double)NSEC_PER_SEC;
    double rate = seconds > 0 ? (double)items / seconds : 0;
    if (p->terminal) {
        if (now - p->drawn_ns < REDRAW_NS && done < whole) {
            return;
        }
        char bar[BAR + 1];
        for (unsigned i = 0; i < BAR; i++) {
            bar[i] = i < percent * BAR / 100 ? '#' : '.';
        }
        bar[BAR] = '\0';
        fprintf(stderr, "\r%s [%s] %3u %%  %zu items, %.0f/s\033[K", p->what, bar, percent, items, rate);
        fflush(stderr);
        p->drawn_ns = now;
    } else if (percent / 10 > p->told) {
        p->told = percent / 10;
        fprintf(stderr, "%s: %u %%, %zu items, %.0f/s\n", p->what, percent, items, rate);
    }
}

void progress_end(struct progress *p) {
    if (p->terminal) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
}
