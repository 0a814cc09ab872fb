/*
 * Transforms over C_n for the other n, of mixed radix. A pass makes one transform of length p m out of p of
 * length m, Z_c of the members c, c + p, c + 2 p, ..:
 *     Y(i + m q) = sum over c < p of w^(i c) Z_c(i) v^(q c),   w = e^(2 pi i / (p m)), v = e^(2 pi i / p)
 * with Y = C + i S of the pairs. Y(p m - f) = conj Y(f), so i up to m / 2 gives all of it; i = 0 is a real
 * transform of length p. Odd p come first, so that only even ones meet i = m / 2. Large primes are summed
 * directly, with sums and differences of members c and p - c. The way back is the adjoint, step by step.
 *
 * Layout   Every transform is a column in the order of coefficients; the first pass reads members n / p apart,
 *          and no pass leaves anything in another order.
 * Why      Butterflies of eight keep to registers, and C128 is written twice: docs/performance-log.md.
 *
 * Included once by projection.inc.c, which has what it uses.
 */

enum {
    FIRST_POWER = 16, /* the first pass of a power of two */
    MOST_PASSES = 8,
    BESIDE = LANES > 8 ? 4 : 2 /* frequencies of two sequences that registers hold */
};

typedef struct complex_vector {
    vf32 re, im;
} cv;

/* One pass. Numbers of a column are a step apart; columns of the shorter length stand behind each other. */
typedef struct pass {
    const eqi_orbit_group *group;
    int radix, length; /* of the shorter columns */
    const float *in;
    int64_t in_step;
    float *out;
    int64_t out_step;
    vf32 *room; /* n vectors */
} pass;

/* ---- numbers of a column ------------------------------------------------------------------------ */

INLINE cv number_at(const float *column, int64_t step, int64_t i)
{
    return (cv){vf32_load(column + i * step), vf32_load(column + (i + 1) * step)};
}

INLINE void put_at(float *column, int64_t step, int64_t i, cv v)
{
    vf32_store(column + i * step, v.re);
    vf32_store(column + (i + 1) * step, v.im);
}

INLINE cv conjugate(cv v)
{
    return (cv){v.re, vf32_sub(vf32_broadcast(0), v.im)};
}

/* a e^(i t), a e^(-i t) with the cosine and sine of t. */
INLINE cv turned(cv a, vf32 cosine, vf32 sine)
{
    return (cv){vf32_fnma(a.im, sine, vf32_mul(a.re, cosine)),
                vf32_fma(a.re, sine, vf32_mul(a.im, cosine))};
}

INLINE cv turned_back(cv a, vf32 cosine, vf32 sine)
{
    return (cv){vf32_fma(a.im, sine, vf32_mul(a.re, cosine)),
                vf32_fnma(a.re, sine, vf32_mul(a.im, cosine))};
}

/* Where frequency i + m q of length p m stands, 0 < i < m / 2; it is conjugate there for q beyond the half. */
INLINE int64_t place_of(const int p, int m, int i, int q)
{
    const int f = i + m * q;
    return pair_at(p * m, 2 * q >= p ? p * m - f : f);
}

/* ---- radices that are constants ----------------------------------------------------------------- */

/* The tables of C_p. */
INLINE eqi_orbit_group part_of(const eqi_orbit_group *group, const int p, float *tables)
{
    for (int i = 0; i < p; i++) {
        tables[i] = group->cosine[i * (group->n / p)];
        tables[p + i] = group->sine[i * (group->n / p)];
    }
    return (eqi_orbit_group){p, p, false, tables, tables + p};
}

