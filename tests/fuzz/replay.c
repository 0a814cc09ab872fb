/* Runs a fuzz target on every file of a folder, in order of name; fails if there is none. */
#define _GNU_SOURCE /* scandir, alphasort */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int visible(const struct dirent *entry)
{
    return *entry->d_name != '.';
}

/* The input is copied to where it just fits: a byte read beyond it is an error under the sanitizers. */
static void run_file(const char *path)
{
    static uint8_t content[1 << 16];
    FILE *const f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    const size_t size = fread(content, 1, sizeof content, f);
    fclose(f);
    uint8_t *const data = malloc(size ? size : 1);
    memcpy(data, content, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    struct dirent **entries = NULL;
    const char *const slash = strrchr(argv[0], '/'), *const own = slash ? slash + 1 : argv[0];
    const char *const name = strncmp(own, "fuzz_", 5) == 0 ? own + 5 : own;
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    const int count = scandir(argv[1], &entries, visible, alphasort);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        run_file(path);
        free(entries[i]);
    }
    free(entries);
    if (count <= 0) {
        printf("fuzz %s: no inputs in %s\n", name, argv[1]);
        return 1;
    }
    printf("fuzz %s: %d inputs\n", name, count);
    return 0;
}
