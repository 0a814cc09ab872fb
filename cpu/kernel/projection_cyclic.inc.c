/*
 * Sequences over C_n and D_n to Fourier coefficients and back, on vectors. Included twice by
 * projection.inc.c: for n that are constants, where all loops are written out, and for any other.
 * The includer sets NAME, UNROLL, HALVINGS, how often n may be even, and TOGETHER, how many frequencies or
 * members of long ones are summed beside each other: they share what they load and do not wait.
 *
 * Even n is halved as long as it goes: with N = 2 m, sums x(g) + x(g + m) carry the even
 * frequencies, which are those of C_m, and differences the odd ones, whose cosines change sign
 * between g and m - g and whose sines do not: about N^2 / 8 multiply-adds. The odd rest uses the
 * same mirror. All in all n^2 / 6 for a power of two; large ones take projection_fft.inc.c.
 */

/* x(0 .. 2 m - 1): its odd frequencies to c, x(g) + x(g + m) stays; what is behind is used up. */
INLINE void NAME(analyse_odd)(const eqi_orbit_group *group, const int n, const int m,
                              const int together, vf32 *x, vf32 *c)
{
    const int step = n / (2 * m), half = (m + 1) / 2;
    vf32 *const d = x + m;
    UNROLL for (int g = 0; g < m; g++)
    {
        const vf32 a = x[g], b = d[g];
        x[g] = vf32_add(a, b);
        d[g] = vf32_sub(a, b);
    }
    UNROLL for (int g = 1; g < half; g++)
    {
        const vf32 a = d[g], b = d[m - g];
        d[g] = vf32_sub(a, b);
        d[m - g] = vf32_add(a, b);
    }
    UNROLL for (int first = 1; first < m; first += 2 * together)
    {
        vf32 of_cosine[MOST_TOGETHER], of_sine[MOST_TOGETHER];
        int at[MOST_TOGETHER],
            by[MOST_TOGETHER]; /* frequencies from m on are computed for nothing */
        EQI_UNROLL for (int q = 0; q < together; q++)
        {
            of_cosine[q] = of_sine[q] = d[0];
            at[q] = 0;
            by[q] = (first + 2 * q) * step % n;
        }
        UNROLL for (int g = 1; g < half; g++)
        {
            EQI_UNROLL for (int q = 0; q < together; q++)
            {
                at[q] = next_turn(at[q], by[q], n);
                of_cosine[q] = vf32_fma(d[g], turn(group->cosine, at[q]), of_cosine[q]);
                of_sine[q] = plus_product(g == 1, of_sine[q], d[m - g], turn(group->sine, at[q]));
            }
        }
        EQI_UNROLL for (int q = 0; q < together; q++)
        {
            const int i = first + 2 * q;
            if (i < m) {
                if (m % 2 == 0) /* the sine of i quarter turns */
                    of_sine[q] = i / 2 % 2 ? vf32_sub(of_sine[q], d[m / 2])
                                           : plus(m == 2, of_sine[q], d[m / 2]);
                c[pair_at(n, i * step)] = of_cosine[q];
                c[pair_at(n, i * step) + 1] = of_sine[q];
            }
        }
    }
    if (m % 2 == 1) { /* (-1)^g */
        vf32 sum = d[0];
        UNROLL for (int g = 1; g < half; g++)
        {
            sum = g % 2 ? vf32_sub(sum, d[g]) : vf32_add(sum, d[g]);
        }
        c[1] = sum;
    }
}

/* x(0 .. odd - 1): all its frequencies, which are multiples of n / odd. */
INLINE void NAME(analyse_rest)(const eqi_orbit_group *group, const int n, const int odd, vf32 *x,
                               vf32 *c)
{
    const int step = n / odd, half = (odd + 1) / 2;
    vf32 sum = x[0];
    UNROLL for (int g = 1; g < half; g++)
    {
        const vf32 a = x[g], b = x[odd - g];
        x[g] = vf32_add(a, b);
        x[odd - g] = vf32_sub(a, b);
        sum = vf32_add(sum, x[g]);
    }
    c[0] = sum;
    UNROLL for (int i = 1; i < half; i++)
    {
        vf32 of_cosine = x[0], of_sine = x[0];
        int at = 0;
        UNROLL for (int g = 1; g < half; g++)
        {
            at = next_turn(at, i * step, n);
            of_cosine = vf32_fma(x[g], turn(group->cosine, at), of_cosine);
            of_sine = plus_product(g == 1, of_sine, x[odd - g], turn(group->sine, at));
        }
        c[pair_at(n, i * step)] = of_cosine;
        c[pair_at(n, i * step) + 1] = of_sine;
    }
}

