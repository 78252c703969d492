/* Clocks and the text form of times. Monotonic time is for intervals, wall time is UTC and for people and the store.
 * Rooms that must be testable (wire/, engine timers) take time as a parameter and never call the clock. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NSEC_PER_SEC UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define USEC_PER_SEC INT64_C(1000000)

/* Monotonic time that goes on during suspend (CLOCK_BOOTTIME), in nanoseconds. */
uint64_t clock_mono_ns(void);
/* Wall time, in nanoseconds / microseconds since the Unix epoch. */
uint64_t clock_wall_ns(void);
int64_t clock_wall_us(void);

#define CLOCK_TEXT_SIZE 32
/* "2026-01-31T12:34:56.789012Z" (RFC 3339, UTC, always microseconds, so that text sorts as time). Returns `text`. */
char *clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE]);
/* Reads what clock_format() wrote: every field with all its digits, the fraction optional (1 to 9 digits). 0, or
 * -EINVAL. */
int clock_parse(const char *text, int64_t *ret_wall_us);
