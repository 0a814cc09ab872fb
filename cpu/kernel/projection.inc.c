/*
 * Kernels of cpu/gfourier/projection.c: orbits to Fourier coefficients, back, and to codes.
 *
 * Layout  A vector holds the same member of LANES orbits: transforms and reductions are plain
 *         arithmetic on vectors, and only latents on their way in and codes of every element on
 *         their way out are turned.
 *
 * The includer sets a header of cpu/simd/.
 */
#include "cpu/gfourier/projection.h"

#include <math.h>
#include <string.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define EQI_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EQI_UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    LANES = vf32_lanes,
    FIXED = 16, /* the largest n whose transforms are written out */
    HALVINGS = 4,
    MOST_TOGETHER = 4 /* frequencies that are summed beside each other */
};

/* ---- transforms ------------------------------------------------------------------------------ */

/* Where the cosine of frequency 0 < j < n / 2 stands; the sine is behind it. */
INLINE int pair_at(const int n, int j)
{
    return (n % 2 == 0 ? 2 : 1) + 2 * (j - 1);
}

INLINE vf32 turn(const float *table, int steps)
{
    return vf32_broadcast(table[steps]);
}

/* Of 0 .. n - 1, by as many steps: a remainder would cost more than the products between two of them. */
INLINE int next_turn(int at, int by, const int n)
{
    return at + by < n ? at + by : at + by - n;
}

/* a x, added to a sum that begins with the first term. */
INLINE vf32 plus_product(bool first, vf32 sum, vf32 a, vf32 x)
{
    return first ? vf32_mul(a, x) : vf32_fma(a, x, sum);
}

INLINE vf32 plus(bool first, vf32 sum, vf32 x)
{
    return first ? x : vf32_add(sum, x);
}

INLINE void exchange(vf32 *a, vf32 *b)
{
    const vf32 v = *a;
    *a = *b;
    *b = v;
}

#include "cpu/kernel/projection_cyclic.inc.c"
#include "cpu/kernel/projection_fft.inc.c"

/* Written out for the usual n, where everything stays in registers. */
#define EACH_N(DO_THIS)                                                                            \
    DO_THIS(1)                                                                                     \
    DO_THIS(2)                                                                                     \
    DO_THIS(3)                                                                                     \
    DO_THIS(4)                                                                                     \
    DO_THIS(5) DO_THIS(6) DO_THIS(7) DO_THIS(8) DO_THIS(9) DO_THIS(10) DO_THIS(12) DO_THIS(16)
#define FUNCTIONS(n)                                                                               \
    static void analyse_c##n(const eqi_orbit_transform *t)                                         \
    {                                                                                              \
        vf32 x[n], c[n];                                                                           \
        analyse_all(t, n, false, x, c);                                                            \
    }                                                                                              \
    static void analyse_d##n(const eqi_orbit_transform *t)                                         \
    {                                                                                              \
        vf32 x[2 * n], c[2 * n];                                                                   \
        analyse_all(t, n, true, x, c);                                                             \
    }                                                                                              \
    static void synthesise_c##n(const eqi_orbit_transform *t)                                      \
    {                                                                                              \
        vf32 x[n], c[n];                                                                           \
        synthesise_all(t, n, false, x, c);                                                         \
    }                                                                                              \
    static void synthesise_d##n(const eqi_orbit_transform *t)                                      \
    {                                                                                              \
        vf32 x[2 * n], c[2 * n];                                                                   \
        synthesise_all(t, n, true, x, c);                                                          \
    }
#define ROW(n) [n] = {{analyse_c##n, analyse_d##n}, {synthesise_c##n, synthesise_d##n}},

EACH_N(FUNCTIONS)

typedef void transform(const eqi_orbit_transform *t);
static transform *const fixed[FIXED + 1][2][2] = {EACH_N(ROW)};

static transform *fixed_transform(const eqi_orbit_group *group, bool back)
{
    return group->n <= FIXED ? fixed[group->n][back][group->dihedral] : NULL;
}

static void analyse(const eqi_orbit_transform *t)
{
    transform *const run = fixed_transform(t->group, false);
    if (run)
        run(t);
    else
        analyse_passes(t, (vf32 *)t->room);
}

