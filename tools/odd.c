/* Rows of latents with NaN or infinity. */
#include <math.h>

#include "tools/tool.h"

bool is_finite(const equinv_tensor *t, int64_t first, int64_t count)
{
    bool finite = true;
    if (t->dtype == EQUINV_F32)
        for (int64_t i = first; i < first + count; i++)
            finite = finite && isfinite(((const float *)t->data)[i]);
    else
        for (int64_t i = first; i < first + count; i++)
            finite = finite && isfinite(((const double *)t->data)[i]);
    return finite;
}

void tell_odd(const char *path, int64_t odd, int64_t rows, int64_t first, const char *others)
{
    if (odd > 0)
        tool_fail("%" PRId64 " of %" PRId64
                  " rows of %s have NaN or infinity, the first is row %" PRId64 " (from 0); %s",
                  odd, rows, path, first, others);
}

void count_odd(const char *path, const equinv_tensor *latents, const char *others)
{
    int64_t odd = 0, first = 0;
    const int64_t rows = latents->shape[0];
    const int64_t length = rows > 0 ? equinv_tensor_count(latents) / rows : 0;
    for (int64_t row = rows - 1; row >= 0; row--)
        if (!is_finite(latents, row * length, length))
            odd++, first = row;
    tell_odd(path, odd, rows, first, others);
}
