/*
 * Transforms over C_n for powers of two above 16, by halves: with n = 2 m, sums x(g) + x(g + m) carry the even
 * frequencies, which are those of C_m, and differences d(g) the odd ones, by a complex transform of length
 * L = m / 2 (split radix):
 *     X(4 k + 1) = sum over g < L of (d(g) - i d(g + L)) w^g  v^(g k),   w = e^(-2 pi i / n), v = w^4
 *     X(n - f) = conj X(f), which gives those of 4 k + 3.
 * The last 16 are written out. The way back is the adjoint, step by step.
 *
 * Layout   Complex transforms in place, z [re, im][L], radix 4, frequencies in the order of reversed bits; the
 *          first pass is one with the differences, the last one with the places of the frequencies.
 * Why      Half of a spectrum of C128 was the direct transform: docs/performance-log.md.
 *
 * Included once by projection.inc.c, which has what it uses.
 */

enum { LAST = 16 };

INLINE bool is_power(int n)
{
    return n > LAST && (n & (n - 1)) == 0;
}

/* ---- complex numbers ---------------------------------------------------------------------------- */

typedef struct complex_vector {
    vf32 re, im;
} cv;

INLINE cv cv_add(cv a, cv b)
{
    return (cv){vf32_add(a.re, b.re), vf32_add(a.im, b.im)};
}

INLINE cv cv_sub(cv a, cv b)
{
    return (cv){vf32_sub(a.re, b.re), vf32_sub(a.im, b.im)};
}

/* a + i b, a - i b */
INLINE cv cv_add_turned(cv a, cv b)
{
    return (cv){vf32_sub(a.re, b.im), vf32_add(a.im, b.re)};
}

INLINE cv cv_sub_turned(cv a, cv b)
{
    return (cv){vf32_add(a.re, b.im), vf32_sub(a.im, b.re)};
}

/* a e^(-2 pi i steps / n); back: a e^(2 pi i steps / n). */
INLINE cv turned_by(const bool back, const eqi_orbit_group *group, int steps, cv a)
{
    const vf32 cosine = turn(group->cosine, steps), sine = turn(group->sine, steps);
    const vf32 p = vf32_mul(a.im, sine), q = vf32_mul(a.re, sine);
    const vf32 r = vf32_mul(a.re, cosine), s = vf32_mul(a.im, cosine);
    return back ? (cv){vf32_sub(r, p), vf32_add(s, q)} : (cv){vf32_add(r, p), vf32_sub(s, q)};
}

/* ---- butterflies ------------------------------------------------------------------------------- */

INLINE void butterfly_2(cv v[2])
{
    const cv a = v[0], b = v[1];
    v[0] = cv_add(a, b);
    v[1] = cv_sub(a, b);
}

/* Frequencies 0, 2, 1, 3 of four numbers, and the adjoint. */
INLINE void butterfly_4(const bool back, cv v[4])
{
    if (back) {
        const cv sum = cv_add(v[0], v[1]), difference = cv_sub(v[0], v[1]);
        const cv odd = cv_add(v[2], v[3]), odd_difference = cv_sub(v[2], v[3]);
        v[0] = cv_add(sum, odd);
        v[1] = cv_add_turned(difference, odd_difference);
        v[2] = cv_sub(sum, odd);
        v[3] = cv_sub_turned(difference, odd_difference);
    } else {
        const cv sum = cv_add(v[0], v[2]), difference = cv_sub(v[0], v[2]);
        const cv odd = cv_add(v[1], v[3]), odd_difference = cv_sub(v[1], v[3]);
        v[0] = cv_add(sum, odd);
        v[1] = cv_sub(sum, odd);
        v[2] = cv_sub_turned(difference, odd_difference);
        v[3] = cv_add_turned(difference, odd_difference);
    }
}

/* The turns between two passes, of number g of a quarter. */
INLINE void turn_quarters(const bool back, const eqi_orbit_group *group, int steps, cv v[4])
{
    v[1] = turned_by(back, group, 2 * steps, v[1]);
    v[2] = turned_by(back, group, steps, v[2]);
    v[3] = turned_by(back, group, 3 * steps, v[3]);
}

/* One pass over parts of `length` numbers. */
INLINE void pass(const bool back, const eqi_orbit_group *group, vf32 *z, int size, int length)
{
    const int quarter = length / 4, step = group->n / length;
    for (int g = 0; g < quarter; g++)
        for (int i = g; i < size; i += length) {
            cv v[4];
            EQI_UNROLL for (int r = 0; r < 4; r++)
            {
                v[r] = (cv){z[i + r * quarter], z[size + i + r * quarter]};
            }
            if (back)
                turn_quarters(true, group, g * step, v);
            butterfly_4(back, v);
            if (!back)
                turn_quarters(false, group, g * step, v);
            EQI_UNROLL for (int r = 0; r < 4; r++)
            {
                z[i + r * quarter] = v[r].re;
                z[size + i + r * quarter] = v[r].im;
            }
        }
}