static void synthesise(const eqi_orbit_transform *t)
{
    transform *const run = fixed_transform(t->group, true);
    if (run)
        run(t);
    else
        synthesise_passes(t, (vf32 *)t->room);
}

/* ---- latents to rows of members -------------------------------------------------------------- */

/*
 * Latents without gaps are read in pieces of 16 bytes, LANES orbits at a time, which is no order
 * that the processor sees through: the lines of a few vectors later are asked for.
 */
INLINE void fetch_ahead(const float *at, int64_t field, int32_t order)
{
    enum { AHEAD = 8, LINE = 16 };
    for (int64_t i = 0; i < LANES * field && field == order; i += LINE)
        __builtin_prefetch(at + AHEAD * LANES * field + i);
}

/* Members are neighbours: 4 of them of LANES fields become 4 vectors. */
static void stage_quads(const float *from, int64_t field, int32_t order, int64_t count, float *to,
                        int64_t step)
{
    for (int64_t i = 0; i + LANES <= count; i += LANES) {
        fetch_ahead(from + i * field, field, order);
        for (int32_t a = 0; a < order; a += 4) {
            vf32 quad[4];
            vf32_load_turned(from + i * field + a, field, quad);
            EQI_UNROLL for (int r = 0; r < 4; r++)
            {
                vf32_store(to + (a + r) * step + i, quad[r]);
            }
        }
    }
}

static void stage(const float *from, int64_t field, const int64_t *member, int32_t order,
                  int64_t count, float *to, int64_t step)
{
    int64_t done = 0;
    if (field != 1 && order % 4 == 0 && eqi_is_run(member, order)) {
        stage_quads(from + member[0], field, order, count, to, step);
        done = count / LANES * LANES;
    }
    for (int32_t a = 0; a < order; a++) {
        const float *const row = from + member[a];
        if (field == 1)
            memcpy(to + a * step, row, (size_t)count * sizeof *to);
        else
            for (int64_t i = done; i < count; i++)
                to[a * step + i] = row[i * field];
        for (int64_t i = count; i % LANES != 0; i++)
            to[a * step + i] = 0;
    }
}

static void unstage(const float *from, int64_t step, const int64_t *member, int32_t order,
                    int64_t count, bool adds, float *to, int64_t field)
{
    int64_t done = 0;
    if (field != 1 && order % 4 == 0 && eqi_is_run(member, order))
        for (; done + LANES <= count; done += LANES)
            for (int32_t a = 0; a < order; a += 4) {
                float *const at = to + done * field + member[a];
                vf32 quad[4], sum[4];
                if (adds)
                    vf32_load_turned(at, field, sum);
                EQI_UNROLL for (int r = 0; r < 4; r++)
                {
                    quad[r] = vf32_load(from + (a + r) * step + done);
                    quad[r] = adds ? vf32_add(sum[r], quad[r]) : quad[r];
                }
                vf32_store_turned(at, field, quad);
            }
    for (int32_t a = 0; a < order; a++)
        for (int64_t i = done; i < count; i++) {
            float *const at = to + member[a] + i * field;
            const float value = from[a * step + i];
            *at = adds ? *at + value : value;
        }
}

/* By fours, in this order on every way: a sum's bits do not depend on strides. */
static void sum(const float *from, int64_t field, const int64_t *member, int32_t order,
                int64_t count, float *to)
{
    const bool in_quads = field != 1 && order % 4 == 0 && eqi_is_run(member, order);
    int64_t i = 0;
    for (; (in_quads || field == 1) && i + LANES <= count; i += LANES) {
        const float *const at = from + i * field;
        vf32 all = vf32_broadcast(0);
        int32_t a = 0;
        if (in_quads)
            fetch_ahead(at + member[0], field, order);
        for (; a + 4 <= order; a += 4) {
            vf32 x[4];
            if (in_quads)
                vf32_load_turned(at + member[a], field, x);
            else
                for (int r = 0; r < 4; r++)
                    x[r] = vf32_load(at + member[a + r]);
            all = vf32_add(all, vf32_add(vf32_add(x[0], x[1]), vf32_add(x[2], x[3])));
        }
        for (; a < order; a++)
            all = vf32_add(all, vf32_load(at + member[a]));
        vf32_store(to + i, all);
    }
    for (; i < count; i++) {
        const float *const at = from + i * field;
        float all = 0;
        int32_t a = 0;
        for (; a + 4 <= order; a += 4)
            all += (at[member[a]] + at[member[a + 1]]) + (at[member[a + 2]] + at[member[a + 3]]);
        for (; a < order; a++)
            all += at[member[a]];
        to[i] = all;
    }
    for (; i % LANES != 0; i++)
        to[i] = 0;
}

