#define _GNU_SOURCE /* newlocale, uselocale */
#include "internal/json.h"

#include <stdarg.h>
#include <string.h>

const char *eqi_quoted(const char *text, char quoted[EQI_QUOTED])
{
    const size_t most = EQI_QUOTED - 6; /* quotes, dots, NUL */
    const size_t length = strnlen(text, most + 1);
    eqi_format(quoted, EQI_QUOTED, length > most ? "\"%.*s...\"" : "\"%.*s\"", (int)most, text);
    for (char *c = quoted; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    return quoted;
}

/* Length of the well-formed sequence at text, 0 if there is none (Unicode 15, table 3-7). */
static size_t utf8_sequence(const char *text, size_t length)
{
    const unsigned char *const b = (const unsigned char *)text;
    if (length == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    const size_t n = b[0] >= 0xc2 && b[0] <= 0xdf   ? 2
                     : b[0] >= 0xe0 && b[0] <= 0xef ? 3
                     : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
                                                    : 0;
    if (n == 0 || length < n)
        return 0;
    /* The second byte excludes overlong forms, surrogates and what is above U+10FFFF. */
    const unsigned char low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    if (b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (b[i] < 0x80 || b[i] > 0xbf)
            return 0;
    return n;
}

bool eqi_is_utf8(const char *text, size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        n = utf8_sequence(text + at, length - at);
        if (n == 0)
            return false;
    }
    return true;
}

#ifdef EQI_HAVE_CJSON

#include <locale.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

typedef struct checker {
    const char *what;
    const char *start, *at, *end;
    int values;
} checker;

static equinv_status expected(const checker *c, const char *what)
{
    return eqi_fail(EQUINV_ERR_FORMAT, "%s that is wrong at byte %td, expected %s", c->what,
                    c->at - c->start, what);
}

static void skip_space(checker *c)
{
    while (c->at < c->end && memchr(" \t\n\r", *c->at, 4))
        c->at++;
}

static bool accept(checker *c, char wanted)
{
    skip_space(c);
    const bool found = c->at < c->end && *c->at == wanted;
    c->at += found;
    return found;
}

static bool accept_word(checker *c, const char *word)
{
    const size_t length = strlen(word);
    const bool found = (size_t)(c->end - c->at) >= length && memcmp(c->at, word, length) == 0;
    c->at += found ? length : 0;
    return found;
}

/* Four hexadecimal digits after \u; -1 if they are not there. */
static int32_t read_code(checker *c)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    int32_t code = 0;
    if (!accept_word(c, "\\u") || c->end - c->at < 4)
        return -1;
    for (int i = 0; i < 4; i++, c->at++) {
        const char *const digit = *c->at ? strchr(digits, *c->at) : NULL;
        if (!digit)
            return -1;
        const int32_t value = (int32_t)(digit - digits);
        code = code * 16 + (value < 16 ? value : value - 6);
    }
    return code;
}

static equinv_status check_escape(checker *c)
{
    if (c->end - c->at >= 2 && c->at[1] != 'u') {
        if (!memchr("\"\\/bfnrt", c->at[1], 8))
            return expected(c, "an escape that JSON knows");
        c->at += 2;
        return EQUINV_OK;
    }
    const int32_t first = read_code(c);
    if (first <= 0)
        return expected(c, "\\u and four hexadecimal digits, not 0000");
    if (first < 0xd800 || first > 0xdfff)
        return EQUINV_OK;
    const int32_t second = first < 0xdc00 ? read_code(c) : -1;
    return second >= 0xdc00 && second <= 0xdfff ? EQUINV_OK : expected(c, "a pair of surrogates");
}

static equinv_status check_string(checker *c)
{
    if (!accept(c, '"'))
        return expected(c, "a string");
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\') {
            EQI_TRY(check_escape(c));
            continue;
        }
        const size_t n = utf8_sequence(c->at, (size_t)(c->end - c->at));
        if (n == 0 || (unsigned char)*c->at < ' ')
            return expected(c, "UTF-8 without control characters");
        c->at += n;
    }
    return accept_word(c, "\"") ? EQUINV_OK : expected(c, "the closing quote");
}

static bool skip_digits(checker *c)
{
    const char *const first = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return c->at > first;
}

/* cJSON reads at most 63 characters of a number. */
static equinv_status check_number(checker *c)
{
    const char *const first = c->at;
    accept_word(c, "-");
    bool good = accept_word(c, "0") || skip_digits(c);
    if (good && accept_word(c, "."))
        good = skip_digits(c);
    if (good && (accept_word(c, "e") || accept_word(c, "E"))) {
        if (!accept_word(c, "-"))
            accept_word(c, "+");
        good = skip_digits(c);
    }
    return good && c->at - first <= 63 ? EQUINV_OK : expected(c, "a value");
}

static equinv_status check_value(checker *c, int depth);