/* All v(q), from transforms of real and imaginary parts; back: its adjoint. */
INLINE void butterfly(const eqi_orbit_group *part, const int p, cv *v)
{
    vf32 a[FIXED], b[FIXED], hat_a[FIXED], hat_b[FIXED];
    EQI_UNROLL for (int c = 0; c < p; c++)
    {
        a[c] = v[c].re;
        b[c] = v[c].im;
    }
    analyse_cyclic(part, p, a, hat_a);
    analyse_cyclic(part, p, b, hat_b);
    v[0] = (cv){hat_a[0], hat_b[0]};
    if (p % 2 == 0)
        v[p / 2] = (cv){hat_a[1], hat_b[1]};
    EQI_UNROLL for (int q = 1; q < (p + 1) / 2; q++)
    {
        const int at = pair_at(p, q);
        v[q] = (cv){vf32_sub(hat_a[at], hat_b[at + 1]), vf32_add(hat_a[at + 1], hat_b[at])};
        v[p - q] = (cv){vf32_add(hat_a[at], hat_b[at + 1]), vf32_sub(hat_b[at], hat_a[at + 1])};
    }
}

INLINE void butterfly_back(const eqi_orbit_group *part, const int p, cv *v)
{
    vf32 a[FIXED], b[FIXED], hat_a[FIXED], hat_b[FIXED];
    hat_a[0] = v[0].re;
    hat_b[0] = v[0].im;
    if (p % 2 == 0) {
        hat_a[1] = v[p / 2].re;
        hat_b[1] = v[p / 2].im;
    }
    EQI_UNROLL for (int q = 1; q < (p + 1) / 2; q++)
    {
        const int at = pair_at(p, q);
        hat_a[at] = vf32_add(v[q].re, v[p - q].re);
        hat_a[at + 1] = vf32_sub(v[q].im, v[p - q].im);
        hat_b[at] = vf32_add(v[q].im, v[p - q].im);
        hat_b[at + 1] = vf32_sub(v[p - q].re, v[q].re);
    }
    synthesise_cyclic(part, p, hat_a, a);
    synthesise_cyclic(part, p, hat_b, b);
    EQI_UNROLL for (int c = 0; c < p; c++)
    {
        v[c] = (cv){a[c], b[c]};
    }
}

/* Where the numbers of frequency 0 go: m q, and p m / 2 for even p. */
INLINE int64_t real_place(const int p, int m, int i)
{
    const int ones = p % 2 == 0 ? 2 : 1;
    return i < ones ? i : pair_at(p * m, m * ((i - ones) / 2 + 1)) + (i - ones) % 2;
}

INLINE void run_pass(const pass *s, const int p, const int m)
{
    const int n = s->group->n, columns = n / (p * m), turns = n / (p * m);
    const int64_t part = (int64_t)columns * m * s->in_step;
    const float *const cosine = s->group->cosine, *const sine = s->group->sine;
    float tables[2 * FIXED];
    const eqi_orbit_group small = part_of(s->group, p, tables);
    for (int k = 0; k < columns; k++) {
        const float *const from = s->in + (int64_t)k * m * s->in_step;
        float *const to = s->out + (int64_t)k * m * p * s->out_step;
        vf32 x[FIXED], hat[FIXED];
        EQI_UNROLL for (int c = 0; c < p; c++)
        {
            x[c] = vf32_load(from + c * part);
        }
        analyse_cyclic(&small, p, x, hat);
        EQI_UNROLL for (int i = 0; i < p; i++)
        {
            vf32_store(to + real_place(p, m, i) * s->out_step, hat[i]);
        }
        for (int i = 1; 2 * i < m; i++) {
            cv v[FIXED];
            EQI_UNROLL for (int c = 0; c < p; c++)
            {
                v[c] = number_at(from + c * part, s->in_step, pair_at(m, i));
                if (c > 0)
                    v[c] = turned(v[c], turn(cosine, i * c * turns), turn(sine, i * c * turns));
            }
            butterfly(&small, p, v);
            EQI_UNROLL for (int q = 0; q < p; q++)
            {
                put_at(to, s->out_step, place_of(p, m, i, q), 2 * q >= p ? conjugate(v[q]) : v[q]);
            }
        }
        if (p % 2 == 0 && m % 2 == 0) { /* i = m / 2 */
            cv v[FIXED];
            EQI_UNROLL for (int c = 0; c < p; c++)
            {
                const vf32 a = vf32_load(from + c * part + s->in_step);
                const int at = c * (m / 2) * turns;
                v[c] = (cv){vf32_mul(a, turn(cosine, at)), vf32_mul(a, turn(sine, at))};
            }
            butterfly(&small, p, v);
            EQI_UNROLL for (int q = 0; q < p / 2; q++)
            {
                put_at(to, s->out_step, pair_at(p * m, m / 2 + m * q), v[q]);
            }
        }
    }
}

