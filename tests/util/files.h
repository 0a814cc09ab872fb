/* A folder of its own for the files of a test, and files as bytes. */
#ifndef TESTS_UTIL_FILES_H
#define TESTS_UTIL_FILES_H

#include "tests/util/test.h"

typedef struct temp_folder {
    char path[128];
} temp_folder;

temp_folder temp_folder_new(void);
/* Removes the folder and what is in it. */
void temp_folder_free(temp_folder *folder);
/* folder/name; the text is overwritten by the eighth next call. */
const char *temp_path(const temp_folder *folder, const char *name);
/* Number of entries: for "nothing is left behind". */
int temp_count(const temp_folder *folder);

void file_write(const char *path, const void *content, size_t size);
/* The whole file, with a NUL behind it; free it. */
char *file_read(const char *path, size_t *size);
/* False in a build without zlib. */
bool file_write_gzip(const char *path, const void *content, size_t size);

/* Bytes that are put together piece by piece. */
typedef struct bytes {
    size_t size;
    unsigned char at[8192];
} bytes;
void bytes_add(bytes *b, const void *more, size_t size);
/* An NPY file of version 1, 2 or 3 with this dictionary, up to its data. */
bytes npy_with(int version, const char *dictionary);

/* What this process has used, for limits on what a file may take: others may have the processor. */
double cpu_seconds(void);

#endif
