#include "tests/util/files.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef EQI_HAVE_ZLIB
#include <zlib.h>
#endif

temp_folder temp_folder_new(void)
{
    temp_folder folder;
    const char *const base = getenv("TMPDIR");
    snprintf(folder.path, sizeof folder.path, "%.90s/equinv-test-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder.path));
    return folder;
}

const char *temp_path(const temp_folder *folder, const char *name)
{
    static char text[8][512];
    static int next;
    next = (next + 1) % 8;
    snprintf(text[next], sizeof *text, "%s/%s", folder->path, name);
    return text[next];
}

static int walk(const temp_folder *folder, bool remove)
{
    DIR *const dir = opendir(folder->path);
    int count = 0;
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        const char *const path = temp_path(folder, entry->d_name);
        if (remove && unlink(path) != 0)
            rmdir(path);
    }
    closedir(dir);
    return count;
}

int temp_count(const temp_folder *folder)
{
    return walk(folder, false);
}

void temp_folder_free(temp_folder *folder)
{
    walk(folder, true);
    ck_assert_int_eq(rmdir(folder->path), 0);
}

void file_write(const char *path, const void *content, size_t size)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(content, 1, size, f), size);
    const int closed = fclose(f);
    ck_assert_int_eq(closed, 0);
}

char *file_read(const char *path, size_t *size)
{
    FILE *const f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s is not there", path);
    size_t used = 0, room = 1 << 16;
    char *text = malloc(room + 1);
    for (size_t n; (n = fread(text + used, 1, room - used, f)) > 0;) {
        used += n;
        if (used == room)
            text = realloc(text, (room *= 2) + 1);
    }
    fclose(f);
    text[used] = '\0';
    *size = used;
    return text;
}

bool file_write_gzip(const char *path, const void *content, size_t size)
{
#ifdef EQI_HAVE_ZLIB
    const gzFile f = gzopen(path, "wb9");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(gzwrite(f, content, (unsigned)size), (int)size);
    const int closed = gzclose(f);
    ck_assert_int_eq(closed, Z_OK);
    return true;
#else
    (void)path;
    (void)content;
    (void)size;
    return false;
#endif
}

void bytes_add(bytes *b, const void *more, size_t size)
{
    ck_assert(size <= sizeof b->at - b->size);
    memcpy(b->at + b->size, more, size);
    b->size += size;
}

bytes npy_with(int version, const char *dictionary)
{
    bytes b = {0};
    const size_t length = strlen(dictionary);
    const unsigned char head[] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0};
    const unsigned char sizes[] = {(unsigned char)(length & 255), (unsigned char)(length >> 8), 0,
                                   0};
    bytes_add(&b, head, sizeof head);
    bytes_add(&b, sizes, version == 1 ? 2 : 4);
    bytes_add(&b, dictionary, length);
    return b;
}

double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