/* ---- orbits to codes ------------------------------------------------------------------------- */

/* LANES orbits from number i on. */
typedef struct orbits {
    const eqi_orbit_codes *c;
    int64_t i, count; /* fewer at the end */
    float *values;
} orbits;

INLINE vf32 member(const orbits *o, int32_t g)
{
    return vf32_load(o->values + g * o->c->step);
}

enum { QUADS = LANES / 4, RUN = 16 /* elements up to which whole orbits are turned */ };

/*
 * LANES whole orbits, one after another in memory: turned 4 x 4 inside of 16 bytes, and then the
 * pieces, so that every store is of a whole vector and the next one is behind it.
 */
INLINE void put_runs(const vf32 *v, const int order, float *to)
{
    vf32 piece[RUN]; /* [template mod 4][element / 4] */
    EQI_UNROLL for (int g = 0; g < order; g += 4)
    {
        vf32 quad[4] = {v[g], v[g + 1], v[g + 2], v[g + 3]};
        vf32_transpose(quad);
        EQI_UNROLL for (int r = 0; r < 4; r++)
        {
            piece[(r * order + g) / 4] = quad[r];
        }
    }
    EQI_UNROLL for (int i = 0; i < order; i += QUADS)
    {
        vf32_transpose_quads(piece + i);
        EQI_UNROLL for (int r = 0; r < QUADS; r++)
        {
            vf32_store(to + 4 * (r * order + i), piece[i + r]);
        }
    }
}

/* Whether `order` is one of those and the whole vector goes to places without gaps. */
INLINE bool in_runs(const orbits *o, int64_t step, int64_t element)
{
    const int32_t order = o->c->order;
    return o->count == LANES && element == 1 && step == order && !o->c->ranks &&
           (order == 4 || order == 8 || order == 16);
}

#define PUT_RUNS(count)                                                                            \
    static void put_runs_##count(const orbits *o, float *to)                                       \
    {                                                                                              \
        vf32 v[count];                                                                             \
        EQI_UNROLL for (int g = 0; g < (count); g++)                                               \
        {                                                                                          \
            v[g] = member(o, g);                                                                   \
        }                                                                                          \
        put_runs(v, count, to);                                                                    \
    }

PUT_RUNS(4)
PUT_RUNS(8)
PUT_RUNS(16)

/* All members, to places `step` apart from one orbit to the next and `element` inside it. */
static void put_members(const orbits *o, float *to, int64_t step, int64_t element)
{
    const int32_t order = o->c->order;
    int32_t g = 0;
    if (in_runs(o, step, element)) {
        (order == 4 ? put_runs_4 : order == 8 ? put_runs_8 : put_runs_16)(o, to);
        return;
    }
    if (o->count == LANES && element == 1)
        for (; g + 4 <= order; g += 4) {
            vf32 quad[4];
            EQI_UNROLL for (int r = 0; r < 4; r++)
            {
                quad[r] = member(o, g + r);
            }
            vf32_store_turned(to + g, step, quad);
        }
    for (; g < order; g++)
        for (int64_t i = 0; i < o->count; i++)
            to[i * step + g * element] = o->values[g * o->c->step + i];
}

static void put(const orbits *o, vf32 v)
{
    const int64_t step = o->c->dst_step;
    float *const to = o->c->dst + o->i * step;
    if (o->count == LANES && step == 1) {
        vf32_store(to, v);
        return;
    }
    float all[LANES];
    vf32_store(all, v);
    for (int64_t i = 0; i < o->count; i++)
        to[i * step] = all[i];
}

