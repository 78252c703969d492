/* What tests may turn in a running program, by environment variables. In what is built by default, and installed,
 * nothing: hooks.c answers with what is given, and knows no variable. tests/hooks.c takes its place in the programs
 * that are built for tests (sallyport-wg-test, sallyportd-test). */
#pragma once

#include <stdint.h>

/* What the names of the variables begin with, so that they are passed on to the engine; NULL: there are none. */
const char *hooks_prefix(void);
/* Seconds by which the wall clock is ahead, or, negative, behind. */
int64_t hooks_clock_offset_s(void);
/* How many times as fast WireGuard's timers run. */
uint64_t hooks_clock_rate(void);
/* How long the row of a router that has time rests before its usage is written again. */
uint32_t hooks_usage_rest_s(uint32_t real);
