/*
 * NPY headers: "\x93NUMPY", version, length, and a Python dictionary with the keys descr,
 * fortran_order and shape. The dictionary is read strictly: these three keys once each in any order,
 * either quote, any white space, a comma after the last item, and nothing else.
 */
#include "internal/file.h"

#include <string.h>

#define LITTLE_ENDIAN_HOST (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

static const struct {
    const char *word;
    eqi_stored stored;
} readable[] = {
    {"b1", EQI_STORED_BOOL}, {"?", EQI_STORED_BOOL}, {"i1", EQI_STORED_I8},  {"u1", EQI_STORED_U8},
    {"i2", EQI_STORED_I16},  {"u2", EQI_STORED_U16}, {"i4", EQI_STORED_I32}, {"u4", EQI_STORED_U32},
    {"i8", EQI_STORED_I64},  {"u8", EQI_STORED_U64}, {"f4", EQI_STORED_F32}, {"f8", EQI_STORED_F64},
};

typedef struct parser {
    const char *name;
    const char *start, *at, *end;
    eqi_array *array;
    bool fortran;
} parser;

static equinv_status expected(const parser *p, const char *what)
{
    return eqi_fail(EQUINV_ERR_FORMAT,
                    "%s has an NPY header that is wrong at byte %td, expected %s", p->name,
                    p->at - p->start, what);
}

static void skip_space(parser *p)
{
    while (p->at < p->end && memchr(" \t\n\r\f", *p->at, 5))
        p->at++;
}

static bool accept(parser *p, char c)
{
    skip_space(p);
    const bool found = p->at < p->end && *p->at == c;
    p->at += found;
    return found;
}

static bool accept_word(parser *p, const char *word)
{
    const size_t length = strlen(word);
    skip_space(p);
    const bool found = (size_t)(p->end - p->at) >= length && memcmp(p->at, word, length) == 0;
    p->at += found ? length : 0;
    return found;
}

/* A string of at most 31 printable characters without escapes: all that a key or a type can be. */
static equinv_status read_string(parser *p, const char *what, char text[32])
{
    skip_space(p);
    if (p->at == p->end || (*p->at != '\'' && *p->at != '"'))
        return expected(p, what);
    const char quote = *p->at++;
    size_t length = 0;
    for (; p->at < p->end && *p->at != quote; p->at++) {
        if (length == 31 || *p->at == '\\' || *p->at < ' ' || *p->at > '~')
            return expected(p, what);
        text[length++] = *p->at;
    }
    if (p->at == p->end)
        return expected(p, "the closing quote");
    p->at++;
    text[length] = '\0';
    return EQUINV_OK;
}

static equinv_status read_descr(parser *p)
{
    char text[32];
    skip_space(p);
    EQI_CHECK(p->at == p->end || (*p->at != '[' && *p->at != '('), UNSUPPORTED,
              "%s has a structured dtype, expected numbers (f4, f8, i1 to i8, u1 to u8, b1)",
              p->name);
    EQI_TRY(read_string(p, "the dtype as a string", text));
    const bool ordered = *text && strchr("<>|=", *text);
    const char *const word = text + ordered;
    for (size_t i = 0; i < sizeof readable / sizeof *readable; i++)
        if (strcmp(word, readable[i].word) == 0) {
            const bool reversed = *text == (LITTLE_ENDIAN_HOST ? '>' : '<');
            p->array->stored = readable[i].stored;
            p->array->swap = reversed && eqi_stored_types[readable[i].stored].size > 1;
            return EQUINV_OK;
        }
    EQI_CHECK(*word && strchr("biufcOSUVaMm", *word), FORMAT,
              "%s has dtype \"%s\", which is none of NumPy's", p->name, text);
    return eqi_fail(EQUINV_ERR_UNSUPPORTED,
                    "%s has dtype \"%s\", expected f4, f8, i1 to i8, u1 to u8 or b1%s", p->name,
                    text, *word == 'O' ? " (objects are never read)" : "");
}

static equinv_status read_fortran_order(parser *p)
{
    p->fortran = accept_word(p, "True");
    return p->fortran || accept_word(p, "False") ? EQUINV_OK : expected(p, "True or False");
}

static equinv_status read_extent(parser *p, int64_t *extent)
{
    const char *const first = p->at;
    int64_t value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
        EQI_CHECK(!__builtin_mul_overflow(value, 10, &value) &&
                      !__builtin_add_overflow(value, *p->at - '0', &value),
                  FORMAT, "%s has an extent of 2^63 or more in its NPY header", p->name);
    if (p->at == first || (*first == '0' && p->at > first + 1))
        return expected(p, "an extent in decimal digits");
    *extent = value;
    return EQUINV_OK;
}

static equinv_status read_shape(parser *p)
{
    eqi_array *const a = p->array;
    if (!accept(p, '('))
        return expected(p, "the shape in parentheses");
    a->ndim = 0;
    for (bool comma = true; !accept(p, ')');) {
        if (!comma)
            return expected(p, "a comma or the closing parenthesis of the shape");
        EQI_CHECK(a->ndim < EQUINV_MAX_DIMS, UNSUPPORTED, "%s has more than %d axes", p->name,
                  EQUINV_MAX_DIMS);
        EQI_TRY(read_extent(p, &a->shape[a->ndim++]));
        comma = accept(p, ',');
        /* Without a comma Python reads (3) as a number. */
        if (a->ndim == 1 && !comma)
            return expected(p, "a comma after the first extent");
    }
    return EQUINV_OK;
}