INLINE void run_pass_back(const pass *s, const int p, const int m)
{
    const int n = s->group->n, columns = n / (p * m), turns = n / (p * m);
    const int64_t part = (int64_t)columns * m * s->out_step;
    const float *const cosine = s->group->cosine, *const sine = s->group->sine;
    float tables[2 * FIXED];
    const eqi_orbit_group small = part_of(s->group, p, tables);
    for (int k = 0; k < columns; k++) {
        const float *const from = s->in + (int64_t)k * m * p * s->in_step;
        float *const to = s->out + (int64_t)k * m * s->out_step;
        vf32 x[FIXED], hat[FIXED];
        EQI_UNROLL for (int i = 0; i < p; i++)
        {
            hat[i] = vf32_load(from + real_place(p, m, i) * s->in_step);
        }
        synthesise_cyclic(&small, p, hat, x);
        EQI_UNROLL for (int c = 0; c < p; c++)
        {
            vf32_store(to + c * part, x[c]);
        }
        for (int i = 1; 2 * i < m; i++) {
            cv v[FIXED];
            EQI_UNROLL for (int q = 0; q < p; q++)
            {
                v[q] = number_at(from, s->in_step, place_of(p, m, i, q));
                v[q] = 2 * q >= p ? conjugate(v[q]) : v[q];
            }
            butterfly_back(&small, p, v);
            EQI_UNROLL for (int c = 0; c < p; c++)
            {
                if (c > 0)
                    v[c] =
                        turned_back(v[c], turn(cosine, i * c * turns), turn(sine, i * c * turns));
                put_at(to + c * part, s->out_step, pair_at(m, i), v[c]);
            }
        }
        if (p % 2 == 0 && m % 2 == 0) {
            cv v[FIXED];
            EQI_UNROLL for (int q = 0; q < p; q++)
            {
                v[q] = 2 * q < p ? number_at(from, s->in_step, pair_at(p * m, m / 2 + m * q))
                                 : (cv){vf32_broadcast(0), vf32_broadcast(0)};
            }
            butterfly_back(&small, p, v);
            EQI_UNROLL for (int c = 0; c < p; c++)
            {
                const int at = c * (m / 2) * turns;
                const vf32 a = vf32_mul(v[c].re, turn(cosine, at));
                vf32_store(to + c * part + s->out_step, vf32_fma(v[c].im, turn(sine, at), a));
            }
        }
    }
}

/* ---- other primes ------------------------------------------------------------------------------- */

/* Of several sequences x(0), even parts, odd parts, p numbers each, at `first` and the next places. */
typedef struct half_sums {
    vf32 even[2][MOST_TOGETHER], odd[2][MOST_TOGETHER];
} half_sums;

/*
 * even(j) = x(0) + sum of x(g) cos(2 pi g j / p), odd(j) = sum of x(p - g) sin(2 pi g j / p) over g < p / 2:
 * the same for both directions. Places from p / 2 on are computed for nothing.
 */
