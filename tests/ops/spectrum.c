/* Spectra of signals on the group: Fourier coefficients, power, bispectra, triple correlation. */
#include <complex.h>

#include "tests/ops/projection_cases.h"

typedef double complex number;

static const double pi = 3.14159265358979323846;

static const equinv_projection_kind spectral_kinds[] = {
    EQUINV_PROJECT_POWER, EQUINV_PROJECT_BISPECTRUM, EQUINV_PROJECT_BISPECTRUM_FULL,
    EQUINV_PROJECT_TRIPLE, EQUINV_PROJECT_FOURIER};
enum { SPECTRAL_KINDS = sizeof spectral_kinds / sizeof *spectral_kinds };

static const group_case more_groups[] = {
    {{EQUINV_GROUP_CYCLIC, 6}, 1, 1},    {{EQUINV_GROUP_CYCLIC, 7}, 1, 1},
    {{EQUINV_GROUP_CYCLIC, 12}, 1, 1},   {{EQUINV_GROUP_CYCLIC, 15}, 1, 1},
    {{EQUINV_GROUP_DIHEDRAL, 2}, 1, 1},  {{EQUINV_GROUP_DIHEDRAL, 5}, 1, 1},
    {{EQUINV_GROUP_DIHEDRAL, 6}, 1, 1},  {{EQUINV_GROUP_DIHEDRAL, 7}, 1, 1},
    {{EQUINV_GROUP_DIHEDRAL, 10}, 1, 1},
};
enum { SOME_GROUPS = GROUP_CASES + sizeof more_groups / sizeof *more_groups };

static group_case some_group(int i)
{
    return i < GROUP_CASES ? group_cases[i] : more_groups[i - GROUP_CASES];
}

static equinv_projection_desc spectrum_desc(equinv_projection_kind kind, group_case g,
                                            equinv_dtype dtype, int64_t fields, const char *impl)
{
    equinv_projection_desc d = desc_of(kind, g, dtype, fields, 0, 0);
    d.impl = impl;
    return d;
}

/* NULL where the implementation, which is not "ref", declines. */
static equinv_projection *created(equinv_context *ctx, const equinv_projection_desc *d)
{
    equinv_projection *p = NULL;
    const equinv_status status = equinv_projection_create(ctx, d, &p);
    if (status == EQUINV_ERR_UNSUPPORTED && strcmp(d->impl, "ref") != 0)
        return NULL;
    OK(status);
    return p;
}

static equinv_projection *reference(equinv_context *ctx, equinv_projection_kind kind, group_case g,
                                    int64_t fields)
{
    const equinv_projection_desc d = spectrum_desc(kind, g, EQUINV_F64, fields, "ref");
    return created(ctx, &d);
}

/* ---- the definition, from equinv_act and equinv_group_irrep ----------------------------------- */

/* Representation `which` of C_n (a character) or D_n at an element; returns its dimension. */
static int irrep_at(equinv_group g, int32_t which, int32_t element, number *rho)
{
    int32_t dimension = 1;
    double matrix[4];
    if (g.kind == EQUINV_GROUP_CYCLIC) {
        rho[0] = cexp(-2 * pi * (number)I * which * element / g.n);
        return 1;
    }
    OK(equinv_group_irrep(g, which, element, &dimension, matrix));
    for (int i = 0; i < dimension * dimension; i++)
        rho[i] = matrix[i];
    return dimension;
}

static int32_t irreps_of(equinv_group g)
{
    int32_t count = g.n;
    if (g.kind == EQUINV_GROUP_DIHEDRAL)
        OK(equinv_group_irrep_count(g, &count));
    return count;
}

static int product_at(equinv_group g, int32_t rho, int32_t sigma, int32_t element, number *out)
{
    number a[4], b[4];
    const int d = irrep_at(g, rho, element, a), e = irrep_at(g, sigma, element, b), m = d * e;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < e; j++)
            for (int k = 0; k < d; k++)
                for (int l = 0; l < e; l++)
                    out[(i * e + j) * m + k * e + l] = a[i * d + k] * b[j * e + l];
    return m;
}

/* Numbers of one signal; the next place is returned. */
static double *put_number(equinv_group g, number value, double *out)
{
    *out++ = creal(value);
    if (g.kind == EQUINV_GROUP_CYCLIC)
        *out++ = cimag(value);
    return out;
}