/* All members, or those at the wanted places. */
static void put_all(const orbits *o)
{
    const int32_t *const ranks = o->c->ranks;
    float *const to = o->c->dst + o->i * o->c->dst_step;
    for (int64_t r = 0; ranks && r < o->c->numbers; r++)
        for (int64_t i = 0; i < o->count; i++)
            to[i * o->c->dst_step + r * o->c->dst_element] = o->values[ranks[r] * o->c->step + i];
    if (ranks)
        return;
    put_members(o, to, o->c->dst_step, o->c->dst_element);
}

/* A minimum is the maximum of what is negated, which is exact. */
INLINE vf32 toward(const bool least, vf32 x)
{
    return least ? vf32_mul(vf32_broadcast(-1), x) : x;
}

/* As eqi_orbit_exceeds; with the lowest element that attains the extreme where it is wanted. */
INLINE void take_extreme(const orbits *o, const bool least)
{
    vf32 most = toward(least, member(o, 0)), at = vf32_broadcast(0);
    for (int32_t g = 1; g < o->c->order; g++) {
        const vf32 v = toward(least, member(o, g));
        const vmask takes = vf32_takes(most, v);
        most = vf32_choose(takes, v, most);
        at = vf32_choose(takes, vf32_broadcast((float)g), at);
    }
    put(o, toward(least, most));
    if (o->c->saved) {
        int32_t all[LANES];
        vf32_store_i32(all, at);
        memcpy((int32_t *)o->c->saved + o->i, all, (size_t)o->count * sizeof *all);
    }
}

INLINE void reduce_extreme(const orbits *o, const bool least)
{
    vf32 most = member(o, 0), sum = most;
    for (int32_t g = 1; g < o->c->order && !o->c->saved; g++) {
        most = least ? vf32_min(most, member(o, g)) : vf32_max(most, member(o, g));
        sum = vf32_add(sum, member(o, g));
    }
    if (o->c->saved || vf32_any_nan(sum))
        take_extreme(o, least);
    else
        put(o, most);
}

static void reduce_max(const orbits *o)
{
    reduce_extreme(o, false);
}

static void reduce_min(const orbits *o)
{
    reduce_extreme(o, true);
}

/* The largest float that is not above a threshold: v <= t says the same of both for a float v. */
static float float_below(double t)
{
    const float near = (float)t;
    return (double)near > t ? nextafterf(near, -INFINITY) : near;
}

/* NaN makes NaN of all; rare. */
static bool has_nan(const orbits *o, int64_t i, float *nan)
{
    for (int32_t g = 0; g < o->c->order; g++) {
        *nan = o->values[g * o->c->step + i];
        if (*nan != *nan)
            return true;
    }
    return false;
}

static void reduce_cdf(const orbits *o)
{
    const int32_t order = o->c->order;
    float nan, *const to = o->c->dst + o->i * o->c->dst_step;
    vf32 sum = member(o, 0);
    for (int32_t g = 1; g < order; g++)
        sum = vf32_add(sum, member(o, g));
    for (int64_t n = 0; n < o->c->numbers; n++) {
        const vf32 t = vf32_broadcast(float_below(o->c->thresholds[n])), one = vf32_broadcast(1);
        vf32 above = vf32_broadcast(0);
        for (int32_t g = 0; g < order; g++)
            above =
                vf32_add(above, vf32_choose(vf32_takes(t, member(o, g)), one, vf32_broadcast(0)));
        float all[LANES];
        vf32_store(all, above);
        for (int64_t i = 0; i < o->count; i++)
            to[i * o->c->dst_step + n * o->c->dst_element] =
                (float)(((double)order - (double)all[i]) / order);
    }
    for (int64_t i = 0; vf32_any_nan(sum) && i < o->count; i++)
        for (int64_t n = 0; n < o->c->numbers && has_nan(o, i, &nan); n++)
            to[i * o->c->dst_step + n * o->c->dst_element] = nan;
}

typedef vf32 term(vf32 x);

INLINE vf32 relu(vf32 x)
{
    return vf32_max(vf32_broadcast(0), x); /* NaN stays */
}

INLINE vf32 magnitude(vf32 x)
{
    return vf32_abs(x);
}

