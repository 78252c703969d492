/* Memory that holds secrets. */
#pragma once

/* free() of what malloc() gave, wiped first: for libraries that take an allocator. Accepts NULL. */
void wipe_free(void *memory);
