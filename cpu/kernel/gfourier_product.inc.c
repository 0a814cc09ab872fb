/* Products of packed filters and P^, tile by tile, included by gfourier.inc.c. */
typedef struct tile {
    vf32 sum[ROWS][VECTORS];
} tile;

typedef struct tile_call {
    int32_t steps; /* 0: no transform ahead */
    bool accumulate;
    int32_t output, pixels; /* where there is p->to: the tile's first, and how many are wanted */
} tile_call;

/* A tile that the last pixels do not fill, or that has more to be done. */
static __attribute__((noinline)) void put_tile(const eqi_gf_inverse *t, const tile *sums, int rows,
                                               tile_call call, float *to)
{
    for (int r = 0; r < rows; r++, to += t->field) {
        const finish end = finish_of(t, call.output + r);
        for (int v = 0; v * LANES < call.pixels; v++) {
            const int left = call.pixels - v * LANES;
            put(to + v * LANES, finished(&end, sums->sum[r][v]), t->accumulate,
                left < LANES ? left : LANES);
        }
    }
}

INLINE void tile_step(tile *t, const float *filter, const float *src, const int rows,
                      const int vectors)
{
    vf32 x[VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
    {
        x[v] = vf32_load(src + v * LANES);
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        const vf32 w = vf32_broadcast(filter[r]);
        UNROLL for (int v = 0; v < vectors; v++)
        {
            t->sum[r][v] = vf32_fma(w, x[v], t->sum[r][v]);
        }
    }
}

/* Sums in registers to the map: mostly whole vectors with nothing but a bias to add. */
INLINE void put_sums(const eqi_gf_inverse *t, const tile *sums, const int rows, const int vectors,
                     tile_call call, float *to)
{
    if (call.pixels < vectors * LANES || t->accumulate || t->finish.norm || t->finish.relu) {
        tile copy; /* or all sums would have to have an address */
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int v = 0; v < vectors; v++)
            {
                copy.sum[r][v] = sums->sum[r][v];
            }
        }
        put_tile(t, &copy, rows, call, to);
        return;
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        const vf32 bias = vf32_broadcast(t->bias ? t->bias[call.output + r] : 0);
        UNROLL for (int v = 0; v < vectors; v++)
        {
            float *const at = to + r * t->field + v * LANES;
            PREFETCH_WRITE(at + VECTORS * LANES);
            vf32_store(at, add(sums->sum[r][v], bias));
        }
    }
}

/*
 * Rows of src stand at at[k], or `pitch` floats apart (NULL: a table costs 5 % of the time, so that both are
 * compiled). A step of the transform ahead after each `steps` of the product. What dst holds is added last: chains of
 * additions are as short as the parts are, and lose less.
 */
INLINE void run_tile(const eqi_gf_product *p, const float *filter, const float *src, float *dst,
                     const int rows, const int vectors, const int64_t *at, vector_transform *vector,
                     const int inputs, tile_call call)
{
    const int64_t pitch = p->pitch;
    tile t;
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            t.sum[r][v] = vf32_broadcast(0);
        }
    }
    int64_t k = 0;
    if (vector) {
        eqi_gf_transform *const ahead = p->ahead;
        for (; k + call.steps <= p->k && ahead->at.field < ahead->fields; k += call.steps) {
            for (int64_t i = 0; i < call.steps; i++, filter += rows, src += pitch)
                tile_step(&t, filter, src, rows, vectors);
            transform_step(ahead, vector, inputs, VECTORS * LANES);
        }
    }
    if (at)
        for (; k < p->k; k++, filter += rows)
            tile_step(&t, filter, src + at[k], rows, vectors);
    else
        for (; k < p->k; k++, filter += rows, src += pitch)
            tile_step(&t, filter, src, rows, vectors);
    if (at && p->to) {
        put_sums(p->to, &t, rows, vectors, call, dst);
        return;
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            float *const to = dst + r * pitch + v * LANES;
            vf32_store(to, call.accumulate ? add(vf32_load(to), t.sum[r][v]) : t.sum[r][v]);
        }
    }
}

typedef void tile_function(const eqi_gf_product *, const float *, const float *, float *,
                           tile_call);

/* One function for each size up to the tile; those beyond it are empty. */
#define EACH_ROW(DO_THIS, v)                                                                       \
    DO_THIS(1, v)                                                                                  \
    DO_THIS(2, v)                                                                                  \
    DO_THIS(3, v) DO_THIS(4, v) DO_THIS(5, v) DO_THIS(6, v) DO_THIS(7, v) DO_THIS(8, v)
