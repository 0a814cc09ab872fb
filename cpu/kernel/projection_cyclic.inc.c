/*
 * Sequences over C_n to Fourier coefficients and back, on vectors, for n that are constants: all loops are
 * written out. Also the butterflies of projection_fft.inc.c.
 *
 * Even n is halved as long as it goes: with N = 2 m, sums x(g) + x(g + m) carry the even
 * frequencies, which are those of C_m, and differences the odd ones, whose cosines change sign
 * between g and m - g and whose sines do not: about N^2 / 8 multiply-adds. The odd rest uses the
 * same mirror. All in all n^2 / 6 for a power of two.
 */

/* x(0 .. 2 m - 1): its odd frequencies to c, x(g) + x(g + m) stays; what is behind is used up. */
INLINE void analyse_odd(const eqi_orbit_group *group, const int n, const int m, vf32 *x, vf32 *c)
{
    const int step = n / (2 * m), half = (m + 1) / 2;
    vf32 *const d = x + m;
    EQI_UNROLL for (int g = 0; g < m; g++)
    {
        const vf32 a = x[g], b = d[g];
        x[g] = vf32_add(a, b);
        d[g] = vf32_sub(a, b);
    }
    EQI_UNROLL for (int g = 1; g < half; g++)
    {
        const vf32 a = d[g], b = d[m - g];
        d[g] = vf32_sub(a, b);
        d[m - g] = vf32_add(a, b);
    }
    EQI_UNROLL for (int i = 1; i < m; i += 2)
    {
        vf32 of_cosine = d[0], of_sine = d[0];
        EQI_UNROLL for (int g = 1; g < half; g++)
        {
            const int at = i * g * step % n;
            of_cosine = vf32_fma(d[g], turn(group->cosine, at), of_cosine);
            of_sine = plus_product(g == 1, of_sine, d[m - g], turn(group->sine, at));
        }
        if (m % 2 == 0) /* the sine of i quarter turns */
            of_sine = i / 2 % 2 ? vf32_sub(of_sine, d[m / 2]) : plus(m == 2, of_sine, d[m / 2]);
        c[pair_at(n, i * step)] = of_cosine;
        c[pair_at(n, i * step) + 1] = of_sine;
    }
    if (m % 2 == 1) { /* (-1)^g */
        vf32 sum = d[0];
        EQI_UNROLL for (int g = 1; g < half; g++)
        {
            sum = g % 2 ? vf32_sub(sum, d[g]) : vf32_add(sum, d[g]);
        }
        c[1] = sum;
    }
}

/* x(0 .. odd - 1): all its frequencies, which are multiples of n / odd. */
INLINE void analyse_rest(const eqi_orbit_group *group, const int n, const int odd, vf32 *x, vf32 *c)
{
    const int step = n / odd, half = (odd + 1) / 2;
    vf32 sum = x[0];
    EQI_UNROLL for (int g = 1; g < half; g++)
    {
        const vf32 a = x[g], b = x[odd - g];
        x[g] = vf32_add(a, b);
        x[odd - g] = vf32_sub(a, b);
        sum = vf32_add(sum, x[g]);
    }
    c[0] = sum;
    EQI_UNROLL for (int i = 1; i < half; i++)
    {
        vf32 of_cosine = x[0], of_sine = x[0];
        EQI_UNROLL for (int g = 1; g < half; g++)
        {
            const int at = i * g * step % n;
            of_cosine = vf32_fma(x[g], turn(group->cosine, at), of_cosine);
            of_sine = plus_product(g == 1, of_sine, x[odd - g], turn(group->sine, at));
        }
        c[pair_at(n, i * step)] = of_cosine;
        c[pair_at(n, i * step) + 1] = of_sine;
    }
}

/* The odd frequencies of 2 m numbers, added to x(0 .. m - 1), which has the even ones. */
INLINE void synthesise_odd(const eqi_orbit_group *group, const int n, const int m, const vf32 *c,
                           vf32 *x)
{
    const int step = n / (2 * m), half = (m + 1) / 2;
    vf32 first = c[1], middle = c[1]; /* at 0, where sines are 0; at m / 2, where cosines are */
    EQI_UNROLL for (int i = 1; i < m; i += 2)
    {
        const vf32 sine = c[pair_at(n, i * step) + 1];
        first = plus(i == 1 && m % 2 == 0, first, c[pair_at(n, i * step)]);
        middle = i / 2 % 2 ? vf32_sub(middle, sine) : plus(i == 1, middle, sine);
    }
    vf32 a = x[0];
    x[0] = vf32_add(a, first);
    x[m] = vf32_sub(a, first);
    if (m % 2 == 0) {
        a = x[m / 2];
        x[m / 2] = vf32_add(a, middle);
        x[m + m / 2] = vf32_sub(a, middle);
    }
    EQI_UNROLL for (int g = 1; g < half; g++)
    {
        vf32 of_cosine = g % 2 ? vf32_sub(vf32_broadcast(0), c[1]) : c[1], of_sine = c[1];
        EQI_UNROLL for (int i = 1; i < m; i += 2)
        {
            const int pair = pair_at(n, i * step), at = i * g * step % n;
            of_cosine =
                plus_product(i == 1 && m % 2 == 0, of_cosine, c[pair], turn(group->cosine, at));
            of_sine = plus_product(i == 1, of_sine, c[pair + 1], turn(group->sine, at));
        }
        const vf32 here = vf32_add(of_sine, of_cosine), there = vf32_sub(of_sine, of_cosine);
        const vf32 b = x[m - g];
        a = x[g];
        x[g] = vf32_add(a, here);
        x[m + g] = vf32_sub(a, here);
        x[m - g] = vf32_add(b, there);
        x[2 * m - g] = vf32_sub(b, there);
    }
}