static double *put_pair(equinv_group g, const double *x, int32_t rho, int32_t sigma, double *out)
{
    const int32_t order = order_of(g);
    number sum[16] = {0}, product[16];
    int m = 1;
    for (int32_t a = 0; a < order; a++) { /* sum_a conj((rho o sigma)(a)^T) of the triple product */
        m = product_at(g, rho, sigma, a, product);
        for (int i = 0; i < m * m; i++)
            sum[i] += x[a] * product[i];
    }
    number f[4] = {0}, h[4] = {0};
    int d = 1, e = 1;
    for (int32_t a = 0; a < order; a++) {
        number r[4], s[4];
        d = irrep_at(g, rho, a, r), e = irrep_at(g, sigma, a, s);
        for (int i = 0; i < d * d; i++)
            f[i] += x[a] * r[i];
        for (int i = 0; i < e * e; i++)
            h[i] += x[a] * s[i];
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++) {
            number value = 0;
            for (int k = 0; k < m; k++)
                value += conj(sum[k * m + i]) * f[k / e * d + j / e] * h[k % e * e + j % e];
            out = put_number(g, value, out);
        }
    return out;
}

static double *put_selective(equinv_group g, const double *x, double *out)
{
    if (g.kind == EQUINV_GROUP_CYCLIC) {
        out = put_pair(g, x, 0, 0, out);
        for (int32_t b = 0; b < g.n - 1; b++)
            out = put_pair(g, x, 1, b, out);
        return out;
    }
    out = put_pair(g, x, 0, 0, out);
    if (g.n <= 2) {
        out = put_pair(g, x, 0, 1, out);
        if (g.n == 2) {
            out = put_pair(g, x, 0, 2, out);
            out = put_pair(g, x, 1, 2, out);
        }
        return out;
    }
    out = put_pair(g, x, 0, 2, out);
    for (int32_t j = 1; j <= (g.n - 1) / 2; j++)
        out = put_pair(g, x, 2, 1 + j, out);
    return out;
}

static double *put_spectrum(equinv_projection_kind kind, equinv_group g, const double *x,
                            double *out)
{
    const int32_t order = order_of(g), irreps = irreps_of(g);
    if (kind == EQUINV_PROJECT_BISPECTRUM)
        return put_selective(g, x, out);
    if (kind == EQUINV_PROJECT_TRIPLE) {
        for (int32_t a = 0; a < order; a++)
            for (int32_t b = 0; b < order; b++) {
                *out = 0;
                for (int32_t h = 0; h < order; h++) {
                    int32_t ha, hb;
                    OK(equinv_group_product(g, h, a, &ha));
                    OK(equinv_group_product(g, h, b, &hb));
                    *out += x[h] * x[ha] * x[hb];
                }
                out++;
            }
        return out;
    }
    for (int32_t r = 0; r < irreps; r++) {
        if (kind == EQUINV_PROJECT_BISPECTRUM_FULL) {
            for (int32_t s = 0; s < irreps; s++)
                out = put_pair(g, x, r, s, out);
            continue;
        }
        number f[4] = {0};
        int d = 1;
        for (int32_t a = 0; a < order; a++) {
            number rho[4];
            d = irrep_at(g, r, a, rho);
            for (int i = 0; i < d * d; i++)
                f[i] += x[a] * rho[i];
        }
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++)
                if (kind == EQUINV_PROJECT_FOURIER) {
                    out = put_number(g, f[i * d + j], out);
                } else {
                    *out = 0;
                    for (int k = 0; k < d; k++)
                        *out += creal(conj(f[k * d + i]) * f[k * d + j]);
                    out++;
                }
    }
    return out;
}

/* Codes by definition: signal (f, q) at a is (a^-1 z)[f, e, q]. */
static equinv_tensor spectrum_by_definition(equinv_context *ctx, const equinv_projection *p,
                                            const equinv_projection_desc *d, const equinv_tensor *z)
{
    const int32_t order = order_of(d->group);
    const int64_t pixels = d->height * d->width, signals = d->fields * pixels;
    equinv_tensor x = tensor_new(ctx, EQUINV_F64, 3, z->shape[0], signals, (int64_t)order);
    equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, z->shape[0]);
    for (int32_t a = 0; a < order; a++) {
        int32_t inverse;
        OK(equinv_group_inverse(d->group, a, &inverse));
        equinv_tensor moved = acted(ctx, d->group, inverse, z);
        for (int64_t b = 0; b < z->shape[0]; b++)
            for (int64_t s = 0; s < signals; s++)
                tensor_set(&x, (b * signals + s) * order + a,
                           tensor_get(&moved, ((b * d->fields + s / pixels) * order) * pixels +
                                                  s % pixels));
        equinv_tensor_destroy(ctx, &moved);
    }
    double *out = codes.data;
    for (int64_t i = 0; i < z->shape[0] * signals; i++)
        out = put_spectrum(d->kind, d->group, (const double *)x.data + i * order, out);
    ck_assert_int_eq(out - (double *)codes.data, equinv_tensor_count(&codes));
    equinv_tensor_destroy(ctx, &x);
    return codes;
}

