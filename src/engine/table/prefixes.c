#include "engine/table/prefixes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

#define BLOCK_MAX 512u /* prefixes in a block, and in a list: 9 KB */
#define IN_BLOCKS UINT32_MAX

struct prefix_block {
    uint32_t count; /* at least 1 */
    struct prefix list[BLOCK_MAX];
};

struct prefix_blocks {
    struct prefix_block **list; /* owned */
    size_t count, room;
};

/* Where the prefix is in a sorted list, or belongs. */
static uint32_t find(const struct prefix *list, uint32_t count, const struct prefix *prefix, bool *ret_found) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = prefix_compare(&list[middle], prefix);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_found = false;
    return low;
}

static void insert_at(struct prefix *list, uint32_t count, uint32_t at, const struct prefix *prefix) {
    memmove(list + at + 1, list + at, (count - at) * sizeof *list);
    list[at] = *prefix;
}

static void remove_at(struct prefix *list, uint32_t count, uint32_t at) {
    memmove(list + at, list + at + 1, (count - at - 1) * sizeof *list);
}

/* --- blocks --- */

/* The last block that does not begin behind the prefix, or the first. */
static size_t block_of(const struct prefix_blocks *blocks, const struct prefix *prefix) {
    size_t low = 0;
    size_t high = blocks->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (prefix_compare(&blocks->list[middle]->list[0], prefix) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The second half of a full block becomes a block of its own. */
static int split(struct prefix_blocks *blocks, size_t at) {
    struct prefix_block *full = blocks->list[at];
    struct prefix_block **list = array_grow(blocks->list, &blocks->room, blocks->count + 1, sizeof(void *));
    if (!list) {
        return -ENOMEM;
    }
    blocks->list = list;
    struct prefix_block *second = malloc(sizeof *second);
    if (!second) {
        return -ENOMEM;
    }
    second->count = full->count / 2;
    full->count -= second->count;
    memcpy(second->list, full->list + full->count, second->count * sizeof *second->list);
    memmove(list + at + 2, list + at + 1, (blocks->count - at - 1) * sizeof *list);
    list[at + 1] = second;
    blocks->count++;
    return 0;
}

static void drop_block(struct prefix_blocks *blocks, size_t at) {
    free(blocks->list[at]);
    blocks->count--;
    memmove(blocks->list + at, blocks->list + at + 1, (blocks->count - at) * sizeof *blocks->list);
}

/* What has become small joins its neighbour, so that a set that shrank does not keep its memory. */
static void join(struct prefix_blocks *blocks, size_t at) {
    struct prefix_block *block = blocks->list[at];
    if (block->count == 0) {
        drop_block(blocks, at);
        return;
    }
    if (at + 1 < blocks->count && block->count + blocks->list[at + 1]->count <= BLOCK_MAX / 2) {
        const struct prefix_block *next = blocks->list[at + 1];
        memcpy(block->list + block->count, next->list, next->count * sizeof *next->list);
        block->count += next->count;
        drop_block(blocks, at + 1);
    }
}

static int add_to_blocks(struct prefix_blocks *blocks, const struct prefix *prefix) {
    bool found;
    size_t at = block_of(blocks, prefix);
    uint32_t within = find(blocks->list[at]->list, blocks->list[at]->count, prefix, &found);
    if (found) {
        return -EEXIST;
    }
    if (blocks->list[at]->count == BLOCK_MAX) {
        int error = split(blocks, at);
        if (error) {
            return error;
        }
        if (within > blocks->list[at]->count) {
            within -= blocks->list[at++]->count;
        }
    }
    struct prefix_block *block = blocks->list[at];
    insert_at(block->list, block->count++, within, prefix);
    return 0;
}

static bool remove_from_blocks(struct prefix_blocks *blocks, const struct prefix *prefix) {
    bool found;
    size_t at = block_of(blocks, prefix);
    struct prefix_block *block = blocks->list[at];
    uint32_t within = find(block->list, block->count, prefix, &found);
    if (found) {
        remove_at(block->list, block->count--, within);
        join(blocks, at);
    }
    return found;
}

static void free_blocks(struct prefix_blocks *blocks) {
    if (!blocks) {
        return;
    }
    for (size_t i = 0; i < blocks->count; i++) {
        free(blocks->list[i]);
    }
    free(blocks->list);
    free(blocks);
}

static int blocks_create(const struct prefix *list, uint32_t count, struct prefix_blocks **ret_blocks) {
    struct prefix_blocks *blocks = calloc(1, sizeof *blocks);
    struct prefix_block *first = malloc(sizeof *first);
    if (blocks) {
        blocks->list = array_grow(NULL, &blocks->room, 1, sizeof(void *));
    }
    if (!blocks || !blocks->list || !first) {
        free_blocks(blocks);
        free(first);
        return -ENOMEM;
    }
    first->count = count;
    memcpy(first->list, list, count * sizeof *list);
    blocks->list[blocks->count++] = first;
    *ret_blocks = blocks;
    return 0;
}

/* --- the set --- */

static int make_list_room(struct prefixes *set) {
    uint32_t room = set->room ? set->room : 1;
    if (set->count < room) {
        return 0;
    }
    struct prefix *list = reallocarray(set->room ? set->list : NULL, (size_t)room * 2, sizeof *list);
    if (!list) {
        return -ENOMEM;
    }
    if (!set->room) {
        list[0] = set->one;
    }
    set->list = list;
    set->room = room * 2;
    return 0;
}

static int make_room(struct prefixes *set) {
    struct prefix_blocks *blocks;
    if (set->count < BLOCK_MAX) {
        return make_list_room(set);
    }
    int error = blocks_create(set->list, set->count, &blocks);
    if (!error) {
        free(set->list);
        set->blocks = blocks;
        set->room = IN_BLOCKS;
    }
    return error;
}

int prefixes_add(struct prefixes *set, const struct prefix *prefix) {
    bool found;
    int error = 0;
    if (set->room != IN_BLOCKS) {
        uint32_t at = find(set->room ? set->list : &set->one, set->count, prefix, &found);
        error = found ? -EEXIST : make_room(set);
        if (error) {
            return error;
        }
        if (set->room != IN_BLOCKS) {
            insert_at(set->room ? set->list : &set->one, set->count++, at, prefix);
            return 0;
        }
    }
    error = add_to_blocks(set->blocks, prefix);
    set->count += !error;
    return error;
}

bool prefixes_remove(struct prefixes *set, const struct prefix *prefix) {
    bool found;
    if (set->room == IN_BLOCKS) {
        found = set->count > 0 && remove_from_blocks(set->blocks, prefix);
        set->count -= found;
        if (set->count == 0) {
            prefixes_clear(set);
        }
        return found;
    }
    struct prefix *list = set->room ? set->list : &set->one;
    uint32_t at = find(list, set->count, prefix, &found);
    if (found) {
        remove_at(list, set->count--, at);
    }
    return found;
}

bool prefixes_pop(struct prefixes *set, struct prefix *ret_last) {
    if (set->count == 0) {
        return false;
    }
    if (set->room == IN_BLOCKS) {
        struct prefix_blocks *blocks = set->blocks;
        struct prefix_block *last = blocks->list[blocks->count - 1];
        *ret_last = last->list[--last->count];
        if (last->count == 0) {
            drop_block(blocks, blocks->count - 1);
        }
    } else {
        *ret_last = (set->room ? set->list : &set->one)[set->count - 1];
    }
    if (--set->count == 0) {
        prefixes_clear(set);
    }
    return true;
}

void prefixes_copy(const struct prefixes *set, struct prefix *ret_list) {
    if (set->room != IN_BLOCKS) {
        memcpy(ret_list, set->room ? set->list : &set->one, set->count * sizeof *ret_list);
        return;
    }
    for (size_t i = 0; i < set->blocks->count; i++) {
        const struct prefix_block *block = set->blocks->list[i];
        memcpy(ret_list, block->list, block->count * sizeof *ret_list);
        ret_list += block->count;
    }
}

void prefixes_clear(struct prefixes *set) {
    if (set->room == IN_BLOCKS) {
        free_blocks(set->blocks);
    } else if (set->room) {
        free(set->list);
    }
    *set = (struct prefixes){0};
}
