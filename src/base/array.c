#include "base/array.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64

void *array_grow(void *list, size_t *room, size_t count, size_t item_size) {
    if (list && count <= *room) {
        return list;
    }
    size_t more = *room ? *room * 2 : FIRST_ROOM;
    if (more < count) {
        more = count;
    }
    char *grown = reallocarray(list, more, item_size);
    if (!grown) {
        return NULL;
    }
    memset(grown + *room * item_size, 0, (more - *room) * item_size);
    *room = more;
    return grown;
}