START_TEST(reference_is_the_definition)
{
    equinv_context *ctx = context_new();
    rng r = {(uint64_t)_i + 1};
    for (int kind = 0; kind < SPECTRAL_KINDS; kind++) {
        const equinv_projection_desc d =
            spectrum_desc(spectral_kinds[kind], some_group(_i), EQUINV_F64, 2, "ref");
        equinv_projection *p = created(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 2);
        equinv_tensor want = spectrum_by_definition(ctx, p, &d, &z);
        equinv_tensor got = project(ctx, p, &z, NULL);
        ASSERT_CLOSE(&got, &want, 1e-12);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &want);
        equinv_tensor_destroy(ctx, &got);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- invariance ------------------------------------------------------------------------------- */

START_TEST(codes_are_invariant_under_every_element)
{
    static const char *const impls[] = {"ref", "spectrum"};
    equinv_context *ctx = context_new();
    rng r = {(uint64_t)_i + 77};
    const group_case g = some_group(_i);
    for (int kind = 0; kind < SPECTRAL_KINDS; kind++)
        for (size_t i = 0; i < sizeof impls / sizeof *impls; i++)
            for (int wide = 0; wide < 2; wide++) {
                const equinv_projection_desc d = spectrum_desc(
                    spectral_kinds[kind], g, wide ? EQUINV_F64 : EQUINV_F32, 2, impls[i]);
                equinv_projection *p = created(ctx, &d);
                if (!p)
                    continue;
                equinv_tensor z = latents_of(ctx, &r, &d, 2);
                equinv_tensor codes = project(ctx, p, &z, NULL);
                for (int32_t e = 0; e < order_of(g.group); e++) {
                    equinv_tensor moved = acted(ctx, g.group, e, &z);
                    equinv_tensor again = project(ctx, p, &moved, NULL);
                    if (d.kind == EQUINV_PROJECT_FOURIER) /* rho(e) F differs, but for e */
                        ck_assert(e == 0 || tensor_error(&again, &codes, NULL) > 1e-3);
                    else
                        ASSERT_CLOSE(&again, &codes, wide ? 1e-13 : 2e-6);
                    equinv_tensor_destroy(ctx, &moved);
                    equinv_tensor_destroy(ctx, &again);
                }
                equinv_tensor_destroy(ctx, &z);
                equinv_tensor_destroy(ctx, &codes);
                equinv_projection_destroy(p);
            }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- completeness: signals from their selective bispectrum ------------------------------------ */

/* x from B(0,0), B(1,k): F_0 = cbrt, |F_1| = sqrt(B(1,0) / F_0), F_(k+1) = conj(B(1,k) / F_1 F_k). */
static void invert_cyclic(int32_t n, const double *code, double *x)
{
    number f[32];
    f[0] = cbrt(code[0]);
    for (int32_t k = 0; k < n - 1; k++) {
        const number b = code[2 * (k + 1)] + code[2 * (k + 1) + 1] * (number)I;
        f[k + 1] = k == 0 ? csqrt(b / f[0]) : conj(b / (f[1] * f[k]));
    }
    /* So far F_k exp(-i k alpha) where alpha is F_1's phase; F_(n-1) = conj F_1 gives n alpha. */
    const double alpha = n > 1 ? -carg(f[n - 1]) / n : 0;
    for (int32_t a = 0; a < n; a++) {
        number sum = 0;
        for (int32_t k = 0; k < n; k++)
            sum += f[k] * cexp((number)I * k * (alpha + 2 * pi * a / n));
        x[a] = creal(sum) / n;
    }
}

typedef struct square {
    double m[2][2];
} square;

static square times(square a, square b)
{
    square c;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            c.m[i][j] = a.m[i][0] * b.m[0][j] + a.m[i][1] * b.m[1][j];
    return c;
}

static square inverse_of(square a)
{
    const double det = a.m[0][0] * a.m[1][1] - a.m[0][1] * a.m[1][0];
    return (square){{{a.m[1][1] / det, -a.m[0][1] / det}, {-a.m[1][0] / det, a.m[0][0] / det}}};
}

static square rotation(double angle)
{
    return (square){{{cos(angle), -sin(angle)}, {sin(angle), cos(angle)}}};
}

/* F(rho_1 o rho_j) from its pair's bispectrum, F(rho_1) and F(rho_j), all up to one element of O(2). */
static void product_of(const double b[16], square f, square h, double t[4][4])
{
    const square fi = inverse_of(f), hi = inverse_of(h);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            t[i][j] = 0; /* (B (F^-1 o H^-1))^T */
            for (int k = 0; k < 4; k++)
                t[i][j] += b[j * 4 + k] * fi.m[k / 2][i / 2] * hi.m[k % 2][i % 2];
        }
}

/* half P T P^T: the part of a product that two vectors of the tensor product intertwine with a plane. */
static square part_of(double t[4][4], const double p[2][4])
{
    square f = {{{0}}};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 16; k++)
                f.m[i][j] += p[i][k / 4] * t[k / 4][k % 4] * p[j][k % 4] / 2;
    return f;
}