INLINE void synthesise_rest(const eqi_orbit_group *group, const int n, const int odd, const vf32 *c,
                            vf32 *x)
{
    const int step = n / odd, half = (odd + 1) / 2;
    vf32 first = c[0];
    EQI_UNROLL for (int i = 1; i < half; i++)
    {
        first = vf32_add(first, c[pair_at(n, i * step)]);
    }
    x[0] = first;
    EQI_UNROLL for (int g = 1; g < half; g++)
    {
        vf32 of_cosine = c[0], of_sine = c[0];
        EQI_UNROLL for (int i = 1; i < half; i++)
        {
            const int pair = pair_at(n, i * step), at = i * g * step % n;
            of_cosine = vf32_fma(c[pair], turn(group->cosine, at), of_cosine);
            of_sine = plus_product(i == 1, of_sine, c[pair + 1], turn(group->sine, at));
        }
        x[g] = vf32_add(of_cosine, of_sine);
        x[odd - g] = vf32_sub(of_cosine, of_sine);
    }
}

/* x is used up. */
INLINE void analyse_cyclic(const eqi_orbit_group *group, const int n, vf32 *x, vf32 *c)
{
    int size = n;
    EQI_UNROLL for (int i = 0; i < HALVINGS; i++)
    {
        if (size % 2 == 0) {
            size /= 2;
            analyse_odd(group, n, size, x, c);
        }
    }
    analyse_rest(group, n, size, x, c);
}

/* x(g) = c[0] + (-1)^g c[1] + sum over the pairs of C cos + S sin */
INLINE void synthesise_cyclic(const eqi_orbit_group *group, const int n, const vf32 *c, vf32 *x)
{
    int size = n / (n & -n);
    synthesise_rest(group, n, size, c, x);
    EQI_UNROLL for (int i = 0; i < HALVINGS; i++)
    {
        if (size < n) {
            synthesise_odd(group, n, size, c, x);
            size *= 2;
        }
    }
}

/* ---- C_n and D_n ----------------------------------------------------------------------------- */

/* Numbers i and, of a pair, i + 1 of the halves of D_n: coefficients of x0 and x1 to those of x. */
INLINE void join_ones(vf32 *a, vf32 *b)
{
    const vf32 u = *a, v = *b;
    *a = vf32_add(u, v);
    *b = vf32_sub(u, v);
}

INLINE void join_pairs(const bool turned, vf32 a[2], vf32 b[2])
{
    const vf32 c0 = a[0], s0 = a[1], c1 = b[0], s1 = b[1];
    a[0] = vf32_add(c0, c1);
    a[1] = vf32_sub(s1, s0);
    b[0] = vf32_add(s0, s1);
    b[1] = vf32_sub(c0, c1);
    if (turned)
        exchange(a + 1, b);
}

/* The adjoint, which is the inverse but for 2; of ones, it is the same. */
INLINE void split_pairs(const bool turned, vf32 a[2], vf32 b[2])
{
    if (turned)
        exchange(a + 1, b);
    const vf32 p = a[0], q = a[1], r = b[0], s = b[1];
    a[0] = vf32_add(p, s);
    a[1] = vf32_sub(q, r);
    b[0] = vf32_sub(p, s);
    b[1] = vf32_add(q, r);
}

INLINE void analyse_all(const eqi_orbit_transform *t, const int n, const bool dihedral, vf32 *x,
                        vf32 *c)
{
    const int order = dihedral ? 2 * n : n, ones = n % 2 == 0 ? 2 : 1;
    for (int64_t v = 0; v < t->vectors; v++) {
        EQI_UNROLL for (int a = 0; a < order; a++)
        {
            x[a] = vf32_load(t->in + a * t->in_step + v * LANES);
        }
        analyse_cyclic(t->group, n, x, c);
        if (dihedral) {
            analyse_cyclic(t->group, n, x + n, c + n);
            EQI_UNROLL for (int i = 0; i < ones; i++)
            {
                join_ones(c + i, c + n + i);
            }
            EQI_UNROLL for (int i = ones; i < n; i += 2)
            {
                join_pairs(t->turned, c + i, c + n + i);
            }
        }
        EQI_UNROLL for (int i = 0; i < order; i++)
        {
            vf32_store(t->out + i * t->out_step + v * LANES, c[i]);
        }
    }
}

INLINE void synthesise_all(const eqi_orbit_transform *t, const int n, const bool dihedral, vf32 *x,
                           vf32 *c)
{
    const int order = dihedral ? 2 * n : n, ones = n % 2 == 0 ? 2 : 1;
    for (int64_t v = 0; v < t->vectors; v++) {
        EQI_UNROLL for (int i = 0; i < order; i++)
        {
            c[i] = vf32_load(t->in + i * t->in_step + v * LANES);
        }
        if (dihedral) {
            EQI_UNROLL for (int i = 0; i < ones; i++)
            {
                join_ones(c + i, c + n + i);
            }
            EQI_UNROLL for (int i = ones; i < n; i += 2)
            {
                split_pairs(t->turned, c + i, c + n + i);
            }
        }
        synthesise_cyclic(t->group, n, c, x);
        if (dihedral)
            synthesise_cyclic(t->group, n, c + n, x + n);
        EQI_UNROLL for (int a = 0; a < order; a++)
        {
            vf32_store(t->out + a * t->out_step + v * LANES, x[a]);
        }
    }
}