/* ---- frequencies -------------------------------------------------------------------------------- */

/* The number whose bits are those of the next one, reversed. */
INLINE int next_reversed(int i, int size)
{
    int bit = size / 2;
    for (; i & bit; bit /= 2)
        i ^= bit;
    return i ^ bit;
}

/*
 * Of the numbers v at places i, i + 1, .. of z, frequency k of the first: which odd frequencies of C_n they
 * are. The second half of them stand where n - f does.
 */
INLINE int frequency(const int count, int r, int k, int size, bool *mirrored)
{
    static const int quarters[2][4] = {{0, 2}, {0, 2, 1, 3}};
    const int f = 4 * k + 1 + quarters[count / 4][r] * size;
    *mirrored = r % 2 == 1;
    return *mirrored ? 4 * size - f : f;
}

INLINE void put_frequencies(const int count, const cv *v, int k, int size, int step, vf32 *c)
{
    EQI_UNROLL for (int r = 0; r < count; r++)
    {
        bool mirrored;
        vf32 *const to = c + 2 * frequency(count, r, k, size, &mirrored) * step;
        to[0] = v[r].re;
        to[1] = mirrored ? v[r].im : vf32_sub(vf32_broadcast(0), v[r].im);
    }
}

INLINE void take_frequencies(const int count, cv *v, int k, int size, int step, const vf32 *c)
{
    EQI_UNROLL for (int r = 0; r < count; r++)
    {
        bool mirrored;
        const vf32 *const from = c + 2 * frequency(count, r, k, size, &mirrored) * step;
        v[r] = (cv){from[0], mirrored ? from[1] : vf32_sub(vf32_broadcast(0), from[1])};
    }
}

/* The last pass, over parts of `count` numbers. */
INLINE void finish(const int count, const vf32 *z, int size, int step, vf32 *c)
{
    for (int i = 0, k = 0; i < size; i += count, k = next_reversed(k, size / count)) {
        cv v[4];
        EQI_UNROLL for (int r = 0; r < count; r++)
        {
            v[r] = (cv){z[i + r], z[size + i + r]};
        }
        if (count == 4)
            butterfly_4(false, v);
        else
            butterfly_2(v);
        put_frequencies(count, v, k, size, step, c);
    }
}

INLINE void begin(const int count, const vf32 *c, int size, int step, vf32 *z)
{
    for (int i = 0, k = 0; i < size; i += count, k = next_reversed(k, size / count)) {
        cv v[4];
        take_frequencies(count, v, k, size, step, c);
        if (count == 4)
            butterfly_4(true, v);
        else
            butterfly_2(v);
        EQI_UNROLL for (int r = 0; r < count; r++)
        {
            z[i + r] = v[r].re;
            z[size + i + r] = v[r].im;
        }
    }
}

/* The length of parts that passes of radix 4 leave, 2 or 4. */
INLINE int last_part(int size)
{
    while (size > 4)
        size /= 4;
    return size;
}

/* ---- halves ------------------------------------------------------------------------------------- */

/* x(0 .. 2 m - 1), at `from`: its odd frequencies to c, x(g) + x(g + m) to x; what is behind is used up. */
static void analyse_half(const eqi_orbit_group *group, int m, const vf32 *from, vf32 *x, vf32 *c)
{
    const int step = group->n / (2 * m), size = m / 2, quarter = size / 4;
    vf32 *const z = x + m;
    for (int g = 0; g < quarter; g++) {
        cv v[4];
        EQI_UNROLL for (int r = 0; r < 4; r++)
        {
            const int i = g + r * quarter;
            const vf32 a = from[i], b = from[i + m], p = from[i + size], q = from[i + size + m];
            x[i] = vf32_add(a, b);
            x[i + size] = vf32_add(p, q);
            v[r] = turned_by(false, group, i * step, (cv){vf32_sub(a, b), vf32_sub(q, p)});
        }
        butterfly_4(false, v);
        turn_quarters(false, group, 4 * g * step, v);
        EQI_UNROLL for (int r = 0; r < 4; r++)
        {
            z[g + r * quarter] = v[r].re;
            z[size + g + r * quarter] = v[r].im;
        }
    }
    int length = quarter;
    for (; length > 4; length /= 4)
        pass(false, group, z, size, length);
    if (length == 4)
        finish(4, z, size, step, c);
    else
        finish(2, z, size, step, c);
}