/* The odd frequencies of 2 m numbers, added to x(0 .. m - 1), which has the even ones. */
INLINE void NAME(synthesise_odd)(const eqi_orbit_group *group, const int n, const int m,
                                 const int together, const vf32 *c, vf32 *x)
{
    const int step = n / (2 * m), half = (m + 1) / 2;
    vf32 first = c[1], middle = c[1]; /* at 0, where sines are 0; at m / 2, where cosines are */
    UNROLL for (int i = 1; i < m; i += 2)
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
    UNROLL for (int start = 1; start < half; start += together)
    {
        vf32 of_cosine[MOST_TOGETHER], of_sine[MOST_TOGETHER];
        int turns[MOST_TOGETHER],
            by[MOST_TOGETHER]; /* members from half on are computed for nothing */
        EQI_UNROLL for (int q = 0; q < together; q++)
        {
            of_cosine[q] = of_sine[q] = c[1];
            if ((start + q) % 2)
                of_cosine[q] = vf32_sub(vf32_broadcast(0), of_cosine[q]);
            turns[q] = (n - (start + q) * step % n) % n; /* a step before i = 1 */
            by[q] = 2 * (start + q) * step % n;
        }
        UNROLL for (int i = 1; i < m; i += 2)
        {
            const int at = pair_at(n, i * step);
            EQI_UNROLL for (int q = 0; q < together; q++)
            {
                turns[q] = next_turn(turns[q], by[q], n);
                of_cosine[q] = plus_product(i == 1 && m % 2 == 0, of_cosine[q], c[at],
                                            turn(group->cosine, turns[q]));
                of_sine[q] =
                    plus_product(i == 1, of_sine[q], c[at + 1], turn(group->sine, turns[q]));
            }
        }
        EQI_UNROLL for (int q = 0; q < together; q++)
        {
            const int g = start + q;
            if (g < half) {
                const vf32 here = vf32_add(of_sine[q], of_cosine[q]);
                const vf32 there = vf32_sub(of_sine[q], of_cosine[q]);
                const vf32 b = x[m - g];
                a = x[g];
                x[g] = vf32_add(a, here);
                x[m + g] = vf32_sub(a, here);
                x[m - g] = vf32_add(b, there);
                x[2 * m - g] = vf32_sub(b, there);
            }
        }
    }
}

INLINE void NAME(synthesise_rest)(const eqi_orbit_group *group, const int n, const int odd,
                                  const vf32 *c, vf32 *x)
{
    const int step = n / odd, half = (odd + 1) / 2;
    vf32 first = c[0];
    UNROLL for (int i = 1; i < half; i++)
    {
        first = vf32_add(first, c[pair_at(n, i * step)]);
    }
    x[0] = first;
    UNROLL for (int g = 1; g < half; g++)
    {
        vf32 of_cosine = c[0], of_sine = c[0];
        int turns = 0;
        UNROLL for (int i = 1; i < half; i++)
        {
            const int at = pair_at(n, i * step);
            turns = next_turn(turns, g * step, n);
            of_cosine = vf32_fma(c[at], turn(group->cosine, turns), of_cosine);
            of_sine = plus_product(i == 1, of_sine, c[at + 1], turn(group->sine, turns));
        }
        x[g] = vf32_add(of_cosine, of_sine);
        x[odd - g] = vf32_sub(of_cosine, of_sine);
    }
}

INLINE void NAME(analyse_cyclic)(const eqi_orbit_group *group, const int n, vf32 *x, vf32 *c)
{
    int size = n;
    UNROLL for (int i = 0; i < HALVINGS; i++)
    {
        if (size % 2 == 0) {
            size /= 2;
            if (TOGETHER > 1 && size >= 4 * TOGETHER)
                NAME(analyse_odd)(group, n, size, TOGETHER, x, c);
            else
                NAME(analyse_odd)(group, n, size, 1, x, c);
        }
    }
    NAME(analyse_rest)(group, n, size, x, c);
}

