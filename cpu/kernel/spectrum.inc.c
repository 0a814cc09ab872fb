/*
 * Kernels of cpu/gfourier/spectrum.c: coefficients of LANES signals to their spectra, and gradients back.
 *
 * C_n      F_j = C_j - i S_j; real signals have F_(n-j) = conj F_j, so B(1, k) = B(1, n-1-k) and half of a
 *          selective bispectrum is computed, all of it written.
 * D_n      The columns of F(rho_j) as complex numbers are u_j = p_j + q_j and w_j = i (p_j - q_j), p and q the
 *          transforms (+i) of x on turns and on mirrors; u_(n-j) = conj u_j, w_(n-j) = -conj w_j. With (U, W) those
 *          of rho_1 and (V, V') those of rho_j, entry ((a, b), (c, d)) of B(rho_1, rho_j) is
 *              1/2 Re(conj(S_ab) U_c V_d) + 1/2 Re(R_ab U_c conj V_d)
 *              S = (u, w; w, -u)_(j+1),   R = (u, w; -w, u)_(j-1)
 *          (Re X Re Y = Re(X Y) / 2 + Re(X conj Y) / 2): no Clebsch-Gordan matrices, no 4 x 4 products.
 * Layout   A lane is a signal: all arithmetic is on vectors, only signals and codes are turned.
 * Why      A few operations a number, so that what is left is the transform and writing the codes:
 *          docs/performance-log.md.
 *
 * The includer sets a header of cpu/simd/.
 */
#include "cpu/gfourier/spectrum.h"
#include "cpu/kernel/turn.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define INLINE static inline __attribute__((always_inline))

enum { LANES = vf32_lanes };

/* ---- vectors of complex numbers --------------------------------------------------------------- */

typedef struct complex_vector {
    vf32 re, im;
} cv;

INLINE vf32 zero(void)
{
    return vf32_broadcast(0);
}

INLINE vf32 negative(vf32 v)
{
    return vf32_sub(zero(), v);
}

INLINE cv conjugate(cv a)
{
    return (cv){a.re, negative(a.im)};
}

INLINE cv plus(cv a, cv b)
{
    return (cv){vf32_add(a.re, b.re), vf32_add(a.im, b.im)};
}

INLINE cv scaled(vf32 s, cv a)
{
    return (cv){vf32_mul(s, a.re), vf32_mul(s, a.im)};
}

/* Re(conj(a) b) */
INLINE vf32 dot(cv a, cv b)
{
    return vf32_fma(a.re, b.re, vf32_mul(a.im, b.im));
}

/* a b, a conj(b) */
INLINE cv times(cv a, cv b)
{
    return (cv){vf32_sub(vf32_mul(a.re, b.re), vf32_mul(a.im, b.im)),
                vf32_fma(a.re, b.im, vf32_mul(a.im, b.re))};
}

INLINE cv times_conjugate(cv a, cv b)
{
    return (cv){dot(a, b), vf32_sub(vf32_mul(a.im, b.re), vf32_mul(a.re, b.im))};
}

INLINE vf32 row(const float *tile, int64_t i)
{
    return vf32_load(tile + i * LANES);
}

INLINE void set(float *tile, int64_t i, vf32 v)
{
    vf32_store(tile + i * LANES, v);
}

INLINE void add(float *tile, int64_t i, vf32 v)
{
    set(tile, i, vf32_add(row(tile, i), v));
}

INLINE cv number(const float *tile, int64_t i)
{
    return (cv){row(tile, 2 * i), row(tile, 2 * i + 1)};
}

INLINE void set_number(float *tile, int64_t i, cv v)
{
    set(tile, 2 * i, v.re);
    set(tile, 2 * i + 1, v.im);
}

/* Where frequency 0 < j < n / 2 stands: cosine or real part, then sine or imaginary part. */
INLINE int64_t pair_at(int32_t n, int32_t j)
{
    return (n % 2 == 0 ? 2 : 1) + 2 * (j - 1);
}

/* A frequency that has one number: 0, or 1 for n / 2; -1 for the others. */
INLINE int single(int32_t n, int32_t j)
{
    return j == 0 ? 0 : 2 * j == n ? 1 : -1;
}

/* ---- C_n -------------------------------------------------------------------------------------- */

