/*
 * What the gradient of the filter needs, included by gfourier.inc.c: sums over pixels of products of rows,
 * SUM_ROWS x SUM_COLUMNS of them in registers at a time, and the way from the sums back to the filter.
 */
typedef struct sum_tile {
    vf32 sum[SUM_ROWS][SUM_COLUMNS]; /* lanes apart until the end */
} sum_tile;

/* `some` pixels; the others of the vector are not read. */
INLINE void sum_step(sum_tile *t, const float *const *a, const float *b, int64_t pitch,
                     const int rows, const int columns, int some)
{
    vf32 left[SUM_ROWS];
    UNROLL for (int i = 0; i < rows; i++)
    {
        left[i] = some < LANES ? vf32_load_part(a[i], 0, some) : vf32_load(a[i]);
    }
    UNROLL for (int j = 0; j < columns; j++)
    {
        const float *const from = b + j * pitch;
        const vf32 right =
            vf32_keep(some < LANES ? vf32_load_part(from, 0, some) : vf32_load(from));
        UNROLL for (int i = 0; i < rows; i++)
        {
            t->sum[i][j] = vf32_fma(left[i], right, t->sum[i][j]);
        }
    }
}

/* rows x columns sums in registers. */
INLINE void run_sums(const eqi_gf_sums *s, const int64_t *at, const float *b, float *to,
                     const int rows, const int columns)
{
    sum_tile t;
    const float *a[SUM_ROWS];
    UNROLL for (int i = 0; i < rows; i++)
    {
        a[i] = s->a + at[i];
        UNROLL for (int j = 0; j < columns; j++)
        {
            t.sum[i][j] = vf32_broadcast(0);
        }
    }
    int64_t x = 0;
    for (; x + LANES <= s->pixels; x += LANES) {
        sum_step(&t, a, b + x, s->pitch, rows, columns, LANES);
        UNROLL for (int i = 0; i < rows; i++)
        {
            a[i] += LANES;
        }
    }
    if (x < s->pixels)
        sum_step(&t, a, b + x, s->pitch, rows, columns, (int)(s->pixels - x));
    /* Four columns of a row at a time, and two such groups. */
    const int fours = columns / 4, groups = rows * fours;
    UNROLL for (int g = 0; g + 2 <= groups; g += 2)
    {
        const int i = g / fours, j = 4 * (g % fours), k = (g + 1) / fours,
                  l = 4 * ((g + 1) % fours);
        vf32_add_sums(to + i * s->columns + j, t.sum[i] + j, to + k * s->columns + l, t.sum[k] + l);
    }
    UNROLL for (int i = 0; i < rows; i++)
    {
        const bool single = groups % 2 && i == rows - 1; /* the last group has no other beside it */
        UNROLL for (int j = single ? 4 * (fours - 1) : 4 * fours; j < columns; j++)
        {
            to[i * s->columns + j] += vf32_sum(t.sum[i][j]);
        }
    }
}

/* As many rows as registers hold for the columns; sizes beyond that are empty. */
#define EACH_SUM_ROW(DO_THIS, c)                                                                   \
    DO_THIS(1, c) DO_THIS(2, c) DO_THIS(3, c) DO_THIS(4, c) DO_THIS(5, c) DO_THIS(6, c)
#define EACH_SUM(DO_THIS)                                                                          \
    EACH_SUM_ROW(DO_THIS, 1)                                                                       \
    EACH_SUM_ROW(DO_THIS, 2)                                                                       \
    EACH_SUM_ROW(DO_THIS, 3)                                                                       \
    EACH_SUM_ROW(DO_THIS, 4)                                                                       \
    EACH_SUM_ROW(DO_THIS, 5)                                                                       \
    EACH_SUM_ROW(DO_THIS, 6) EACH_SUM_ROW(DO_THIS, 7) EACH_SUM_ROW(DO_THIS, 8)
#define SUM_FITS(r, c) ((c) <= SUM_COLUMNS && (r) * (c) <= SUM_TILE && (r) <= SUM_ROWS)
#define SUM_FUNCTION(r, c)                                                                         \
    static __attribute__((noinline)) void sums_##r##x##c(const eqi_gf_sums *s, const int64_t *at,  \
                                                         const float *b, float *to)                \
    {                                                                                              \
        if (SUM_FITS(r, c))                                                                        \
            run_sums(s, at, b, to, SUM_FITS(r, c) ? (r) : 0, SUM_FITS(r, c) ? (c) : 0);            \
    }
#define SUM_ADDRESS(r, c) sums_##r##x##c,

EACH_SUM(SUM_FUNCTION)

/* A block of columns stays in L1 while all rows pass. */
static void sums(const eqi_gf_sums *s)
{
    static void (*const sizes[])(const eqi_gf_sums *, const int64_t *, const float *,
                                 float *) = {EACH_SUM(SUM_ADDRESS)};
    const int64_t most = s->columns < SUM_COLUMNS ? s->columns : SUM_COLUMNS;
    const int64_t fit = SUM_TILE / most < SUM_ROWS ? SUM_TILE / most : SUM_ROWS;
    for (int64_t j = 0; j < s->columns; j += SUM_COLUMNS) {
        const int64_t columns = s->columns - j < SUM_COLUMNS ? s->columns - j : SUM_COLUMNS;
        for (int64_t i = 0; i < s->rows; i += fit) {
            const int64_t rows = s->rows - i < fit ? s->rows - i : fit;
            sizes[6 * (columns - 1) + rows - 1](s, s->at + i, s->b + j * s->pitch,
                                                s->sums + i * s->columns + j);
        }
    }
}

/* to[i] += from[i]: parts of a sum, in their order. */
static void add_part(float *to, const float *from, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vf32_store(to + i, add(vf32_load(to + i), vf32_load(from + i)));
    for (; i < count; i++)
        to[i] += from[i];
}

INLINE void fold_vector(const eqi_gf_fold *f, float *at, const bool whole, int count)
{
    vf32 e[EQI_GF_COMPONENTS];
    for (int c = 0; c < f->components; c++) {
        const float *const from = at + c * f->component;
        e[c] = whole ? vf32_load(from) : vf32_load_part(from, 0, count);
    }
    for (int a = 0; a < f->values; a++) {
        vf32 phi = vf32_broadcast(0);
        for (int c = 0; c < f->components; c++)
            phi = vf32_fma(vf32_broadcast(f->adjoint[a][c]), e[c], phi);
        if (whole)
            vf32_store(at + a * f->component, phi);
        else
            vf32_store_part(at + a * f->component, phi, count);
    }
}

static void fold(const eqi_gf_fold *f)
{
    int64_t i = 0;
    for (; i + LANES <= f->count; i += LANES)
        fold_vector(f, f->entries + i, true, LANES);
    if (i < f->count)
        fold_vector(f, f->entries + i, false, (int)(f->count - i));
}