/* x(g) = c[0] + (-1)^g c[1] + sum over the pairs of C cos + S sin */
INLINE void NAME(synthesise_cyclic)(const eqi_orbit_group *group, const int n, const vf32 *c,
                                    vf32 *x)
{
    int size = n / (n & -n);
    NAME(synthesise_rest)(group, n, size, c, x);
    UNROLL for (int i = 0; i < HALVINGS; i++)
    {
        if (size < n) {
            if (TOGETHER > 1 && size >= 4 * TOGETHER)
                NAME(synthesise_odd)(group, n, size, TOGETHER, c, x);
            else
                NAME(synthesise_odd)(group, n, size, 1, c, x);
            size *= 2;
        }
    }
}

/* ---- C_n and D_n ----------------------------------------------------------------------------- */

/*
 * The halves of D_n: coefficients of x0 and x1 to those of x, and the adjoint, which is its own
 * inverse but for 2.
 */
INLINE void NAME(join_halves)(const int n, const bool turned, vf32 *a, vf32 *b)
{
    const int ones = n % 2 == 0 ? 2 : 1;
    UNROLL for (int i = 0; i < ones; i++)
    {
        const vf32 u = a[i], v = b[i];
        a[i] = vf32_add(u, v);
        b[i] = vf32_sub(u, v);
    }
    UNROLL for (int i = ones; i < n; i += 2)
    {
        const vf32 c0 = a[i], s0 = a[i + 1], c1 = b[i], s1 = b[i + 1];
        a[i] = vf32_add(c0, c1);
        a[i + 1] = vf32_sub(s1, s0);
        b[i] = vf32_add(s0, s1);
        b[i + 1] = vf32_sub(c0, c1);
        if (turned)
            exchange(a + i + 1, b + i);
    }
}

INLINE void NAME(split_halves)(const int n, const bool turned, vf32 *a, vf32 *b)
{
    const int ones = n % 2 == 0 ? 2 : 1;
    UNROLL for (int i = 0; i < ones; i++)
    {
        const vf32 u = a[i], v = b[i];
        a[i] = vf32_add(u, v);
        b[i] = vf32_sub(u, v);
    }
    UNROLL for (int i = ones; i < n; i += 2)
    {
        if (turned)
            exchange(a + i + 1, b + i);
        const vf32 p = a[i], q = a[i + 1], r = b[i], s = b[i + 1];
        a[i] = vf32_add(p, s);
        a[i + 1] = vf32_sub(q, r);
        b[i] = vf32_sub(p, s);
        b[i + 1] = vf32_add(q, r);
    }
}

INLINE void NAME(analyse_all)(const eqi_orbit_transform *t, const int n, const bool dihedral,
                              vf32 *x, vf32 *c)
{
    const int order = dihedral ? 2 * n : n;
    for (int64_t v = 0; v < t->vectors; v++) {
        UNROLL for (int a = 0; a < order; a++)
        {
            x[a] = vf32_load(t->in + a * t->in_step + v * LANES);
        }
        NAME(analyse_cyclic)(t->group, n, x, c);
        if (dihedral) {
            NAME(analyse_cyclic)(t->group, n, x + n, c + n);
            NAME(join_halves)(n, t->turned, c, c + n);
        }
        UNROLL for (int i = 0; i < order; i++)
        {
            vf32_store(t->out + i * t->out_step + v * LANES, c[i]);
        }
    }
}

INLINE void NAME(synthesise_all)(const eqi_orbit_transform *t, const int n, const bool dihedral,
                                 vf32 *x, vf32 *c)
{
    const int order = dihedral ? 2 * n : n;
    for (int64_t v = 0; v < t->vectors; v++) {
        UNROLL for (int i = 0; i < order; i++)
        {
            c[i] = vf32_load(t->in + i * t->in_step + v * LANES);
        }
        if (dihedral)
            NAME(split_halves)(n, t->turned, c, c + n);
        NAME(synthesise_cyclic)(t->group, n, c, x);
        if (dihedral)
            NAME(synthesise_cyclic)(t->group, n, c + n, x + n);
        UNROLL for (int a = 0; a < order; a++)
        {
            vf32_store(t->out + a * t->out_step + v * LANES, x[a]);
        }
    }
}

#undef NAME
#undef UNROLL
#undef HALVINGS
#undef TOGETHER
