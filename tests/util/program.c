#define _XOPEN_SOURCE 700 /* realpath */
#include "tests/util/program.h"

#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

const char *program_path(const char *name)
{
    static char path[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    ck_assert(length > 0);
    path[length] = '\0';
    for (int up = 0; up < 3; up++)
        *strrchr(path, '/') = '\0';
    strcat(path, "/bin/");
    strncat(path, name, 48);
    return path;
}

static void read_text(const char *path, char *text, size_t size)
{
    FILE *const file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    const size_t length = fread(text, 1, size - 1, file);
    ck_assert_msg(length < size - 1, "%s has more than %zu bytes", path, size - 2);
    text[length] = '\0';
    fclose(file);
}

/* The program runs in another folder: a plugin that is named from this one stays the same file. */
static void keep_plugin(void)
{
    const char *const name = getenv("EQUINV_BACKEND_PATH");
    char path[PATH_MAX];
    if (name && realpath(name, path))
        setenv("EQUINV_BACKEND_PATH", path, 1);
}

outcome program_run(const temp_folder *folder, const char *name, const char *variables,
                    const char *arguments)
{
    static char out[1 << 18], err[1 << 16];
    char line[PATH_MAX + 1024];
    snprintf(line, sizeof line,
             "cd '%s' && env -u EQUINV_BACKEND -u EQUINV_VERBOSE %s '%s' %s >out 2>err </dev/null",
             folder->path, variables, program_path(name), arguments);
    keep_plugin();
    fflush(NULL);
    const int status = system(line);
    ck_assert(status != -1 && WIFEXITED(status));
    read_text(temp_path(folder, "out"), out, sizeof out);
    read_text(temp_path(folder, "err"), err, sizeof err);
    return (outcome){WEXITSTATUS(status), out, err};
}

char *report_read(const temp_folder *folder, const char *name)
{
    size_t size;
    char *const text = file_read(temp_path(folder, name), &size);
    ck_assert_msg(size > 2 && text[size - 2] == '}' && text[size - 1] == '\n', "%s is not complete",
                  name);
    return text;
}

int count_of(const char *text, const char *words)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

double json_value(const char *text, const char *key)
{
    char name[64];
    snprintf(name, sizeof name, "\"%s\": ", key);
    const char *const at = strstr(text, name);
    ck_assert_msg(at != NULL, "\"%s\" is not in \"" SHOWN "\"", key, text);
    char *end;
    const double value = strtod(at + strlen(name), &end);
    ck_assert_msg(end != at + strlen(name), "\"%s\" is no number in \"" SHOWN "\"", key, text);
    return value;
}