static void invert_dihedral(int32_t n, const double *code, double *x)
{
    static const double up[2][4] = {{1, 0, 0, -1}, {0, 1, 1, 0}};
    const int32_t planes = (n - 1) / 2;
    const double trivial = cbrt(code[0]);
    square f[17];
    double t[4][4], sign = 0;
    /* The symmetric root of F_1^T F_1. */
    const square s = {
        {{code[1] / trivial, code[2] / trivial}, {code[3] / trivial, code[4] / trivial}}};
    const double root = sqrt(s.m[0][0] * s.m[1][1] - s.m[0][1] * s.m[1][0]);
    const double scale = sqrt(s.m[0][0] + s.m[1][1] + 2 * root);
    f[1] = (square){{{(s.m[0][0] + root) / scale, s.m[0][1] / scale},
                     {s.m[1][0] / scale, (s.m[1][1] + root) / scale}}};
    for (int32_t j = 1; j <= planes; j++) {
        product_of(code + 5 + 16 * (j - 1), f[1], f[j], t);
        f[j + 1] = part_of(t, up);
        if (j == 1) /* (e1 o e2 - e2 o e1) carries the sign of mirrors */
            sign = (t[1][1] - t[1][2] - t[2][1] + t[2][2]) / 2;
    }
    /* What is left is a turn by theta of all of it, which the last product fixes up to 2 pi / n. */
    double theta;
    if (n % 2 == 0) { /* F(rho_n/2) is diagonal */
        theta = atan2(f[n / 2].m[1][0], f[n / 2].m[0][0]) * 2 / n;
    } else { /* F(rho_(n+1)/2) = J F(rho_(n-1)/2) J, J = diag(1, -1) */
        square mirrored = f[planes];
        mirrored.m[0][1] *= -1, mirrored.m[1][0] *= -1;
        const square turned = times(f[planes + 1], inverse_of(mirrored));
        theta = atan2(turned.m[1][0], turned.m[0][0]) / n;
    }
    for (int32_t j = 1; j <= n / 2; j++)
        f[j] = times(rotation(-j * theta), f[j]);
    const equinv_group g = equinv_dihedral(n);
    for (int32_t a = 0; a < 2 * n; a++) {
        double sum = trivial + (a < n ? sign : -sign);
        for (int32_t j = 1; j <= planes; j++) {
            number rho[4];
            irrep_at(g, 1 + j, a, rho);
            for (int i = 0; i < 4; i++)
                sum += 2 * creal(rho[i]) * f[j].m[i / 2][i % 2];
        }
        if (n % 2 == 0)
            sum += (a % n % 2 ? -1 : 1) * (f[n / 2].m[0][0] + (a < n ? 1 : -1) * f[n / 2].m[1][1]);
        x[a] = sum / (2 * n);
    }
}

/* D_1 and D_2 are products of C_2: characters are known up to signs that the group can choose. */
static void invert_signs(int32_t n, const double *code, double *x)
{
    const double trivial = cbrt(code[0]), a = sqrt(code[1] / trivial);
    const double b = n == 2 ? sqrt(code[2] / trivial) : 0, ab = n == 2 ? code[3] / (a * b) : 0;
    const equinv_group g = equinv_dihedral(n);
    for (int32_t e = 0; e < 2 * n; e++) {
        const double f[4] = {trivial, a, b, ab};
        x[e] = 0;
        for (int32_t i = 0; i < 2 * n; i++) {
            number rho[4];
            irrep_at(g, i, e, rho);
            x[e] += f[i] * creal(rho[0]) / (2 * n);
        }
    }
}