INLINE cv coefficient(const float *hat, int32_t n, int32_t j)
{
    if (single(n, j) >= 0)
        return (cv){row(hat, single(n, j)), zero()};
    const bool upper = 2 * j > n;
    const int64_t at = pair_at(n, upper ? n - j : j);
    const vf32 sine = row(hat, at + 1);
    return (cv){row(hat, at), upper ? sine : negative(sine)};
}

/* The gradient by a coefficient, added to those by its cosine and sine. */
INLINE void add_coefficient(float *diff_hat, int32_t n, int32_t j, cv diff)
{
    if (single(n, j) >= 0) {
        add(diff_hat, single(n, j), diff.re);
        return;
    }
    const bool upper = 2 * j > n;
    const int64_t at = pair_at(n, upper ? n - j : j);
    add(diff_hat, at, diff.re);
    add(diff_hat, at + 1, upper ? diff.im : negative(diff.im));
}

static void cyclic_power(const eqi_spectrum_tile *t)
{
    for (int32_t j = 0; j <= t->n / 2; j++) {
        const cv f = coefficient(t->hat, t->n, j);
        const vf32 square = dot(f, f);
        set(t->numbers, j, square);
        if (j > 0)
            set(t->numbers, t->n - j, square);
    }
}

static void cyclic_power_backward(const eqi_spectrum_tile *t)
{
    for (int32_t j = 0; j < t->n; j++) {
        const vf32 diff = row(t->numbers, j);
        add_coefficient(t->diff_hat, t->n, j,
                        scaled(vf32_add(diff, diff), coefficient(t->hat, t->n, j)));
    }
}

static void cyclic_fourier(const eqi_spectrum_tile *t)
{
    for (int32_t j = 0; j < t->n; j++)
        set_number(t->numbers, j, coefficient(t->hat, t->n, j));
}

static void cyclic_fourier_backward(const eqi_spectrum_tile *t)
{
    for (int32_t j = 0; j < t->n; j++)
        add_coefficient(t->diff_hat, t->n, j, number(t->numbers, j));
}

/* (0, 0), (1, 0), and then (1, k) with (1, n-1-k), numbers k + 1 and n - k */
static void cyclic_selective(const eqi_spectrum_tile *t)
{
    const int32_t n = t->n;
    const cv f0 = coefficient(t->hat, n, 0);
    set_number(t->numbers, 0, (cv){vf32_mul(vf32_mul(f0.re, f0.re), f0.re), zero()});
    if (n == 1)
        return;
    const cv f1 = coefficient(t->hat, n, 1);
    set_number(t->numbers, 1, (cv){vf32_mul(f0.re, dot(f1, f1)), zero()});
    cv here = f1;
    for (int32_t k = 1; k <= (n - 1) / 2; k++) {
        const cv next = coefficient(t->hat, n, k + 1);
        const cv b = times_conjugate(times(f1, here), next);
        set_number(t->numbers, k + 1, b);
        set_number(t->numbers, n - k, b);
        here = next;
    }
}

static void cyclic_selective_backward(const eqi_spectrum_tile *t)
{
    const int32_t n = t->n;
    const cv f0 = coefficient(t->hat, n, 0);
    const vf32 diff0 = row(t->numbers, 0), square = vf32_mul(f0.re, f0.re);
    add(t->diff_hat, 0, vf32_mul(vf32_add(vf32_add(diff0, diff0), diff0), square));
    if (n == 1)
        return;
    const cv f1 = coefficient(t->hat, n, 1);
    const vf32 first = row(t->numbers, 2), twice = vf32_add(first, first);
    add(t->diff_hat, 0, vf32_mul(first, dot(f1, f1)));
    cv diff1 = scaled(vf32_mul(twice, f0.re), f1), here = f1;
    for (int32_t k = 1; k <= (n - 1) / 2; k++) {
        const cv next = coefficient(t->hat, n, k + 1);
        cv diff = number(t->numbers, k + 1);
        if (n - k != k + 1)
            diff = plus(diff, number(t->numbers, n - k));
        const cv product = times(next, diff);
        diff1 = plus(diff1, times_conjugate(product, here));
        add_coefficient(t->diff_hat, n, k, times_conjugate(product, f1));
        add_coefficient(t->diff_hat, n, k + 1, times_conjugate(times(f1, here), diff));
        here = next;
    }
    add_coefficient(t->diff_hat, n, 1, diff1);
}

static void cyclic_full(const eqi_spectrum_tile *t)
{
    const int32_t n = t->n, a = t->part;
    const cv f = coefficient(t->hat, n, a);
    for (int32_t b = 0; b < n; b++)
        set_number(t->numbers, b,
                   times_conjugate(times(f, coefficient(t->hat, n, b)),
                                   coefficient(t->hat, n, (a + b) % n)));
}