INLINE vf32 square(vf32 x)
{
    return vf32_mul(x, x);
}

enum {
    PARTIAL = 16
}; /* terms that are summed on their own, so that long sums keep their precision */

INLINE void reduce_mean(const orbits *o, term *of)
{
    const int32_t order = o->c->order;
    vf32 sum = vf32_broadcast(0);
    for (int32_t first = 0; first < order; first += PARTIAL) {
        const int32_t last = first + PARTIAL < order ? first + PARTIAL : order;
        vf32 partial = of(member(o, first));
        for (int32_t g = first + 1; g < last; g++)
            partial = vf32_add(partial, of(member(o, g)));
        sum = vf32_add(sum, partial);
    }
    put(o, vf32_mul(sum, vf32_broadcast(1 / (float)order)));
    if (o->c->saved)
        put_members(o, (float *)o->c->saved + o->i * order, order, 1);
}

static void reduce_mean_relu(const orbits *o)
{
    reduce_mean(o, relu);
}

static void reduce_mean_abs(const orbits *o)
{
    reduce_mean(o, magnitude);
}

INLINE vf32 cube(vf32 x)
{
    return vf32_mul(vf32_mul(x, x), x);
}

static void reduce_moment3(const orbits *o)
{
    reduce_mean(o, cube);
}

static void reduce_mean_square(const orbits *o)
{
    reduce_mean(o, square);
}

/* Pairs to be put in order, of the best networks that are known; source: Knuth volume 3, 5.3.4. */
/* clang-format off */
#define NETWORK_4(PAIR) PAIR(0, 1) PAIR(2, 3) PAIR(0, 2) PAIR(1, 3) PAIR(1, 2)
#define NETWORK_8(PAIR)                                                                            \
    PAIR(0, 2) PAIR(1, 3) PAIR(4, 6) PAIR(5, 7) PAIR(0, 4) PAIR(1, 5) PAIR(2, 6) PAIR(3, 7)        \
    PAIR(0, 1) PAIR(2, 3) PAIR(4, 5) PAIR(6, 7) PAIR(2, 4) PAIR(3, 5) PAIR(1, 4) PAIR(3, 6)        \
    PAIR(1, 2) PAIR(3, 4) PAIR(5, 6)
#define NETWORK_16(PAIR)                                                                           \
    PAIR(0, 13) PAIR(1, 12) PAIR(2, 15) PAIR(3, 14) PAIR(4, 8) PAIR(5, 6) PAIR(7, 11) PAIR(9, 10)  \
    PAIR(0, 5) PAIR(1, 7) PAIR(2, 9) PAIR(3, 4) PAIR(6, 13) PAIR(8, 14) PAIR(10, 15) PAIR(11, 12)  \
    PAIR(0, 1) PAIR(2, 3) PAIR(4, 5) PAIR(6, 8) PAIR(7, 9) PAIR(10, 11) PAIR(12, 13) PAIR(14, 15)  \
    PAIR(0, 2) PAIR(1, 3) PAIR(4, 10) PAIR(5, 11) PAIR(6, 7) PAIR(8, 9) PAIR(12, 14) PAIR(13, 15)  \
    PAIR(1, 2) PAIR(3, 12) PAIR(4, 6) PAIR(5, 7) PAIR(8, 10) PAIR(9, 11) PAIR(13, 14)              \
    PAIR(1, 4) PAIR(2, 6) PAIR(5, 8) PAIR(7, 10) PAIR(9, 13) PAIR(11, 14)                          \
    PAIR(2, 4) PAIR(3, 6) PAIR(9, 12) PAIR(11, 13) PAIR(3, 5) PAIR(6, 8) PAIR(7, 9) PAIR(10, 12)   \
    PAIR(3, 4) PAIR(5, 6) PAIR(7, 8) PAIR(9, 10) PAIR(11, 12) PAIR(6, 7) PAIR(8, 9)
/* clang-format on */

#define ORDER_TWO(i, j)                                                                            \
    {                                                                                              \
        const vf32 a = v[i], b = v[j];                                                             \
        v[i] = vf32_min(a, b);                                                                     \
        v[j] = vf32_max(a, b);                                                                     \
    }