START_TEST(selective_bispectrum_determines_the_orbit)
{
    equinv_context *ctx = context_new();
    rng r = {(uint64_t)_i + 5};
    const bool dihedral = _i % 2;
    const int32_t n = _i / 2 + 1, order = dihedral ? 2 * n : n;
    const equinv_group g = dihedral ? equinv_dihedral(n) : equinv_cyclic(n);
    equinv_projection *p = reference(ctx, EQUINV_PROJECT_BISPECTRUM, (group_case){g, 1, 1}, 1);
    equinv_tensor x = tensor_random(ctx, &r, EQUINV_F64, 3, (int64_t)4, (int64_t)1, (int64_t)order);
    for (int64_t i = 0; i < 4; i++) /* the mean is not small, as is generic */
        tensor_set(&x, i * order, tensor_get(&x, i * order) + 2);
    equinv_tensor codes = project(ctx, p, &x, NULL), y = tensor_like(ctx, &x);
    equinv_tensor distance = tensor_new(ctx, EQUINV_F64, 2, (int64_t)4, (int64_t)4);
    for (int64_t b = 0; b < 4; b++) {
        const double *const code = (const double *)codes.data + b * codes.shape[2];
        double *const to = (double *)y.data + b * order;
        if (!dihedral)
            invert_cyclic(n, code, to);
        else if (n <= 2)
            invert_signs(n, code, to);
        else
            invert_dihedral(n, code, to);
    }
    OK(equinv_orbit_distance(ctx, g, &x, &y, &distance, NULL));
    for (int64_t b = 0; b < 4; b++)
        for (int64_t c = 0; c < 4; c++) {
            const double far = tensor_get(&distance, b * 4 + c);
            ck_assert_msg(b == c ? far < 1e-6 : order < 3 || far > 1e-2,
                          "%c%d: signals %d and %d from codes are %g apart", dihedral ? 'D' : 'C',
                          (int)n, (int)b, (int)c, far);
        }
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &y);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &distance);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients -------------------------------------------------------------------------------- */