static void cyclic_full_backward(const eqi_spectrum_tile *t)
{
    const int32_t n = t->n, a = t->part;
    const cv f = coefficient(t->hat, n, a);
    cv diff_f = {zero(), zero()};
    for (int32_t b = 0; b < n; b++) {
        const cv g = coefficient(t->hat, n, b), diff = number(t->numbers, b);
        const cv product = times(coefficient(t->hat, n, (a + b) % n), diff);
        diff_f = plus(diff_f, times_conjugate(product, g));
        add_coefficient(t->diff_hat, n, b, times_conjugate(product, f));
        add_coefficient(t->diff_hat, n, (a + b) % n, times_conjugate(times(f, g), diff));
    }
    add_coefficient(t->diff_hat, n, a, diff_f);
}

/* ---- D_n -------------------------------------------------------------------------------------- */

typedef struct columns {
    cv u, w;
} columns;

/* Of F(rho_j) for 0 <= j <= (n + 1) / 2; one-dimensional ones are sums and differences of u and -i w. */
INLINE columns columns_of(const float *hat, int32_t n, int32_t j)
{
    const float *const other = hat + (int64_t)n * LANES;
    const int only = single(n, j);
    if (only >= 0)
        return (columns){{row(hat, only), zero()}, {zero(), row(other, only)}};
    const bool upper = 2 * j > n;
    const int64_t at = pair_at(n, upper ? n - j : j);
    const columns c = {{row(hat, at), row(hat, at + 1)}, {row(other, at), row(other, at + 1)}};
    return upper ? (columns){conjugate(c.u), {negative(c.w.re), c.w.im}} : c;
}

INLINE void add_columns(float *diff_hat, int32_t n, int32_t j, columns diff)
{
    float *const other = diff_hat + (int64_t)n * LANES;
    const int only = single(n, j);
    if (only >= 0) {
        add(diff_hat, only, diff.u.re);
        add(other, only, diff.w.im);
        return;
    }
    const bool upper = 2 * j > n;
    const int64_t at = pair_at(n, upper ? n - j : j);
    add(diff_hat, at, diff.u.re);
    add(diff_hat, at + 1, upper ? negative(diff.u.im) : diff.u.im);
    add(other, at, upper ? negative(diff.w.re) : diff.w.re);
    add(other, at + 1, diff.w.im);
}

/* Rows of hat that hold the one-dimensional irreps, as the header orders them, and their numbers. */
INLINE int one_dimensional(int32_t n, int64_t hat_row[4], int64_t at[4])
{
    const int64_t planes = 4 * (int64_t)((n - 1) / 2);
    hat_row[0] = 0, at[0] = 0;
    hat_row[1] = n, at[1] = 1;
    hat_row[2] = n + 1, at[2] = 2 + planes;
    hat_row[3] = 1, at[3] = 3 + planes;
    return n % 2 == 0 ? 4 : 2;
}

INLINE void put_square(float *numbers, vf32 factor, columns c)
{
    const vf32 mixed = vf32_mul(factor, dot(c.u, c.w));
    set(numbers, 0, vf32_mul(factor, dot(c.u, c.u)));
    set(numbers, 1, mixed);
    set(numbers, 2, mixed);
    set(numbers, 3, vf32_mul(factor, dot(c.w, c.w)));
}

/* Gradients of u and w, but for the factor, and of the factor. */
INLINE columns square_backward(const float *diff, columns c, vf32 *factor)
{
    const vf32 uu = row(diff, 0), uw = vf32_add(row(diff, 1), row(diff, 2)), ww = row(diff, 3);
    *factor = vf32_fma(uu, dot(c.u, c.u), vf32_fma(uw, dot(c.u, c.w), vf32_mul(ww, dot(c.w, c.w))));
    return (columns){plus(scaled(vf32_add(uu, uu), c.u), scaled(uw, c.w)),
                     plus(scaled(vf32_add(ww, ww), c.w), scaled(uw, c.u))};
}

static void dihedral_power(const eqi_spectrum_tile *t)
{
    int64_t hat_row[4], at[4];
    for (int i = one_dimensional(t->n, hat_row, at) - 1; i >= 0; i--) {
        const vf32 f = row(t->hat, hat_row[i]);
        set(t->numbers, at[i], vf32_mul(f, f));
    }
    for (int32_t j = 1; j <= (t->n - 1) / 2; j++)
        put_square(t->numbers + (2 + 4 * (int64_t)(j - 1)) * LANES, vf32_broadcast(1),
                   columns_of(t->hat, t->n, j));
}

