/* How far a long work is, on stderr: a bar that moves on a terminal, else a line each 10 %. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    const char *what; /* "importing" */
    bool terminal;
    uint64_t began_ns, drawn_ns;
    unsigned told; /* tenths told so far */
};

struct progress progress_start(const char *what);
/* `done` of `whole` (in whatever unit); `items` are counted in words. */
void progress_update(struct progress *progress, size_t done, size_t whole, size_t items);
/* Takes the bar away. */
void progress_end(struct progress *progress);
