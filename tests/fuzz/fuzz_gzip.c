/* gzip: the file as it is; and the input compressed must be read as the input is. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz_array.h"

#ifdef EQI_HAVE_ZLIB
#include <zlib.h>

static void compressed_is_the_same(const uint8_t *data, size_t size)
{
    static unsigned char packed[8192];
    z_stream z = {0};
    if (size > 4096 || (size >= 2 && data[0] == 0x1f && data[1] == 0x8b))
        return;
    FUZZ_CHECK(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (unsigned char *)data;
    z.avail_in = (unsigned)size;
    z.next_out = packed;
    z.avail_out = sizeof packed;
    FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    const size_t length = sizeof packed - z.avail_out;
    deflateEnd(&z);
    const equinv_status plain = fuzz_array(data, size), undone = fuzz_array(packed, length);
    /* A false promise is seen before memory is asked for only in a plain file. */
    FUZZ_CHECK(plain == undone || undone == EQUINV_ERR_NOMEM || plain == EQUINV_ERR_NOMEM ||
               (plain == EQUINV_ERR_FORMAT && undone == EQUINV_ERR_ARG));
}
#else
static void compressed_is_the_same(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_array(data, size);
    compressed_is_the_same(data, size);
    return 0;
}