static void dihedral_power_backward(const eqi_spectrum_tile *t)
{
    int64_t hat_row[4], at[4];
    for (int i = one_dimensional(t->n, hat_row, at) - 1; i >= 0; i--) {
        const vf32 diff = row(t->numbers, at[i]);
        add(t->diff_hat, hat_row[i], vf32_mul(vf32_add(diff, diff), row(t->hat, hat_row[i])));
    }
    for (int32_t j = 1; j <= (t->n - 1) / 2; j++) {
        vf32 factor;
        add_columns(t->diff_hat, t->n, j,
                    square_backward(t->numbers + (2 + 4 * (int64_t)(j - 1)) * LANES,
                                    columns_of(t->hat, t->n, j), &factor));
    }
}

static void dihedral_fourier(const eqi_spectrum_tile *t)
{
    int64_t hat_row[4], at[4];
    for (int i = one_dimensional(t->n, hat_row, at) - 1; i >= 0; i--)
        set(t->numbers, at[i], row(t->hat, hat_row[i]));
    for (int32_t j = 1; j <= (t->n - 1) / 2; j++) {
        const columns c = columns_of(t->hat, t->n, j);
        const int64_t i = 2 + 4 * (int64_t)(j - 1);
        set(t->numbers, i, c.u.re);
        set(t->numbers, i + 1, c.w.re);
        set(t->numbers, i + 2, c.u.im);
        set(t->numbers, i + 3, c.w.im);
    }
}

static void dihedral_fourier_backward(const eqi_spectrum_tile *t)
{
    int64_t hat_row[4], at[4];
    for (int i = one_dimensional(t->n, hat_row, at) - 1; i >= 0; i--)
        add(t->diff_hat, hat_row[i], row(t->numbers, at[i]));
    for (int32_t j = 1; j <= (t->n - 1) / 2; j++) {
        const int64_t i = 2 + 4 * (int64_t)(j - 1);
        add_columns(t->diff_hat, t->n, j,
                    (columns){{row(t->numbers, i), row(t->numbers, i + 2)},
                              {row(t->numbers, i + 1), row(t->numbers, i + 3)}});
    }
}

/* U_c V_d and U_c conj(V_d) from the four products that they share. */
INLINE void both_products(cv a, cv b, cv *product, cv *with_conjugate)
{
    const vf32 rr = vf32_mul(a.re, b.re), ii = vf32_mul(a.im, b.im);
    const vf32 ri = vf32_mul(a.re, b.im), ir = vf32_mul(a.im, b.re);
    *product = (cv){vf32_sub(rr, ii), vf32_add(ri, ir)};
    *with_conjugate = (cv){vf32_add(rr, ii), vf32_sub(ir, ri)};
}

/* Re(a b) */
INLINE vf32 real_product(cv a, cv b)
{
    return vf32_sub(vf32_mul(a.re, b.re), vf32_mul(a.im, b.im));
}

INLINE void put_block(float *numbers, cv u, cv v, columns up, columns down, int64_t column)
{
    cv p, q;
    both_products(u, v, &p, &q);
    const vf32 a = dot(up.u, p), b = dot(up.w, p);
    const vf32 c = real_product(down.u, q), d = real_product(down.w, q);
    set(numbers, column, vf32_add(c, a));
    set(numbers, 4 + column, vf32_add(b, d));
    set(numbers, 8 + column, vf32_sub(b, d));
    set(numbers, 12 + column, vf32_sub(c, a));
}

