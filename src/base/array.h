/* Lists that grow by doubling. */
#pragma once

#include <stddef.h>

/* Makes room for `count` items of `item_size` bytes in a malloc'ed list that has room for `*room` (NULL and 0 at
 * first). Returns the list, which may have moved, with new room zeroed; or NULL without memory: then list and room are
 * as they were. Not for secrets: where it moves, it leaves a copy behind. */
void *array_grow(void *list, size_t *room, size_t count, size_t item_size);
