/*
 * JSON of files. Reading: the grammar (RFC 8259) is checked here, strictly and with limits, before
 * cJSON builds the tree, so that cJSON can only fail for want of memory. Writing: text that grows.
 */
#ifndef EQI_JSON_H
#define EQI_JSON_H

#include "context.h"

/* Limits of what is read: levels of { and [, and values in all. */
#define EQI_JSON_DEPTH 16
#define EQI_JSON_VALUES (1 << 20)

struct cJSON;

/*
 * Parses length bytes. Refused as FORMAT, naming the byte or the key: what is not JSON or not UTF-8,
 * keys that occur twice in an object, NUL in strings, numbers of more than 63 characters, and what is
 * beyond the limits. `what` begins the sentences: "m.safetensors has a header". UNSUPPORTED without
 * cJSON. Numbers do not depend on the locale. cJSON allocates by malloc.
 */
equinv_status eqi_json_parse(const equinv_context *ctx, const char *what, const char *text,
                             size_t length, struct cJSON **json);

void eqi_json_free(struct cJSON *json);

/* Text of a file for a sentence: quoted, cut, without control characters. */
#define EQI_QUOTED 96
const char *eqi_quoted(const char *text, char quoted[EQI_QUOTED]);

/* Whether length bytes are well-formed UTF-8. */
bool eqi_is_utf8(const char *text, size_t length);

/* Text that grows in the context's memory. After a failed allocation it stays as it was. */
typedef struct eqi_text {
    const equinv_context *ctx;
    char *at; /* NULL if empty, else ends in NUL */
    size_t length, room;
    bool failed;
} eqi_text;

/* Appends by eqi_format, at most 255 bytes a call. */
void eqi_text_add(eqi_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a JSON string with its quotes. */
void eqi_text_add_string(eqi_text *text, const char *string);

/* NOMEM naming `what` if anything could not be appended. */
equinv_status eqi_text_status(const eqi_text *text, const char *what);

void eqi_text_free(eqi_text *text);

#endif
