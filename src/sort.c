#include "internal/sort.h"

#include <string.h>

enum { RUN = 12 };

static void insert_sorted(eqi_item *items, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        const eqi_item item = items[i];
        int64_t j = i;
        for (; j > 0 && eqi_before(item.value, items[j - 1].value); j--)
            items[j] = items[j - 1];
        items[j] = item;
    }
}

static void merge(const eqi_item *a, const eqi_item *a_end, const eqi_item *b,
                  const eqi_item *b_end, eqi_item *to)
{
    while (a < a_end && b < b_end)
        *to++ = eqi_before(b->value, a->value) ? *b++ : *a++;
    while (a < a_end)
        *to++ = *a++;
    while (b < b_end)
        *to++ = *b++;
}

/* Insertion into short runs, then merging of neighbours; both keep equal items in their order. */
void eqi_sort(eqi_item *items, int64_t count, eqi_item *room)
{
    for (int64_t i = 0; i < count; i += RUN)
        insert_sorted(items + i, count - i < RUN ? count - i : RUN);
    eqi_item *from = items, *to = room;
    for (int64_t width = RUN; width < count; width *= 2) {
        for (int64_t i = 0; i < count; i += 2 * width) {
            const int64_t middle = count - i < width ? count : i + width;
            const int64_t end = count - i < 2 * width ? count : i + 2 * width;
            merge(from + i, from + middle, from + middle, from + end, to + i);
        }
        eqi_item *const swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, (size_t)count * sizeof *items);
}
