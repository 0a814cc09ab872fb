/* NPY: the file as it is, and the input as the dictionary of one. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz_array.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char file[10 + 512 + 24] = "\x93NUMPY\x01";
    fuzz_array(data, size);
    if (size <= 512) {
        file[8] = (unsigned char)(size & 255);
        file[9] = (unsigned char)(size >> 8);
        memcpy(file + 10, data, size);
        fuzz_array(file, 10 + size);
        fuzz_array(file, 10 + size + 24);
    }
    return 0;
}