INLINE half_sums sum_halves(const eqi_orbit_group *group, int p, const vf32 *x, const int sequences,
                            int first, const int together)
{
    const int n = group->n, step = n / p, half = (p + 1) / 2;
    half_sums sums;
    EQI_UNROLL for (int j = 0; j < together; j++)
    {
        EQI_UNROLL for (int s = 0; s < sequences; s++)
        {
            sums.even[s][j] = x[s * p];
            sums.odd[s][j] = vf32_broadcast(0);
        }
    }
    for (int g = 1, begin = 0, by = step; g < half; g++, by += step) {
        begin = next_turn(begin, first * step, n); /* first g steps */
        const float *const cosine = group->cosine + begin, *const sine = group->sine + begin;
        EQI_UNROLL for (int j = 0; j < together; j++)
        {
            EQI_UNROLL for (int s = 0; s < sequences; s++)
            {
                const vf32 *const y = x + s * p;
                sums.even[s][j] = vf32_fma(y[g], turn(cosine, j * by), sums.even[s][j]);
                sums.odd[s][j] = vf32_fma(y[p - g], turn(sine, j * by), sums.odd[s][j]);
            }
        }
    }
    return sums;
}

/* Sums and differences of members c and p - c; the sum of all is returned. */
INLINE vf32 mirror(int p, vf32 *x)
{
    vf32 sum = x[0];
    for (int c = 1; 2 * c < p; c++) {
        const vf32 a = x[c], b = x[p - c];
        x[c] = vf32_add(a, b);
        x[p - c] = vf32_sub(a, b);
        sum = vf32_add(sum, x[c]);
    }
    return sum;
}

static void run_prime(const pass *s)
{
    const int n = s->group->n, p = s->radix, m = s->length;
    const int columns = n / (p * m), turns = n / (p * m), half = (p + 1) / 2;
    const int64_t part = (int64_t)columns * m * s->in_step;
    vf32 *const x = s->room;
    for (int k = 0; k < columns; k++) {
        const float *const from = s->in + (int64_t)k * m * s->in_step;
        float *const to = s->out + (int64_t)k * m * p * s->out_step;
        for (int c = 0; c < p; c++)
            x[c] = vf32_load(from + c * part);
        vf32_store(to, mirror(p, x));
        for (int first = 1; first < half; first += MOST_TOGETHER) {
            const half_sums a = sum_halves(s->group, p, x, 1, first, MOST_TOGETHER);
            for (int j = 0; j < MOST_TOGETHER && first + j < half; j++)
                put_at(to, s->out_step, pair_at(p * m, m * (first + j)),
                       (cv){a.even[0][j], a.odd[0][j]});
        }
        for (int i = 1; 2 * i < m; i++) {
            for (int c = 0; c < p; c++) {
                const cv v = number_at(from + c * part, s->in_step, pair_at(m, i));
                const int at = i * c * turns;
                const cv t = turned(v, turn(s->group->cosine, at), turn(s->group->sine, at));
                x[c] = t.re;
                x[p + c] = t.im;
            }
            const cv sum = {mirror(p, x), mirror(p, x + p)};
            put_at(to, s->out_step, place_of(p, m, i, 0), sum);
            for (int first = 1; first < half; first += BESIDE) {
                const half_sums a = sum_halves(s->group, p, x, 2, first, BESIDE);
                for (int j = 0; j < BESIDE && first + j < half; j++) {
                    const int q = first + j;
                    put_at(to, s->out_step, place_of(p, m, i, q),
                           (cv){vf32_sub(a.even[0][j], a.odd[1][j]),
                                vf32_add(a.odd[0][j], a.even[1][j])});
                    put_at(to, s->out_step, place_of(p, m, i, p - q),
                           (cv){vf32_add(a.even[0][j], a.odd[1][j]),
                                vf32_sub(a.odd[0][j], a.even[1][j])});
                }
            }
        }
    }
}