static equinv_status check_items(checker *c, char close, int depth)
{
    if (depth > EQI_JSON_DEPTH)
        return expected(c, "at most 16 levels");
    for (bool comma = false; comma || !accept(c, close);) {
        if (close == '}') {
            EQI_TRY(check_string(c));
            if (!accept(c, ':'))
                return expected(c, "a colon");
        }
        EQI_TRY(check_value(c, depth));
        comma = accept(c, ',');
        if (!comma && accept(c, close))
            break;
        if (!comma)
            return expected(c, close == '}' ? "a comma or }" : "a comma or ]");
    }
    return EQUINV_OK;
}

static equinv_status check_value(checker *c, int depth)
{
    if (++c->values > EQI_JSON_VALUES)
        return expected(c, "at most 2^20 values");
    if (accept(c, '{'))
        return check_items(c, '}', depth + 1);
    if (accept(c, '['))
        return check_items(c, ']', depth + 1);
    if (c->at < c->end && *c->at == '"')
        return check_string(c);
    if (accept_word(c, "true") || accept_word(c, "false") || accept_word(c, "null"))
        return EQUINV_OK;
    return check_number(c);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No key twice, in any object; `keys` has room for those of the largest. */
static equinv_status check_keys(const char *what, const cJSON *json, const char **keys)
{
    size_t count = 0;
    char quoted[EQI_QUOTED];
    for (const cJSON *child = json->child; child; child = child->next)
        if (child->string)
            keys[count++] = child->string;
    if (count > 0)
        qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count; i++)
        EQI_CHECK(strcmp(keys[i - 1], keys[i]) != 0, FORMAT, "%s with the key %s twice", what,
                  eqi_quoted(keys[i], quoted));
    for (const cJSON *child = json->child; child; child = child->next)
        EQI_TRY(check_keys(what, child, keys));
    return EQUINV_OK;
}

equinv_status eqi_json_parse(const equinv_context *ctx, const char *what, const char *text,
                             size_t length, struct cJSON **json)
{
    checker c = {what, text, text, text + length, 0};
    EQI_TRY(check_value(&c, 0));
    skip_space(&c);
    if (c.at < c.end)
        return expected(&c, "nothing more");
    const size_t size = (size_t)c.values * sizeof(char *);
    const char **const keys = eqi_alloc(ctx, size);
    EQI_CHECK(keys, NOMEM, "out of memory: %s whose keys need %zu bytes", what, size);
    /* cJSON reads numbers by strtod, in the locale's form. */
    const locale_t point = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const locale_t before = uselocale(point);
    cJSON *const tree = cJSON_ParseWithLength(text, length);
    uselocale(before);
    equinv_status status =
        tree ? check_keys(what, tree, keys)
             : eqi_fail(EQUINV_ERR_NOMEM, "out of memory: %s that cJSON could not hold", what);
    eqi_free(ctx, keys, size);
    if (status == EQUINV_OK)
        *json = tree;
    else
        cJSON_Delete(tree);
    return status;
}

void eqi_json_free(struct cJSON *json)
{
    cJSON_Delete(json);
}

#else

equinv_status eqi_json_parse(const equinv_context *ctx, const char *what, const char *text,
                             size_t length, struct cJSON **json)
{
    (void)ctx;
    (void)text;
    (void)length;
    (void)json;
    return eqi_fail(EQUINV_ERR_UNSUPPORTED,
                    "%s in JSON, which this build cannot read (it has no cJSON)", what);
}

void eqi_json_free(struct cJSON *json)
{
    (void)json;
}

#endif

/* Room for `more` bytes and the NUL. */
static bool reserve(eqi_text *text, size_t more)
{
    if (text->failed || more < text->room - text->length)
        return !text->failed;
    const size_t room = 2 * text->room + more + 256;
    char *const larger = eqi_alloc(text->ctx, room);
    text->failed = !larger;
    if (!larger)
        return false;
    if (text->at)
        memcpy(larger, text->at, text->length);
    eqi_free(text->ctx, text->at, text->room);
    text->at = larger;
    text->room = room;
    return true;
}

static void add_bytes(eqi_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = '\0';
}

void eqi_text_add(eqi_text *text, const char *format, ...)
{
    char piece[256];
    va_list arguments;
    va_start(arguments, format);
    const int length = eqi_format_list(piece, sizeof piece, format, arguments);
    va_end(arguments);
    add_bytes(text, piece, (size_t)length < sizeof piece ? (size_t)length : sizeof piece - 1);
}

void eqi_text_add_string(eqi_text *text, const char *string)
{
    add_bytes(text, "\"", 1);
    while (*string) {
        size_t plain = 0;
        while ((unsigned char)string[plain] >= ' ' && string[plain] != '"' && string[plain] != '\\')
            plain++;
        add_bytes(text, string, plain);
        string += plain;
        if (*string)
            eqi_text_add(text, (unsigned char)*string < ' ' ? "\\u%04x" : "\\%c", *string);
        string += *string != '\0';
    }
    add_bytes(text, "\"", 1);
}

equinv_status eqi_text_status(const eqi_text *text, const char *what)
{
    EQI_CHECK(!text->failed, NOMEM, "out of memory: %s needs more than %zu bytes", what,
              text->room);
    return EQUINV_OK;
}

void eqi_text_free(eqi_text *text)
{
    eqi_free(text->ctx, text->at, text->room);
    *text = (eqi_text){.ctx = text->ctx};
}