/* The adjoint: the odd frequencies added to x(0 .. m - 1), which has the even ones. */
static void synthesise_half(const eqi_orbit_group *group, int m, const vf32 *c, vf32 *x)
{
    const int step = group->n / (2 * m), size = m / 2, quarter = size / 4;
    vf32 *const z = x + m;
    int length = last_part(size);
    if (length == 4)
        begin(4, c, size, step, z);
    else
        begin(2, c, size, step, z);
    for (length *= 4; length < size; length *= 4)
        pass(true, group, z, size, length);
    for (int g = 0; g < quarter; g++) {
        cv v[4];
        EQI_UNROLL for (int r = 0; r < 4; r++)
        {
            v[r] = (cv){z[g + r * quarter], z[size + g + r * quarter]};
        }
        turn_quarters(true, group, 4 * g * step, v);
        butterfly_4(true, v);
        EQI_UNROLL for (int r = 0; r < 4; r++)
        {
            const int i = g + r * quarter;
            const cv y = turned_by(true, group, i * step, v[r]);
            const vf32 a = x[i], b = x[i + size];
            x[i] = vf32_add(a, y.re);
            x[i + m] = vf32_sub(a, y.re);
            x[i + size] = vf32_sub(b, y.im);
            x[i + size + m] = vf32_add(b, y.im);
        }
    }
}

/* ---- all of it ---------------------------------------------------------------------------------- */

/* C_16 by the tables of C_n. */
static eqi_orbit_group sixteen(const eqi_orbit_group *group, float *tables)
{
    for (int i = 0; i < LAST; i++) {
        tables[i] = group->cosine[i * group->n / LAST];
        tables[LAST + i] = group->sine[i * group->n / LAST];
    }
    return (eqi_orbit_group){LAST, LAST, false, tables, tables + LAST};
}

/* x is read at `from`, which may be x, and used up. */
static void analyse_power(const eqi_orbit_group *group, const vf32 *from, vf32 *x, vf32 *c)
{
    const int n = group->n, step = n / LAST;
    float tables[2 * LAST];
    const eqi_orbit_group last = sixteen(group, tables);
    vf32 v[LAST], hat[LAST];
    for (int m = n / 2; m >= LAST; m /= 2, from = x)
        analyse_half(group, m, from, x, c);
    EQI_UNROLL for (int a = 0; a < LAST; a++)
    {
        v[a] = x[a];
    }
    analyse_cyclic_constant(&last, LAST, v, hat);
    c[0] = hat[0];
    c[1] = hat[1];
    EQI_UNROLL for (int j = 1; j < LAST / 2; j++)
    {
        c[2 * j * step] = hat[2 * j];
        c[2 * j * step + 1] = hat[2 * j + 1];
    }
}

static void synthesise_power(const eqi_orbit_group *group, const vf32 *c, vf32 *x)
{
    const int n = group->n, step = n / LAST;
    float tables[2 * LAST];
    const eqi_orbit_group last = sixteen(group, tables);
    vf32 v[LAST], hat[LAST];
    hat[0] = c[0];
    hat[1] = c[1];
    EQI_UNROLL for (int j = 1; j < LAST / 2; j++)
    {
        hat[2 * j] = c[2 * j * step];
        hat[2 * j + 1] = c[2 * j * step + 1];
    }
    synthesise_cyclic_constant(&last, LAST, hat, v);
    EQI_UNROLL for (int a = 0; a < LAST; a++)
    {
        x[a] = v[a];
    }
    for (int m = LAST; m < n; m *= 2)
        synthesise_half(group, m, c, x);
}

/* C_n and D_n. One vector alone is read and written where it is. */
static void analyse_all_power(const eqi_orbit_transform *t, vf32 *x, vf32 *c)
{
    const int n = t->group->n, order = t->group->order;
    const bool reads = t->in_step == LANES, writes = t->out_step == LANES;
    if (writes)
        c = (vf32 *)t->out;
    for (int64_t v = 0; v < t->vectors; v++) {
        for (int a = 0; a < order && !reads; a++)
            x[a] = vf32_load(t->in + a * t->in_step + v * LANES);
        const vf32 *const from = reads ? (const vf32 *)t->in : x;
        for (int half = 0; half < order; half += n)
            analyse_power(t->group, from + half, x + half, c + half);
        if (t->group->dihedral)
            join_halves_any(n, t->turned, c, c + n);
        for (int i = 0; i < order && !writes; i++)
            vf32_store(t->out + i * t->out_step + v * LANES, c[i]);
    }
}

static void synthesise_all_power(const eqi_orbit_transform *t, vf32 *x, vf32 *c)
{
    const int n = t->group->n, order = t->group->order;
    const bool writes = t->out_step == LANES;
    if (writes)
        x = (vf32 *)t->out;
    for (int64_t v = 0; v < t->vectors; v++) {
        for (int i = 0; i < order; i++)
            c[i] = vf32_load(t->in + i * t->in_step + v * LANES);
        if (t->group->dihedral)
            split_halves_any(n, t->turned, c, c + n);
        for (int half = 0; half < order; half += n)
            synthesise_power(t->group, c + half, x + half);
        for (int a = 0; a < order && !writes; a++)
            vf32_store(t->out + a * t->out_step + v * LANES, x[a]);
    }
}