static void dihedral_selective(const eqi_spectrum_tile *t)
{
    const int32_t n = t->n;
    const vf32 f0 = row(t->hat, 0), half = vf32_broadcast(0.5F);
    set(t->numbers, 0, vf32_mul(vf32_mul(f0, f0), f0));
    if (n <= 2) {
        const vf32 a = row(t->hat, n);
        set(t->numbers, 1, vf32_mul(f0, vf32_mul(a, a)));
        if (n == 2) {
            const vf32 b = row(t->hat, 3);
            set(t->numbers, 2, vf32_mul(f0, vf32_mul(b, b)));
            set(t->numbers, 3, vf32_mul(vf32_mul(a, b), row(t->hat, 1)));
        }
        return;
    }
    const columns one = columns_of(t->hat, n, 1);
    const columns scaled_one = {scaled(half, one.u), scaled(half, one.w)};
    put_square(t->numbers + LANES, f0, one);
    columns down = columns_of(t->hat, n, 0), here = one;
    for (int32_t j = 1; j <= (n - 1) / 2; j++) {
        float *const numbers = t->numbers + (5 + 16 * (int64_t)(j - 1)) * LANES;
        const columns up = columns_of(t->hat, n, j + 1);
        put_block(numbers, scaled_one.u, here.u, up, down, 0);
        put_block(numbers, scaled_one.u, here.w, up, down, 1);
        put_block(numbers, scaled_one.w, here.u, up, down, 2);
        put_block(numbers, scaled_one.w, here.w, up, down, 3);
        down = here;
        here = up;
    }
}

/* Adds the gradients through one column of a block; those of up and down are twice what is added here. */
INLINE void block_backward(const float *diff, cv u, cv v, columns up, columns down, int64_t column,
                           cv *diff_u, cv *diff_v, columns *diff_up, columns *diff_down)
{
    const vf32 d11 = row(diff, column), d12 = row(diff, 4 + column);
    const vf32 d21 = row(diff, 8 + column), d22 = row(diff, 12 + column);
    const vf32 a = vf32_sub(d11, d22), b = vf32_add(d12, d21);
    const vf32 c = vf32_add(d11, d22), d = vf32_sub(d12, d21);
    cv p, q;
    both_products(u, v, &p, &q);
    diff_up->u = plus(diff_up->u, scaled(a, p));
    diff_up->w = plus(diff_up->w, scaled(b, p));
    diff_down->u = plus(diff_down->u, scaled(c, conjugate(q)));
    diff_down->w = plus(diff_down->w, scaled(d, conjugate(q)));
    const cv by_p = plus(scaled(a, up.u), scaled(b, up.w));
    const cv by_q = conjugate(plus(scaled(c, down.u), scaled(d, down.w)));
    *diff_u = plus(*diff_u, plus(times_conjugate(by_p, v), times(by_q, v)));
    *diff_v = plus(*diff_v, plus(times_conjugate(by_p, u), times_conjugate(u, by_q)));
}

static void dihedral_selective_backward(const eqi_spectrum_tile *t)
{
    const int32_t n = t->n;
    const vf32 f0 = row(t->hat, 0), diff0 = row(t->numbers, 0), half = vf32_broadcast(0.5F);
    add(t->diff_hat, 0, vf32_mul(vf32_add(vf32_add(diff0, diff0), diff0), vf32_mul(f0, f0)));
    if (n <= 2) {
        const vf32 a = row(t->hat, n), diff_a = row(t->numbers, 1), twice = vf32_add(f0, f0);
        add(t->diff_hat, 0, vf32_mul(diff_a, vf32_mul(a, a)));
        add(t->diff_hat, n, vf32_mul(diff_a, vf32_mul(twice, a)));
        if (n == 2) {
            const vf32 b = row(t->hat, 3), c = row(t->hat, 1);
            const vf32 diff_b = row(t->numbers, 2), diff_c = row(t->numbers, 3);
            add(t->diff_hat, 0, vf32_mul(diff_b, vf32_mul(b, b)));
            add(t->diff_hat, 3, vf32_mul(diff_b, vf32_mul(twice, b)));
            add(t->diff_hat, n, vf32_mul(diff_c, vf32_mul(b, c)));
            add(t->diff_hat, 3, vf32_mul(diff_c, vf32_mul(a, c)));
            add(t->diff_hat, 1, vf32_mul(diff_c, vf32_mul(a, b)));
        }
        return;
    }
    const columns one = columns_of(t->hat, n, 1), nothing = {{zero(), zero()}, {zero(), zero()}};
    vf32 diff_factor;
    columns diff_one = square_backward(t->numbers + LANES, one, &diff_factor);
    diff_one = (columns){scaled(f0, diff_one.u), scaled(f0, diff_one.w)};
    add(t->diff_hat, 0, diff_factor);
    add_columns(t->diff_hat, n, 1, diff_one);
    columns down = columns_of(t->hat, n, 0), here = one;
    diff_one = nothing;
    for (int32_t j = 1; j <= (n - 1) / 2; j++) {
        const float *const diff = t->numbers + (5 + 16 * (int64_t)(j - 1)) * LANES;
        const columns up = columns_of(t->hat, n, j + 1);
        columns by_up = nothing, by_down = nothing, by_here = nothing;
        block_backward(diff, one.u, here.u, up, down, 0, &diff_one.u, &by_here.u, &by_up, &by_down);
        block_backward(diff, one.u, here.w, up, down, 1, &diff_one.u, &by_here.w, &by_up, &by_down);
        block_backward(diff, one.w, here.u, up, down, 2, &diff_one.w, &by_here.u, &by_up, &by_down);
        block_backward(diff, one.w, here.w, up, down, 3, &diff_one.w, &by_here.w, &by_up, &by_down);
        add_columns(t->diff_hat, n, j + 1, (columns){scaled(half, by_up.u), scaled(half, by_up.w)});
        add_columns(t->diff_hat, n, j, (columns){scaled(half, by_here.u), scaled(half, by_here.w)});
        add_columns(t->diff_hat, n, j - 1,
                    (columns){scaled(half, by_down.u), scaled(half, by_down.w)});
        down = here;
        here = up;
    }
    add_columns(t->diff_hat, n, 1, (columns){scaled(half, diff_one.u), scaled(half, diff_one.w)});
}

