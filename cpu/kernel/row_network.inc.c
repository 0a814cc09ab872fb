/*
 * Batcher's network for 2 to 32 numbers of every column: the one for 32, of which the exchanges that
 * reach beyond the last number are left out, as if the missing ones were infinite. Includer sets V and
 * DO as below for one element type.
 */
#define NETWORK NAME(network)
#define NUMBER PASTE(eqi_real_, ELEMENT)

/* The smaller of two to the front. n is a constant in every copy, so that this is two instructions or none. */
#define EXCHANGE(i, j)                                                                             \
    if ((j) < n) {                                                                                 \
        const V low = DO(min)(v[i], v[j]);                                                         \
        v[j] = DO(max)(v[i], v[j]);                                                                \
        v[i] = low;                                                                                \
    }

/* Merges two sorted halves of what stands at i, i + r, i + 2 r, .. */
#define MERGE2(i, r) EXCHANGE(i, (i) + (r))
#define MERGE4(i, r)                                                                               \
    MERGE2(i, 2 * (r)) MERGE2((i) + (r), 2 * (r)) EXCHANGE((i) + (r), (i) + 2 * (r))
#define MERGE8(i, r)                                                                               \
    MERGE4(i, 2 * (r))                                                                             \
    MERGE4((i) + (r), 2 * (r))                                                                     \
    EXCHANGE((i) + (r), (i) + 2 * (r))                                                             \
    EXCHANGE((i) + 3 * (r), (i) + 4 * (r)) EXCHANGE((i) + 5 * (r), (i) + 6 * (r))
#define NEIGHBOURS4(i, r)                                                                          \
    EXCHANGE((i) + (r), (i) + 2 * (r))                                                             \
    EXCHANGE((i) + 3 * (r), (i) + 4 * (r))                                                         \
    EXCHANGE((i) + 5 * (r), (i) + 6 * (r)) EXCHANGE((i) + 7 * (r), (i) + 8 * (r))
#define MERGE16(i, r)                                                                              \
    MERGE8(i, 2 * (r))                                                                             \
    MERGE8((i) + (r), 2 * (r))                                                                     \
    NEIGHBOURS4(i, r)                                                                              \
    EXCHANGE((i) + 9 * (r), (i) + 10 * (r))                                                        \
    EXCHANGE((i) + 11 * (r), (i) + 12 * (r)) EXCHANGE((i) + 13 * (r), (i) + 14 * (r))
#define MERGE32                                                                                    \
    MERGE16(0, 2)                                                                                  \
    MERGE16(1, 2)                                                                                  \
    NEIGHBOURS4(0, 1)                                                                              \
    NEIGHBOURS4(8, 1)                                                                              \
    NEIGHBOURS4(16, 1) EXCHANGE(25, 26) EXCHANGE(27, 28) EXCHANGE(29, 30)

#define SORT2(i) EXCHANGE(i, (i) + 1)
#define SORT4(i) SORT2(i) SORT2((i) + 2) MERGE4(i, 1)
#define SORT8(i) SORT4(i) SORT4((i) + 4) MERGE8(i, 1)
#define SORT16(i) SORT8(i) SORT8((i) + 8) MERGE16(i, 1)

#define LOAD(i)                                                                                    \
    if ((i) < n)                                                                                   \
        v[i] = DO(load)(at + (i)*step);
#define STORE(i)                                                                                   \
    if ((i) < n)                                                                                   \
        DO(store)(at + (i)*step, v[i]);
#define EACH4(do, i)                                                                               \
    do                                                                                             \
    (i) do((i) + 1) do((i) + 2) do((i) + 3)
#define EACH16(do, i) EACH4(do, i) EACH4(do, (i) + 4) EACH4(do, (i) + 8) EACH4(do, (i) + 12)

/* at[i step] is sorted, i < n: both halves first, or only their merging. */
static inline __attribute__((always_inline)) void NETWORK(NUMBER *at, const int64_t step,
                                                          const int n, const bool merge_only)
{
    V v[32];
    EACH16(LOAD, 0)
    EACH16(LOAD, 16)
    if (!merge_only) {
        SORT16(0)
        SORT16(16)
    }
    MERGE32
    EACH16(STORE, 0)
    EACH16(STORE, 16)
}

static __attribute__((noinline)) void NAME(merge)(NUMBER *at, int64_t step)
{
    NETWORK(at, step, 32, true);
}

#define CASE(i)                                                                                    \
    case i: NETWORK(at, WIDTH, i, false); break;

/* The first n <= 32 of a column of vectors. */
static __attribute__((noinline)) void NAME(sort_short)(NUMBER *at, int n)
{
    switch (n) {
        EACH4(CASE, 2)
        EACH4(CASE, 6)
        EACH4(CASE, 10)
        EACH4(CASE, 14)
        EACH4(CASE, 18)
        EACH4(CASE, 22)
        EACH4(CASE, 26)
        CASE(30)
        CASE(31)
        CASE(32)
    default: break;
    }
}

/* Of more than 32 two sorted parts are merged, the second as if infinite numbers filled it. */
static void NAME(sort_column)(NUMBER *at, int n)
{
    if (n <= 32) {
        NAME(sort_short)(at, n);
        return;
    }
    for (int i = n; i < EQI_ROWS_MOST; i++)
        DO(store)(at + i * WIDTH, DO(broadcast)((NUMBER)INFINITY));
    NAME(sort_short)(at, 32);
    NAME(sort_short)(at + 32 * WIDTH, n - 32);
    NAME(merge)(at, 2 * WIDTH);
    NAME(merge)(at + WIDTH, 2 * WIDTH);
    for (int i = 1; i + 1 < n; i += 2) {
        const V a = DO(load)(at + i * WIDTH), b = DO(load)(at + (i + 1) * WIDTH);
        DO(store)(at + i * WIDTH, DO(min)(a, b));
        DO(store)(at + (i + 1) * WIDTH, DO(max)(a, b));
    }
}

#undef NETWORK
#undef NUMBER
#undef EXCHANGE
#undef MERGE2
#undef MERGE4
#undef MERGE8
#undef MERGE16
#undef MERGE32
#undef NEIGHBOURS4
#undef SORT2
#undef SORT4
#undef SORT8
#undef SORT16
#undef LOAD
#undef STORE
#undef EACH4
#undef EACH16
#undef CASE
