/* kind philox: words for counters and keys, bit by bit. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

void run_philox(golden_case *c)
{
    const equinv_tensor counter = want_axes(c, "counter", 2), key = want_axes(c, "key", 2);
    const equinv_tensor expected = want_axes(c, "output", 2);
    const int64_t rows = expected.shape[0];
    if (counter.dtype != EQUINV_U32 || key.dtype != EQUINV_U32 || expected.dtype != EQUINV_U32)
        MALFORMED(c, "counter, key and output are not all uint32");
    if (counter.shape[0] != rows || counter.shape[1] != 4 || key.shape[0] != rows ||
        key.shape[1] != 2 || expected.shape[1] != 4)
        MALFORMED(c, "counter, key and output are not [n, 4], [n, 2] and [n, 4]");
    const equinv_tensor words = new_output(c, EQUINV_I32, 2, expected.shape);
    equinv_tensor output = words;
    output.dtype = EQUINV_U32;
    for (int64_t i = 0; i < rows; i++)
        equinv_philox((const uint32_t *)counter.data + 4 * i, (const uint32_t *)key.data + 2 * i,
                      (uint32_t *)output.data + 4 * i);
    compare_array(c, "output", &output, EQUINV_F64);
}
#endif