/* Sorts in registers, and from there to dst; false if there is a NaN. */
#define NETWORK(count)                                                                             \
    static bool sort_##count(const orbits *o)                                                      \
    {                                                                                              \
        vf32 v[count], sum = member(o, 0);                                                         \
        v[0] = sum;                                                                                \
        EQI_UNROLL for (int g = 1; g < (count); g++)                                               \
        {                                                                                          \
            v[g] = member(o, g);                                                                   \
            sum = vf32_add(sum, v[g]);                                                             \
        }                                                                                          \
        if (vf32_any_nan(sum))                                                                     \
            return false;                                                                          \
        NETWORK_##count(ORDER_TWO);                                                                \
        if (in_runs(o, o->c->dst_step, o->c->dst_element)) {                                       \
            put_runs(v, count, o->c->dst + o->i * (count));                                        \
            return true;                                                                           \
        }                                                                                          \
        EQI_UNROLL for (int g = 0; g < (count); g++)                                               \
        {                                                                                          \
            vf32_store(o->values + g * o->c->step, v[g]);                                          \
        }                                                                                          \
        put_all(o);                                                                                \
        return true;                                                                               \
    }

NETWORK(4)
NETWORK(8)
NETWORK(16)

/* For any number. source: Batcher's merge exchange, Knuth volume 3, 5.2.2, algorithm M. */
static bool sort_any(const orbits *o)
{
    const int32_t order = o->c->order;
    const int64_t step = o->c->step;
    vf32 sum = member(o, 0);
    for (int32_t g = 1; g < order; g++)
        sum = vf32_add(sum, member(o, g));
    if (vf32_any_nan(sum))
        return false;
    int32_t top = 1;
    while (2 * top < order)
        top *= 2;
    for (int32_t p = top; p > 0; p /= 2)
        for (int32_t q = top, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (int32_t i = 0; i < order - d; i++)
                if ((i & p) == r) {
                    float *const low = o->values + i * step, *const high = low + d * step;
                    const vf32 a = vf32_load(low), b = vf32_load(high);
                    vf32_store(low, vf32_min(a, b));
                    vf32_store(high, vf32_max(a, b));
                }
            if (q == p)
                break;
        }
    put_all(o);
    return true;
}

/* NaN last; rare. */
static void sort_one(float *v, int32_t order, int64_t step)
{
    for (int32_t g = 1; g < order; g++) {
        const float x = v[g * step];
        int32_t at = g;
        for (; at > 0 && x == x && !(v[(at - 1) * step] <= x); at--)
            v[at * step] = v[(at - 1) * step];
        v[at * step] = x;
    }
}

static void reduce_sorted(const orbits *o)
{
    const int32_t order = o->c->order;
    if ((order == 4 ? sort_4 : order == 8 ? sort_8 : order == 16 ? sort_16 : sort_any)(o))
        return;
    for (int64_t i = 0; i < o->count; i++)
        sort_one(o->values + i, order, o->c->step);
    put_all(o);
}

static void reduce(const eqi_orbit_codes *c)
{
    static void (*const kinds[])(const orbits *) = {
        [EQUINV_PROJECT_MAX] = reduce_max,
        [EQUINV_PROJECT_MEAN_RELU] = reduce_mean_relu,
        [EQUINV_PROJECT_MEAN_ABS] = reduce_mean_abs,
        [EQUINV_PROJECT_MEAN_SQUARE] = reduce_mean_square,
        [EQUINV_PROJECT_SORTED] = reduce_sorted,
        [EQUINV_PROJECT_ORBIT] = put_all,
        [EQUINV_PROJECT_MIN] = reduce_min,
        [EQUINV_PROJECT_MOMENT3] = reduce_moment3,
        [EQUINV_PROJECT_CDF] = reduce_cdf,
    };
    for (int64_t i = 0; i < c->count; i += LANES) {
        const int64_t left = c->count - i;
        kinds[c->kind](&(orbits){c, i, left < LANES ? left : LANES, c->values + i});
    }
}

const eqi_orbit_kernels PASTE(eqi_orbits_, EQI_LEVEL) = {
    LANES, stage, unstage, sum, analyse, synthesise, reduce,
};