static void run_prime_back(const pass *s)
{
    const int n = s->group->n, p = s->radix, m = s->length;
    const int columns = n / (p * m), turns = n / (p * m), half = (p + 1) / 2;
    const int64_t part = (int64_t)columns * m * s->out_step;
    vf32 *const x = s->room;
    for (int k = 0; k < columns; k++) {
        const float *const from = s->in + (int64_t)k * m * p * s->in_step;
        float *const to = s->out + (int64_t)k * m * s->out_step;
        vf32 sum = x[0] = vf32_load(from);
        for (int q = 1; q < half; q++) {
            const cv v = number_at(from, s->in_step, pair_at(p * m, m * q));
            x[q] = v.re;
            x[p - q] = v.im;
            sum = vf32_add(sum, v.re);
        }
        vf32_store(to, sum);
        for (int first = 1; first < half; first += MOST_TOGETHER) {
            const half_sums a = sum_halves(s->group, p, x, 1, first, MOST_TOGETHER);
            for (int j = 0; j < MOST_TOGETHER && first + j < half; j++) {
                vf32_store(to + (first + j) * part, vf32_add(a.even[0][j], a.odd[0][j]));
                vf32_store(to + (p - first - j) * part, vf32_sub(a.even[0][j], a.odd[0][j]));
            }
        }
        for (int i = 1; 2 * i < m; i++) {
            cv all = number_at(from, s->in_step, place_of(p, m, i, 0));
            x[0] = all.re;
            x[p] = all.im;
            for (int q = 1; q < half; q++) {
                const cv a = number_at(from, s->in_step, place_of(p, m, i, q));
                const cv b = number_at(from, s->in_step, place_of(p, m, i, p - q));
                x[q] = vf32_add(a.re, b.re);
                x[p - q] = vf32_add(a.im, b.im);
                x[p + q] = vf32_sub(a.im, b.im);
                x[2 * p - q] = vf32_sub(b.re, a.re);
                all = (cv){vf32_add(all.re, x[q]), vf32_add(all.im, x[p + q])};
            }
            put_at(to, s->out_step, pair_at(m, i), all);
            for (int first = 1; first < half; first += BESIDE) {
                const half_sums a = sum_halves(s->group, p, x, 2, first, BESIDE);
                for (int j = 0; j < BESIDE && first + j < half; j++) {
                    const int c = first + j, at = i * c * turns, other = i * (p - c) * turns;
                    const cv here = {vf32_add(a.even[0][j], a.odd[0][j]),
                                     vf32_add(a.even[1][j], a.odd[1][j])};
                    const cv there = {vf32_sub(a.even[0][j], a.odd[0][j]),
                                      vf32_sub(a.even[1][j], a.odd[1][j])};
                    put_at(to + c * part, s->out_step, pair_at(m, i),
                           turned_back(here, turn(s->group->cosine, at), turn(s->group->sine, at)));
                    put_at(to + (p - c) * part, s->out_step, pair_at(m, i),
                           turned_back(there, turn(s->group->cosine, other),
                                       turn(s->group->sine, other)));
                }
            }
        }
    }
}

/* ---- all passes --------------------------------------------------------------------------------- */

#define EACH_RADIX(DO_THIS) DO_THIS(2) DO_THIS(3) DO_THIS(4) DO_THIS(5) DO_THIS(7) DO_THIS(8)
#define PASSES(p)                                                                                  \
    static void run_pass_##p(const pass *s)                                                        \
    {                                                                                              \
        run_pass(s, p, s->length);                                                                 \
    }                                                                                              \
    static void run_pass_back_##p(const pass *s)                                                   \
    {                                                                                              \
        run_pass_back(s, p, s->length);                                                            \
    }
#define PASS_ROW(p) [p] = {run_pass_##p, run_pass_back_##p},

EACH_RADIX(PASSES)

static void run_first_16(const pass *s)
{
    run_pass(s, FIRST_POWER, 1);
}

static void run_first_16_back(const pass *s)
{
    run_pass_back(s, FIRST_POWER, 1);
}

static void run_one(const pass *s, bool back)
{
    static void (*const passes[FIXED + 1][2])(const pass *) = {
        EACH_RADIX(PASS_ROW)[FIRST_POWER] = {run_first_16, run_first_16_back},
    };
    if (s->radix <= FIXED && passes[s->radix][back])
        passes[s->radix][back](s);
    else
        (back ? run_prime_back : run_prime)(s);
}

typedef struct radices {
    int count, radix[MOST_PASSES]; /* in the order of analysis */
} radices;