#define EACH_SIZE(DO_THIS) EACH_ROW(DO_THIS, 1) EACH_ROW(DO_THIS, 2) EACH_ROW(DO_THIS, 3)
#define FUNCTION(r, v)                                                                             \
    static __attribute__((noinline)) void run_##r##x##v(const eqi_gf_product *p, const float *f,   \
                                                        const float *s, float *d, tile_call call)  \
    {                                                                                              \
        if ((r) <= ROWS && (v) <= VECTORS)                                                         \
            run_tile(p, f, s, d, (r) <= ROWS ? (r) : 0, (v) <= VECTORS ? (v) : 0, NULL, NULL, 0,   \
                     call);                                                                        \
    }                                                                                              \
    static __attribute__((noinline)) void plain_##r##x##v(                                         \
        const eqi_gf_product *p, const float *f, const float *s, float *d, tile_call call)         \
    {                                                                                              \
        if ((r) <= ROWS && (v) <= VECTORS)                                                         \
            run_tile(p, f, s, d, (r) <= ROWS ? (r) : 0, (v) <= VECTORS ? (v) : 0, p->at, NULL, 0,  \
                     call);                                                                        \
    }
#define ADDRESS(r, v) run_##r##x##v,
#define PLAIN_ADDRESS(r, v) plain_##r##x##v,

EACH_SIZE(FUNCTION)

#if WOVEN
#define WOVEN_TILE(r, name, inputs)                                                                \
    static __attribute__((noinline)) void woven_##name##_##r(                                      \
        const eqi_gf_product *p, const float *f, const float *s, float *d, tile_call call)         \
    {                                                                                              \
        run_tile(p, f, s, d, r, VECTORS, NULL, vector_##name, inputs, call);                       \
    }
#define WOVEN_TILES(name, inputs)                                                                  \
    WOVEN_TILE(1, name, inputs)                                                                    \
    WOVEN_TILE(2, name, inputs)                                                                    \
    WOVEN_TILE(3, name, inputs)                                                                    \
    WOVEN_TILE(4, name, inputs)                                                                    \
    WOVEN_TILE(5, name, inputs)                                                                    \
    WOVEN_TILE(6, name, inputs)                                                                    \
    WOVEN_TILE(7, name, inputs)                                                                    \
    WOVEN_TILE(8, name, inputs)
#define WOVEN_ADDRESSES(name, inputs)                                                              \
    {woven_##name##_1, woven_##name##_2, woven_##name##_3, woven_##name##_4,                       \
     woven_##name##_5, woven_##name##_6, woven_##name##_7, woven_##name##_8},
EACH_KIND(WOVEN_TILES)
static tile_function *const woven[EQI_GF_KINDS][ROWS] = {EACH_KIND(WOVEN_ADDRESSES)};
#else
static tile_function *const woven[EQI_GF_KINDS][ROWS];
#endif

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Steps of the product for each of the transform ahead, made just in time; 0: none is woven in. */
static int32_t steps_between(const eqi_gf_product *p)
{
    const eqi_gf_transform *const t = WOVEN ? p->ahead : NULL;
    if (!t)
        return 0;
    const int64_t tiles = p->form->terms * divide_up(p->rows, ROWS) * (p->vectors / VECTORS);
    if (tiles == 0)
        return 0;
    const int64_t ahead = t->fields * t->taps * t->runs * divide_up(t->pixels, VECTORS * LANES);
    const int64_t steps = p->k / divide_up(ahead, tiles);
    return steps > 1 ? (int32_t)steps : 1;
}

static void product_rows(const eqi_gf_product *p, const float *filter, const float *src, float *dst,
                         int64_t rows, tile_call call)
{
    static tile_function *const sizes[] = {EACH_SIZE(ADDRESS)};
    static tile_function *const plain[] = {EACH_SIZE(PLAIN_ADDRESS)};
    int64_t vectors;
    for (int64_t v = 0; v < p->vectors; v += vectors) {
        const int64_t left = p->vectors - v;
        vectors = left < VECTORS ? left : left == VECTORS + 1 ? VECTORS - 1 : VECTORS;
        const bool weave =
            call.steps && vectors == VECTORS && p->ahead->at.field < p->ahead->fields;
        const int64_t size = 8 * (vectors - 1) + rows - 1;
        tile_function *const run = weave   ? woven[p->kind][rows - 1]
                                   : p->at ? plain[size]
                                           : sizes[size];
        if (p->to) {
            const int64_t wanted = p->to->pixels - v * LANES;
            call.pixels = (int32_t)(wanted < vectors * LANES ? wanted : vectors * LANES);
        }
        run(p, filter, src + v * LANES, dst + v * LANES, call);
    }
}

static void product(const eqi_gf_product *p)
{
    float *const to = p->to ? p->to->dst : p->dst;
    const int64_t pitch = p->to ? p->to->field : p->pitch;
    tile_call call = {.steps = steps_between(p)};
    for (int i = 0; i < p->form->terms; i++) {
        const eqi_gf_term t = p->form->term[i];
        const bool first = i == 0 || t.dst != p->form->term[i - 1].dst;
        call.accumulate = p->accumulate || !first;
        for (int64_t r = 0; r < p->rows; r += ROWS) {
            const int64_t rows = p->rows - r < ROWS ? p->rows - r : ROWS;
            call.output = (int32_t)r;
            product_rows(p, p->filter + (t.filter * p->rows + r) * p->all_k + p->first * rows,
                         p->src + t.src * p->k * p->pitch, to + (t.dst * p->rows + r) * pitch, rows,
                         call);
        }
    }
}
