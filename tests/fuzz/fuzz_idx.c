/* IDX: the file as it is, and the input behind the two zeros that all of them begin with. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz_array.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char file[512] = {0};
    fuzz_array(data, size);
    if (size <= sizeof file - 2) {
        memcpy(file + 2, data, size);
        fuzz_array(file, 2 + size);
    }
    return 0;
}
