#include "tests/util/guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static const char mark = 0x5a;

guarded guarded_new(size_t size, size_t alignment, guard_side side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inside = (size + page) / page * page; /* one byte at least */
    guarded g = {.size = size, .pages_size = inside + 2 * page};
    const int zeros = open("/dev/zero", O_RDWR);
    g.pages = mmap(NULL, g.pages_size, PROT_NONE, MAP_PRIVATE, zeros, 0);
    close(zeros);
    ck_assert(g.pages != MAP_FAILED);
    ck_assert_int_eq(mprotect(g.pages + page, inside, PROT_READ | PROT_WRITE), 0);
    memset(g.pages + page, mark, inside);
    g.data = g.pages + page;
    if (side == GUARD_BEHIND)
        g.data += (inside - size) / alignment * alignment;
    return g;
}

void guarded_free(guarded *g)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *at = g->pages + page;
    while (at < g->data && *at == mark)
        at++;
    if (at == g->data)
        at += g->size;
    while (at < g->pages + g->pages_size - page && *at == mark)
        at++;
    ck_assert_msg(at == g->pages + g->pages_size - page, "byte %lld of a buffer of %zu was written",
                  (long long)(at - g->data), g->size);
    munmap(g->pages, g->pages_size);
}

equinv_tensor guarded_copy(const equinv_tensor *t, guard_side side, guarded *g)
{
    const int64_t count = equinv_tensor_count(t), element = (int64_t)equinv_dtype_size(t->dtype);
    int64_t low = 0, high = 0;
    for (int axis = 0; count > 0 && axis < t->ndim; axis++) {
        const int64_t reach = (t->shape[axis] - 1) * t->strides[axis];
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    *g = guarded_new(count > 0 ? (size_t)((high - low + 1) * element) : 0, (size_t)element, side);
    equinv_tensor copy = *t;
    copy.data = g->data - low * element;
    for (int64_t i = 0; i < count; i++)
        tensor_set(&copy, i, tensor_get(t, i));
    return copy;
}
