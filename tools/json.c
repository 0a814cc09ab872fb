#include <math.h>
#include <stdlib.h>

#include "tools/tool.h"

static void put_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(file, "\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7f) /* bytes beyond ASCII may be no UTF-8 */
            fprintf(file, "\\u%04x", *c);
        else
            fputc(*c, file);
    }
    fputc('"', file);
}

static void begin_value(json *j, const char *key)
{
    if (j->depth > 0) {
        if (j->filled[j->depth])
            fputs(", ", j->file);
        j->filled[j->depth] = true;
    }
    if (key) {
        put_text(j->file, key);
        fputs(": ", j->file);
    }
}

void json_open(json *j, const char *key, char bracket)
{
    begin_value(j, key);
    fputc(bracket, j->file);
    j->depth++;
    j->closing[j->depth] = bracket == '{' ? '}' : ']';
    j->filled[j->depth] = false;
}

void json_close(json *j)
{
    fputc(j->closing[j->depth], j->file);
    j->depth--;
    if (j->depth == 0)
        fputc('\n', j->file);
}

void json_text(json *j, const char *key, const char *text)
{
    begin_value(j, key);
    put_text(j->file, text);
}

void json_integer(json *j, const char *key, int64_t value)
{
    begin_value(j, key);
    fprintf(j->file, "%" PRId64, value);
}

void json_unsigned(json *j, const char *key, uint64_t value)
{
    begin_value(j, key);
    fprintf(j->file, "%" PRIu64, value);
}

void json_number(json *j, const char *key, double value)
{
    char text[32];
    begin_value(j, key);
    if (!isfinite(value)) {
        fputs("null", j->file);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, j->file);
}