/* ---- tiles ------------------------------------------------------------------------------------ */

typedef void kernel(const eqi_spectrum_tile *t);

/* [kind][D_n][backward] */
static kernel *const kernels[][2][2] = {
    [EQUINV_PROJECT_POWER] = {{cyclic_power, cyclic_power_backward},
                              {dihedral_power, dihedral_power_backward}},
    [EQUINV_PROJECT_BISPECTRUM] = {{cyclic_selective, cyclic_selective_backward},
                                   {dihedral_selective, dihedral_selective_backward}},
    [EQUINV_PROJECT_BISPECTRUM_FULL] = {{cyclic_full, cyclic_full_backward}},
    [EQUINV_PROJECT_FOURIER] = {{cyclic_fourier, cyclic_fourier_backward},
                                {dihedral_fourier, dihedral_fourier_backward}},
};

static void forward(const eqi_spectrum_tile *t)
{
    kernels[t->kind][t->dihedral][0](t);
}

static void backward(const eqi_spectrum_tile *t)
{
    kernels[t->kind][t->dihedral][1](t);
}

static void put(const float *tile, int64_t numbers, int64_t count, float *to, int64_t step,
                int64_t element)
{
    int64_t i = 0;
    for (; count == LANES && element == 1 && i + LANES <= numbers; i += LANES) {
        vf32 v[LANES];
        EQI_UNROLL for (int r = 0; r < LANES; r++)
        {
            v[r] = row(tile, i + r);
        }
        turn(v);
        EQI_UNROLL for (int l = 0; l < LANES; l++)
        {
            vf32_store(to + l * step + i, v[l]);
        }
    }
    for (; count == LANES && element == 1 && i + 4 <= numbers; i += 4) {
        const vf32 quad[4] = {row(tile, i), row(tile, i + 1), row(tile, i + 2), row(tile, i + 3)};
        vf32_store_turned(to + i, step, quad);
    }
    for (; i < numbers; i++)
        for (int64_t l = 0; l < count; l++)
            to[l * step + i * element] = tile[i * LANES + l];
}

static void take(const float *from, int64_t step, int64_t element, int64_t numbers, int64_t count,
                 float *tile)
{
    int64_t i = 0;
    for (; count == LANES && element == 1 && i + LANES <= numbers; i += LANES) {
        vf32 v[LANES];
        EQI_UNROLL for (int l = 0; l < LANES; l++)
        {
            v[l] = vf32_load(from + l * step + i);
            __builtin_prefetch(from + (LANES + l) * step + i); /* of the next tile */
        }
        turn(v);
        EQI_UNROLL for (int r = 0; r < LANES; r++)
        {
            set(tile, i + r, v[r]);
        }
    }
    for (; count == LANES && element == 1 && i + 4 <= numbers; i += 4) {
        vf32 quad[4];
        vf32_load_turned(from + i, step, quad);
        for (int64_t r = 0; r < 4; r++)
            set(tile, i + r, quad[r]);
    }
    for (; i < numbers; i++)
        for (int64_t l = 0; l < LANES; l++)
            tile[i * LANES + l] = l < count ? from[l * step + i * element] : 0;
}

const eqi_spectrum_kernels PASTE(eqi_spectra_, EQI_LEVEL) = {LANES, forward, backward, put, take};
