/* Runs a fuzz target over the files of a directory, each in memory of exactly its size, and each also cut short at
 * every length: a parser that reads too far is seen by AddressSanitizer. One line of TAP a file. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

#define FILE_MOST 65536

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static void run_exactly(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static bool run_file(const char *path) {
    static uint8_t bytes[FILE_MOST];
    FILE *file = fopen(path, "rb");
    if (!file) {
        return false;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    bool readable = !ferror(file);
    fclose(file);
    for (size_t length = 0; readable && length <= size; length++) {
        run_exactly(bytes, length);
    }
    return readable;
}

int main(int argc, char **argv) {
    struct dirent **entries;
    int count = argc == 2 ? scandir(argv[1], &entries, visible, alphasort) : -1;
    if (count <= 0) {
        fprintf(stderr, "usage: %s CORPUS, a directory with at least one file\n", argv[0]);
        return 2;
    }
    bool all = true;
    printf("1..%d\n", count);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        printf("# %s\n", entries[i]->d_name); /* before it runs, so that a crash has a name */
        fflush(stdout);
        bool ok = run_file(path);
        printf("%s %d - %s\n", ok ? "ok" : "not ok", i + 1, entries[i]->d_name);
        all = all && ok;
        free(entries[i]);
    }
    free(entries);
    return all ? 0 : 1;
}
