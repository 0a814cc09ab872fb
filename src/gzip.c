/* gzip input: members of a file one after another, never more decompressed than was asked for. */
#include "internal/file.h"

#ifdef EQI_HAVE_ZLIB

#include <limits.h>
#include <string.h>
#include <zlib.h>

typedef struct eqi_gzip {
    z_stream stream;
    bool between; /* a member has ended, and no byte of another was seen */
} eqi_gzip;

/* The size is kept in front, one alignment unit before zlib's part: free must be told. */
static void *zlib_alloc(void *ctx, unsigned items, unsigned size)
{
    const size_t bytes = EQI_ALIGNMENT + (size_t)items * size;
    char *const block = eqi_alloc(ctx, bytes);
    if (!block)
        return NULL;
    memcpy(block, &bytes, sizeof bytes);
    return block + EQI_ALIGNMENT;
}

static void zlib_free(void *ctx, void *ptr)
{
    char *const block = (char *)ptr - EQI_ALIGNMENT;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    eqi_free(ctx, block, bytes);
}

static equinv_status zlib_failed(const eqi_input *input, int code)
{
    EQI_CHECK(code != Z_MEM_ERROR, NOMEM, "out of memory: zlib needs more to read %s", input->name);
    EQI_CHECK(code == Z_DATA_ERROR || code == Z_NEED_DICT, BACKEND, "zlib gave %d while reading %s",
              code, input->name);
    const char *const reason = input->gzip->stream.msg;
    return eqi_fail(EQUINV_ERR_FORMAT, "%s is damaged after %" PRId64 " uncompressed bytes: %s",
                    input->name, input->delivered, reason ? reason : "not gzip data");
}

equinv_status eqi_gzip_create(eqi_input *input)
{
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(input->ctx, 1, sizeof(eqi_gzip), "a reader", &memory));
    eqi_gzip *const gzip = memory;
    gzip->stream.zalloc = zlib_alloc;
    gzip->stream.zfree = zlib_free;
    gzip->stream.opaque = input->ctx;
    const int code =
        inflateInit2(&gzip->stream, 16 + MAX_WBITS); /* 16: gzip alone, checked by CRC */
    if (code != Z_OK) {
        eqi_free(input->ctx, gzip, sizeof *gzip);
        return zlib_failed(input, code == Z_MEM_ERROR ? code : Z_VERSION_ERROR);
    }
    input->gzip = gzip;
    return EQUINV_OK;
}

void eqi_gzip_destroy(eqi_input *input)
{
    if (!input->gzip)
        return;
    inflateEnd(&input->gzip->stream);
    eqi_free(input->ctx, input->gzip, sizeof *input->gzip);
}

equinv_status eqi_gzip_read(eqi_input *input, void *bytes, size_t size, size_t *got)
{
    eqi_gzip *const gzip = input->gzip;
    z_stream *const z = &gzip->stream;
    *got = 0;
    while (*got < size) {
        if (input->begin == input->end) {
            EQI_TRY(eqi_input_fill(input));
            if (input->begin == input->end && gzip->between)
                break;
            EQI_CHECK(input->begin < input->end, FORMAT,
                      "%s ends inside its compressed data, after %" PRId64 " uncompressed bytes",
                      input->name, input->delivered + (int64_t)*got);
        }
        if (gzip->between) {
            EQI_CHECK(input->buffer[input->begin] == 0x1f, FORMAT,
                      "%s has bytes after its compressed data, expected its end or another member",
                      input->name);
            inflateReset(z);
            gzip->between = false;
        }
        const size_t rest = size - *got;
        z->next_in = input->buffer + input->begin;
        z->avail_in = (unsigned)(input->end - input->begin);
        z->next_out = (unsigned char *)bytes + *got;
        z->avail_out = rest < UINT_MAX ? (unsigned)rest : UINT_MAX;
        const int code = inflate(z, Z_NO_FLUSH);
        input->begin = input->end - z->avail_in;
        *got = (size_t)(z->next_out - (unsigned char *)bytes);
        if (code == Z_STREAM_END)
            gzip->between = true;
        else if (code != Z_OK && code != Z_BUF_ERROR)
            return zlib_failed(input, code);
    }
    return EQUINV_OK;
}

#else

equinv_status eqi_gzip_create(eqi_input *input)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED,
                    "%s is compressed with gzip, which this build cannot read (it has no zlib)",
                    input->name);
}

void eqi_gzip_destroy(eqi_input *input)
{
    (void)input;
}

equinv_status eqi_gzip_read(eqi_input *input, void *bytes, size_t size, size_t *got)
{
    (void)bytes;
    (void)size;
    *got = 0;
    return eqi_fail(EQUINV_ERR_INTERNAL, "%s was opened as gzip in a build without zlib",
                    input->name);
}

#endif