static equinv_tensor gradient(equinv_context *ctx, const equinv_projection *p,
                              const equinv_tensor *z, const equinv_tensor *diff_codes)
{
    equinv_tensor saved = saved_of(ctx, p, z->shape[0]), diff = tensor_like(ctx, z);
    equinv_tensor codes = codes_of(ctx, p, z->dtype, z->shape[0]);
    OK(equinv_project_forward(p, z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
    OK(equinv_project_backward(p, diff_codes, NULL, saved.data, size_of(&saved), &diff, NULL, 0));
    equinv_tensor_destroy(ctx, &saved);
    equinv_tensor_destroy(ctx, &codes);
    return diff;
}

START_TEST(gradients_are_finite_differences)
{
    equinv_context *ctx = context_new();
    rng r = {(uint64_t)_i + 11};
    const double h = 1e-5;
    for (int kind = 0; kind < SPECTRAL_KINDS; kind++) {
        equinv_projection_desc d =
            spectrum_desc(spectral_kinds[kind], some_group(_i), EQUINV_F64, 1, "ref");
        equinv_projection *p = created(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 2);
        equinv_tensor diff_codes = codes_of(ctx, p, EQUINV_F64, 2), want = tensor_like(ctx, &z);
        tensor_fill_random(&r, &diff_codes);
        for (int64_t i = 0; i < equinv_tensor_count(&z); i++) {
            const double at = tensor_get(&z, i);
            double value[2];
            for (int side = 0; side < 2; side++) {
                tensor_set(&z, i, at + (side ? h : -h));
                equinv_tensor codes = project(ctx, p, &z, NULL);
                value[side] = tensor_dot(&codes, &diff_codes);
                equinv_tensor_destroy(ctx, &codes);
            }
            tensor_set(&z, i, at);
            tensor_set(&want, i, (value[1] - value[0]) / (2 * h));
        }
        equinv_tensor got = gradient(ctx, p, &z, &diff_codes);
        ASSERT_CLOSE(&got, &want, 1e-8);
        equinv_projection_destroy(p);

        /* accumulate adds to what is there */
        d.accumulate = true;
        p = created(ctx, &d);
        equinv_tensor saved = saved_of(ctx, p, 2), codes = project(ctx, p, &z, NULL);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_backward(p, &diff_codes, NULL, saved.data, size_of(&saved), &got, NULL,
                                   0));
        for (int64_t i = 0; i < equinv_tensor_count(&want); i++)
            tensor_set(&want, i, 2 * tensor_get(&want, i));
        ASSERT_CLOSE(&got, &want, 1e-8);
        equinv_tensor *const all[] = {&z, &diff_codes, &want, &got, &saved, &codes};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            equinv_tensor_destroy(ctx, all[i]);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- the fast implementation ------------------------------------------------------------------ */

/* Any group, with its pixels where it has them; some of them large. */
static group_case any_group(rng *r)
{
    static const int32_t large[] = {32,  64,  96,  97,  127,  128,  243,  255, 256,
                                    360, 512, 768, 875, 1000, 1021, 1023, 1024};
    enum { LARGE = sizeof large / sizeof *large };
    const int64_t choice = rng_range(r, 0, 26);
    if (choice < 6)
        return group_cases[rng_range(r, 0, GROUP_CASES - 1)];
    const bool dihedral = rng_range(r, 0, 1) == 1;
    const int32_t n = choice >= 24 ? large[rng_range(r, 0, dihedral ? 10 : LARGE - 1)]
                                   : (int32_t)rng_range(r, 1, dihedral ? 24 : 40);
    return (group_case){dihedral ? equinv_dihedral(n) : equinv_cyclic(n), 1, 1};
}

/* Forward with saved, then backward from diff_codes onto diff, of strided views. */
static void run_both(const equinv_projection *p, const equinv_tensor *z, const equinv_tensor *codes,
                     const equinv_tensor *saved, const equinv_tensor *diff_codes,
                     const equinv_tensor *diff)
{
    OK(equinv_project_forward(p, z, NULL, codes, saved->data, size_of(saved), NULL, 0));
    OK(equinv_project_backward(p, diff_codes, NULL, saved->data, size_of(saved), diff, NULL, 0));
}

START_TEST(fast_equals_the_reference)
{
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    rng r = {(uint64_t)_i + 4000};
    int64_t compared = 0;
    for (uint64_t trial = 0; trial < share_of(300); trial++) {
        const group_case g = any_group(&r);
        const int64_t order = order_of(g.group), batch = rng_range(&r, 0, order > 64 ? 3 : 40);
        equinv_projection_desc d =
            spectrum_desc(spectral_kinds[rng_range(&r, 0, SPECTRAL_KINDS - 1)], g, EQUINV_F32,
                          rng_range(&r, 1, order > 64 ? 2 : 4), "spectrum");
        d.accumulate = rng_range(&r, 0, 1);
        const bool full = d.kind == EQUINV_PROJECT_BISPECTRUM_FULL;
        if (full && order > 12)
            continue;
        equinv_projection *fast = created(ctx, &d);
        if (!fast) {
            ck_assert(d.kind == EQUINV_PROJECT_TRIPLE ||
                      (full && g.group.kind == EQUINV_GROUP_DIHEDRAL));
            continue;
        }
        d.impl = "ref";
        equinv_projection *ref = created(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, batch), want = codes_of(ctx, ref, d.dtype, batch);
        equinv_tensor saved = saved_of(ctx, ref, batch), kept = saved_of(ctx, fast, batch);
        equinv_tensor diff_codes = tensor_like(ctx, &want), diff = tensor_like(ctx, &z);
        tensor_fill_random(&r, &diff_codes);
        tensor_fill_random(&r, &diff);
        equinv_tensor rooms[4];
        const bool strided = rng_range(&r, 0, 1);
        equinv_tensor views[4] = {z, want, diff_codes, diff};
        for (int i = 0; i < 4; i++)
            views[i] = strided ? tensor_strided_copy(ctx, &r, &views[i], &rooms[i])
                               : tensor_as(ctx, &views[i], EQUINV_F32);
        run_both(ref, &z, &want, &saved, &diff_codes, &diff);
        run_both(fast, &views[0], &views[1], &kept, &views[2], &views[3]);
        ASSERT_CLOSE(&views[1], &want, 5e-6);
        ASSERT_CLOSE(&views[3], &diff, 5e-6);
        ASSERT_SAME(&kept, &saved);
        for (int i = 0; i < 4; i++)
            equinv_tensor_destroy(ctx, strided ? &rooms[i] : &views[i]);
        equinv_tensor *const all[] = {&z, &want, &saved, &kept, &diff_codes, &diff};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            equinv_tensor_destroy(ctx, all[i]);
        equinv_projection_destroy(fast);
        equinv_projection_destroy(ref);
        compared++;
    }
    ck_assert(compared > 0);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- relations between the kinds --------------------------------------------------------------- */

START_TEST(full_has_the_selective_and_the_power)
{
    equinv_context *ctx = context_new();
    rng r = {(uint64_t)_i + 300};
    const int32_t n = _i + 3;
    const group_case g = {equinv_cyclic(n), 1, 1};
    equinv_projection *full = reference(ctx, EQUINV_PROJECT_BISPECTRUM_FULL, g, 1);
    equinv_projection *selective = reference(ctx, EQUINV_PROJECT_BISPECTRUM, g, 1);
    equinv_projection *power = reference(ctx, EQUINV_PROJECT_POWER, g, 1);
    equinv_tensor x = tensor_random(ctx, &r, EQUINV_F64, 3, (int64_t)1, (int64_t)1, (int64_t)n);
    equinv_tensor all = project(ctx, full, &x, NULL), some = project(ctx, selective, &x, NULL);
    equinv_tensor squares = project(ctx, power, &x, NULL);
    double mean = 0;
    for (int32_t a = 0; a < n; a++)
        mean += tensor_get(&x, a);
    for (int32_t b = 0; b < n - 1; b++)
        for (int part = 0; part < 2; part++)
            ck_assert(fabs(tensor_get(&some, 2 * (b + 1) + part) -
                           tensor_get(&all, 2 * (n + b) + part)) < 1e-12);
    for (int32_t a = 0; a < n; a++) /* B(0, a) = F_0 |F_a|^2 */
        ck_assert(fabs(tensor_get(&all, 2 * a) - mean * tensor_get(&squares, a)) < 1e-10);
    equinv_tensor *const tensors[] = {&x, &all, &some, &squares};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        equinv_tensor_destroy(ctx, tensors[i]);
    equinv_projection_destroy(full);
    equinv_projection_destroy(selective);
    equinv_projection_destroy(power);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- shapes, empty batches, NaN ----------------------------------------------------------------- */

START_TEST(shapes_are_as_documented)
{
    static const struct {
        equinv_projection_kind kind;
        equinv_group group;
        int64_t numbers, saved; /* of a signal, in F64 */
    } cases[] = {
        {EQUINV_PROJECT_POWER, {EQUINV_GROUP_CYCLIC, 5}, 5, 40},
        {EQUINV_PROJECT_POWER, {EQUINV_GROUP_DIHEDRAL, 5}, 10, 80},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_CYCLIC, 1}, 2, 8},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_CYCLIC, 128}, 256, 1024},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_DIHEDRAL, 1}, 2, 16},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_DIHEDRAL, 2}, 4, 32},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_DIHEDRAL, 3}, 21, 48},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_DIHEDRAL, 8}, 53, 128},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_DIHEDRAL, 32}, 245, 512},
        {EQUINV_PROJECT_BISPECTRUM_FULL, {EQUINV_GROUP_CYCLIC, 8}, 128, 64},
        {EQUINV_PROJECT_BISPECTRUM_FULL, {EQUINV_GROUP_DIHEDRAL, 4}, 64, 64},
        {EQUINV_PROJECT_TRIPLE, {EQUINV_GROUP_CYCLIC, 6}, 36, 48},
        {EQUINV_PROJECT_TRIPLE, {EQUINV_GROUP_DIHEDRAL, 3}, 36, 48},
        {EQUINV_PROJECT_FOURIER, {EQUINV_GROUP_CYCLIC, 7}, 14, 0},
        {EQUINV_PROJECT_FOURIER, {EQUINV_GROUP_DIHEDRAL, 7}, 14, 0},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_CYCLIC, 1024}, 2048, 8192},
        {EQUINV_PROJECT_BISPECTRUM, {EQUINV_GROUP_DIHEDRAL, 512}, 4085, 8192},
        {EQUINV_PROJECT_BISPECTRUM_FULL, {EQUINV_GROUP_CYCLIC, 1024}, 2 << 20, 8192},
    };
    equinv_context *ctx = context_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        equinv_projection *p = reference(ctx, cases[i].kind, (group_case){cases[i].group, 1, 1}, 3);
        int32_t ndim;
        int64_t shape[3], rank;
        equinv_tensor templates;
        OK(equinv_projection_output_shape(p, 4, &ndim, shape));
        ck_assert(ndim == 3 && shape[0] == 4 && shape[1] == 3);
        ck_assert_int_eq(shape[2], cases[i].numbers);
        ck_assert_int_eq(equinv_projection_saved_size(p, 4), 12 * cases[i].saved);
        OK(equinv_projection_rank(p, &rank));
        ck_assert_int_eq(rank, 3);
        FAILS(EQUINV_ERR_UNSUPPORTED, "no templates", equinv_projection_templates(p, &templates));
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(templates_are_ignored_and_impls_decline)
{
    equinv_context *ctx = context_new();
    equinv_projection *p;
    equinv_projection_desc d =
        spectrum_desc(EQUINV_PROJECT_BISPECTRUM, group_cases[5], EQUINV_F32, 2, NULL);
    d.k = -4;
    d.templates = (equinv_template_kind)77;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_projection_destroy(p);
    d.impl = "gfourier";
    FAILS(EQUINV_ERR_UNSUPPORTED, "templates", equinv_projection_create(ctx, &d, &p));
    d.impl = "gemm";
    FAILS(EQUINV_ERR_UNSUPPORTED, "templates", equinv_projection_create(ctx, &d, &p));
    d.impl = "network";
    FAILS(EQUINV_ERR_UNSUPPORTED, "sort", equinv_projection_create(ctx, &d, &p));
    d.impl = "spectrum";
    d.dtype = EQUINV_F64;
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32", equinv_projection_create(ctx, &d, &p));
    d.dtype = EQUINV_F32;
    d.kind = EQUINV_PROJECT_TRIPLE;
    FAILS(EQUINV_ERR_UNSUPPORTED, "triple", equinv_projection_create(ctx, &d, &p));
    d.kind = EQUINV_PROJECT_MAX, d.k = 1, d.templates = EQUINV_TEMPLATE_GAUSSIAN;
    FAILS(EQUINV_ERR_UNSUPPORTED, "signals", equinv_projection_create(ctx, &d, &p));
    d.kind = EQUINV_PROJECT_BISPECTRUM;
    d.impl = "ref";
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, (int64_t)1, (int64_t)2, (int64_t)8);
    FAILS(EQUINV_ERR_UNSUPPORTED, "kind BISPECTRUM",
          equinv_project_backward_templates(p, &z, NULL, &z, NULL, 0, &z, NULL, 0));
    equinv_tensor_destroy(ctx, &z);
    equinv_projection_destroy(p);
    d.impl = NULL;
    d.group = equinv_symmetric();
    FAILS(EQUINV_ERR_UNSUPPORTED, "group is S", equinv_projection_create(ctx, &d, &p));
    d.group = equinv_cyclic(8), d.height = 2;
    FAILS(EQUINV_ERR_SHAPE, "interpolation", equinv_projection_create(ctx, &d, &p));
    equinv_context_destroy(ctx);
}
END_TEST