static radices radices_of(int n)
{
    radices r = {0, {0}};
    if ((n & (n - 1)) == 0 && n > FIRST_POWER) {
        r.radix[r.count++] = FIRST_POWER;
        n /= FIRST_POWER;
    }
    for (int p = 3, odd; (odd = n / (n & -n)) > 1; p += 2) {
        p = p * p > odd ? odd : p; /* the last one */
        for (; n % p == 0; n /= p)
            r.radix[r.count++] = p;
    }
    while (n > 1) { /* 16 is 4 times 4, not 8 times 2 */
        const int p = n % 8 == 0 && n != 16 ? 8 : n % 4 == 0 ? 4 : 2;
        r.radix[r.count++] = p;
        n /= p;
    }
    return r;
}

/* The passes over one half: the first from `from`, the last to `to`, others inside room. */
static void run_passes(const eqi_orbit_group *group, const radices *r, bool back, const float *from,
                       int64_t from_step, float *to, int64_t to_step, vf32 *room)
{
    const int n = group->n;
    int length = back ? n : 1;
    pass s = {.group = group, .in = from, .in_step = from_step, .room = room + 2 * n};
    for (int i = 0; i < r->count; i++) {
        const bool last = i == r->count - 1;
        s.radix = r->radix[back ? r->count - 1 - i : i];
        s.length = back ? length / s.radix : length;
        s.out = last ? to : (float *)(room + i % 2 * n);
        s.out_step = last ? to_step : LANES;
        run_one(&s, back);
        s.in = s.out;
        s.in_step = s.out_step;
        length = back ? s.length : length * s.radix;
    }
}

static void analyse_passes(const eqi_orbit_transform *t, vf32 *room)
{
    const int n = t->group->n, order = t->group->order, ones = n % 2 == 0 ? 2 : 1;
    const int64_t half = n * t->out_step;
    const radices r = radices_of(n);
    for (int64_t v = 0; v < t->vectors; v++) {
        float *const out = t->out + v * LANES;
        for (int h = 0; h < order; h += n)
            run_passes(t->group, &r, false, t->in + v * LANES + h * t->in_step, t->in_step,
                       out + h * t->out_step, t->out_step, room);
        for (int i = 0; t->group->dihedral && i < ones; i++) {
            vf32 a = vf32_load(out + i * t->out_step), b = vf32_load(out + half + i * t->out_step);
            join_ones(&a, &b);
            vf32_store(out + i * t->out_step, a);
            vf32_store(out + half + i * t->out_step, b);
        }
        for (int i = ones; t->group->dihedral && i < n; i += 2) {
            cv a = number_at(out, t->out_step, i), b = number_at(out + half, t->out_step, i);
            vf32 x[2] = {a.re, a.im}, y[2] = {b.re, b.im};
            join_pairs(t->turned, x, y);
            put_at(out, t->out_step, i, (cv){x[0], x[1]});
            put_at(out + half, t->out_step, i, (cv){y[0], y[1]});
        }
    }
}

static void synthesise_passes(const eqi_orbit_transform *t, vf32 *room)
{
    const int n = t->group->n, order = t->group->order, ones = n % 2 == 0 ? 2 : 1;
    vf32 *const c = room + 3 * n;
    const radices r = radices_of(n);
    for (int64_t v = 0; v < t->vectors; v++) {
        const float *from = t->in + v * LANES;
        int64_t step = t->in_step;
        if (t->group->dihedral) {
            for (int i = 0; i < order; i++)
                c[i] = vf32_load(from + i * step);
            for (int i = 0; i < ones; i++)
                join_ones(c + i, c + n + i);
            for (int i = ones; i < n; i += 2)
                split_pairs(t->turned, c + i, c + n + i);
            from = (const float *)c;
            step = LANES;
        }
        for (int h = 0; h < order; h += n)
            run_passes(t->group, &r, true, from + h * step, step,
                       t->out + v * LANES + h * t->out_step, t->out_step, room);
    }
}
