/* By what an interface of the kernel's WireGuard is known as ours again: its alias (IFLA_IFALIAS; `ip link` shows it),
 * "sallyport" alone, as adoption sets it, or with ":" and a number of its own in 16 hexadecimal digits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct link_state;

#define MARK_KIND "wireguard"

bool mark_is_ours(const struct link_state *state);
/* Of one that is ours: its number. 0: it has none yet. */
uint64_t mark_number(const struct link_state *state);
/* 0: without a number. */
int mark_set(const char *interface_name, uint64_t number);