static equinv_status read_dictionary(parser *p)
{
    static const struct {
        const char *key;
        equinv_status (*read)(parser *);
    } items[] = {
        {"descr", read_descr}, {"fortran_order", read_fortran_order}, {"shape", read_shape}};
    enum { ITEMS = sizeof items / sizeof *items };
    bool seen[ITEMS] = {false};
    if (!accept(p, '{'))
        return expected(p, "{");
    for (bool comma = true; !accept(p, '}'); comma = accept(p, ',')) {
        char key[32];
        int i = 0;
        if (!comma)
            return expected(p, "a comma or }");
        EQI_TRY(read_string(p, "a key as a string", key));
        while (i < ITEMS && strcmp(key, items[i].key) != 0)
            i++;
        EQI_CHECK(i < ITEMS, FORMAT,
                  "%s has the key \"%s\" in its NPY header, expected descr, fortran_order, shape",
                  p->name, key);
        EQI_CHECK(!seen[i], FORMAT, "%s has the key \"%s\" twice in its NPY header", p->name, key);
        seen[i] = true;
        if (!accept(p, ':'))
            return expected(p, "a colon");
        EQI_TRY(items[i].read(p));
    }
    for (int i = 0; i < ITEMS; i++)
        EQI_CHECK(seen[i], FORMAT, "%s has no key \"%s\" in its NPY header", p->name, items[i].key);
    skip_space(p);
    return p->at == p->end ? EQUINV_OK : expected(p, "white space to the end");
}

/* With one axis longer than 1, or no element, both orders are the same. */
static equinv_status check_order(const parser *p)
{
    int long_axes = 0;
    for (int32_t i = 0; i < p->array->ndim; i++)
        long_axes += p->array->shape[i] > 1;
    char shape[192];
    EQI_CHECK(
        !p->fortran || long_axes < 2 || p->array->count == 0, UNSUPPORTED,
        "%s is in Fortran order (shape %s), expected C order: numpy.ascontiguousarray makes it",
        p->name, eqi_shape_text(p->array->ndim, p->array->shape, shape, sizeof shape));
    return EQUINV_OK;
}

equinv_status eqi_npy_read_header(eqi_input *input, eqi_array *array)
{
    unsigned char head[4], length[4] = {0};
    EQI_TRY(eqi_input_need(input, head, sizeof head, "NPY header"));
    EQI_CHECK(head[0] == 'P' && head[1] == 'Y', FORMAT,
              "%s starts like an NPY file, but its sixth byte is not that of \"\\x93NUMPY\"",
              input->name);
    EQI_CHECK(head[2] >= 1 && head[2] <= 3 && head[3] == 0, UNSUPPORTED,
              "%s is NPY version %d.%d, expected 1.0, 2.0 or 3.0", input->name, head[2], head[3]);
    EQI_TRY(eqi_input_need(input, length, head[2] == 1 ? 2 : 4, "NPY header"));
    const uint32_t size = (uint32_t)length[0] | (uint32_t)length[1] << 8 |
                          (uint32_t)length[2] << 16 | (uint32_t)length[3] << 24;
    EQI_CHECK(size <= EQI_HEADER_LIMIT, FORMAT,
              "%s has an NPY header of %" PRIu32 " bytes, expected at most 16 MiB", input->name,
              size);
    char *const text = eqi_alloc(input->ctx, size);
    EQI_CHECK(text, NOMEM, "out of memory: the header of %s needs %" PRIu32 " bytes", input->name,
              size);
    parser p = {input->name, text, text, text + size, array, false};
    equinv_status status;
    EQI_TRY_GOTO(status, out, eqi_input_need(input, text, size, "NPY header"));
    EQI_TRY_GOTO(status, out, read_dictionary(&p));
    EQI_TRY_GOTO(status, out, eqi_array_measure(input->name, array));
    status = check_order(&p);
out:
    eqi_free(input->ctx, text, size);
    return status;
}

size_t eqi_npy_make_header(equinv_dtype dtype, int32_t ndim, const int64_t *shape,
                           char header[EQI_NPY_HEADER])
{
    const char *const descr = dtype == EQUINV_F32   ? "<f4"
                              : dtype == EQUINV_F64 ? "<f8"
                              : dtype == EQUINV_I32 ? "<i4"
                              : dtype == EQUINV_U32 ? "<u4"
                                                    : "|u1";
    const size_t fixed = 10; /* magic, version, length */
    char *const text = header + fixed;
    const size_t room = EQI_NPY_HEADER - fixed;
    size_t used =
        (size_t)eqi_format(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int32_t i = 0; i < ndim; i++)
        used += (size_t)eqi_format(text + used, room - used, i ? " %" PRId64 "," : "%" PRId64 ",",
                                   shape[i]);
    used -= ndim > 1; /* only one axis needs the comma after the last */
    used += (size_t)eqi_format(text + used, room - used, "), }");
    while ((fixed + used + 1) % 64 != 0)
        text[used++] = ' ';
    text[used++] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(used & 255);
    header[9] = (char)(used >> 8);
    return fixed + used;
}