static const struct {
    equinv_dtype dtype;
    const char *impl;
} ways[] = {{EQUINV_F64, "ref"}, {EQUINV_F32, "ref"}, {EQUINV_F32, "spectrum"}};
enum { WAYS = sizeof ways / sizeof *ways };

START_TEST(nothing_of_an_empty_batch_and_nan_in_its_row)
{
    equinv_context *ctx = context_new();
    rng r = {(uint64_t)_i + 21};
    for (int kind = 0; kind < SPECTRAL_KINDS; kind++)
        for (int way = 0; way < WAYS; way++) {
            const equinv_projection_desc d = spectrum_desc(spectral_kinds[kind], some_group(_i),
                                                           ways[way].dtype, 1, ways[way].impl);
            equinv_projection *p = created(ctx, &d);
            if (!p)
                continue;
            equinv_tensor none = latents_of(ctx, &r, &d, 0);
            equinv_tensor nothing = project(ctx, p, &none, NULL);
            equinv_tensor no_gradient = gradient(ctx, p, &none, &nothing);
            ck_assert_int_eq(equinv_tensor_count(&nothing) + equinv_tensor_count(&no_gradient), 0);

            const int64_t rows = 19, bad = 7;
            equinv_tensor z = latents_of(ctx, &r, &d, rows), codes = project(ctx, p, &z, NULL);
            equinv_tensor diff_codes = tensor_like(ctx, &codes);
            tensor_fill_random(&r, &diff_codes);
            equinv_tensor diff = gradient(ctx, p, &z, &diff_codes);
            const int64_t latent = equinv_tensor_count(&z) / rows;
            const int64_t code = equinv_tensor_count(&codes) / rows;
            tensor_set(&z, bad * latent + latent / 2, (double)NAN);
            equinv_tensor with_nan = project(ctx, p, &z, NULL);
            equinv_tensor diff_with_nan = gradient(ctx, p, &z, &diff_codes);
            bool seen = false;
            for (int64_t i = 0; i < rows * code; i++) {
                const double x = tensor_get(&with_nan, i);
                seen |= isnan(x);
                ck_assert(i / code == bad || x == tensor_get(&codes, i));
            }
            ck_assert(seen);
            for (int64_t i = 0; i < rows * latent; i++)
                ck_assert(i / latent == bad ||
                          tensor_get(&diff_with_nan, i) == tensor_get(&diff, i));
            /* A row by itself has the same bits. */
            equinv_tensor row, alone;
            OK(equinv_tensor_rows(&z, rows - 1, 1, &row));
            alone = project(ctx, p, &row, NULL);
            for (int64_t i = 0; i < code; i++)
                ck_assert(tensor_get(&alone, i) == tensor_get(&codes, (rows - 1) * code + i));
            equinv_tensor *const all[] = {&none,          &nothing,    &no_gradient, &z,
                                          &codes,         &diff_codes, &diff,        &with_nan,
                                          &diff_with_nan, &alone};
            for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                equinv_tensor_destroy(ctx, all[i]);
            equinv_projection_destroy(p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {reference_is_the_definition, SOME_GROUPS},
        {codes_are_invariant_under_every_element, SOME_GROUPS},
        {selective_bispectrum_determines_the_orbit, 32},
        {gradients_are_finite_differences, SOME_GROUPS},
        {fast_equals_the_reference, TEST_LEVELS},
        {full_has_the_selective_and_the_power, 8},
        {shapes_are_as_documented, 1},
        {templates_are_ignored_and_impls_decline, 1},
        {nothing_of_an_empty_batch_and_nan_in_its_row, SOME_GROUPS},
    };
    return run_tests("spectrum", tests, sizeof tests / sizeof *tests);
}
