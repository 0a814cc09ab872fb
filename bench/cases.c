/* Files of named cases, one a line: "name --op conv --group C4 ..", with comments after #. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

/* Made from bench/cases/cpu.txt by the Makefile, so that names work from any folder. */
static const char built_in[] =
#include "bench_cases.inc"
    ;

/* The words of a line, in place; at most `most`. */
static int split(char *line, char **words, int most)
{
    static const char white[] = " \t\r\n";
    int count = 0;
    char *rest = NULL;
    for (char *w = strtok_r(line, white, &rest); w && count < most;
         w = strtok_r(NULL, white, &rest))
        words[count++] = w;
    return count;
}

int case_read(const char *line, bench_case *c)
{
    enum { MOST_WORDS = 64 };
    char text[1024], title[] = "equinv-bench", *words[MOST_WORDS + 1] = {title};
    snprintf(text, sizeof text, "%s", line);
    const int count = split(text, words, MOST_WORDS);
    if (count == 0)
        return tool_misused("the line is empty");
    if (words[0][0] == '-' || strlen(words[0]) >= sizeof c->name)
        return tool_misused("\"%s\" is no name of a case", words[0]);
    strcpy(c->name, words[0]);
    words[0] = title;
    return options_parse(count, words, c, NULL);
}

static int visit_line(char *line, case_visit *visit, void *user)
{
    char name[64];
    line[strcspn(line, "#\r\n")] = '\0';
    line += strspn(line, " \t");
    if (!*line)
        return -1;
    const size_t length = strcspn(line, " \t");
    if (length >= sizeof name)
        return tool_misused("the name \"%.20s..\" is too long, expected below %zu characters", line,
                            sizeof name);
    memcpy(name, line, length);
    name[length] = '\0';
    return visit(user, name, line);
}

int cases_walk(const char *path, case_visit *visit, void *user)
{
    FILE *const file =
        path ? fopen(path, "r") : fmemopen((void *)built_in, sizeof built_in - 1, "r");
    if (!file)
        return tool_fail("%s: %s", path ? path : "named cases", strerror(errno));
    char *line = NULL, where[160];
    size_t size = 0;
    int code = -1;
    for (int number = 1; code < 0 && getline(&line, &size, file) >= 0; number++) {
        snprintf(where, sizeof where, "%s:%d", path ? path : "cases", number);
        message_place(where);
        code = visit_line(line, visit, user);
    }
    message_place("");
    if (code < 0 && ferror(file))
        code = tool_fail("%s: %s", path ? path : "named cases", strerror(errno));
    free(line);
    fclose(file);
    return code;
}
