/*
 * Spectra of signals on the group. Signal (f, q) of a latent z [F, G, H, W] is x(a) = z[f, a, a q], which g
 * moves to x(g^-1 a), and
 *     FOURIER       F(rho) = sum_a x(a) rho(a)
 *     POWER         F(rho)^H F(rho)
 *     BISPECTRUM    B(rho, sigma) = F(rho o sigma)^H (F(rho) o F(sigma)),   o: Kronecker product
 *     TRIPLE        T[a, b] = sum_g x(g) x(g a) x(g b)
 * rho: the characters exp(-2 pi i j a / n) of C_n, the real irreps of D_n; both computed as complex ones.
 * Backward, D the derivative by the real parts plus i times that by the imaginary parts:
 *     FOURIER       d F = D
 *     POWER         d F = F (D + D^H)
 *     BISPECTRUM    d F(rho o sigma) = (F(rho) o F(sigma)) D^H,  d (F(rho) o F(sigma)) = F(rho o sigma) D
 *     d x(a) = Re sum conj(d F) rho(a)
 */
#include "ref.h"

#include <complex.h>
#include <string.h>

#include "internal/projection.h"
#include "internal/rows.h"
#include "internal/spectrum.h"

typedef double complex number;

typedef struct spectrum {
    const equinv_projection *p;
    equinv_group group;
    int32_t order;
    bool complex_parts; /* C_n: a number stands as (re, im) */
    number *turn;       /* exp(2 pi i k / n) */
    double *x, *diff_x; /* a signal */
    number *hat, *diff_hat;
} spectrum;

size_t eqi_ref_spectrum_scratch(const equinv_projection *p)
{
    const size_t order = (size_t)p->order;
    return eqi_aligned((size_t)p->desc.group.n * sizeof(number)) +
           2 * eqi_aligned(order * sizeof(double)) + 2 * eqi_aligned(order * sizeof(number));
}

static spectrum spectrum_of(const equinv_projection *p, void *slice)
{
    const size_t order = (size_t)p->order, n = (size_t)p->desc.group.n;
    char *rest = slice;
    spectrum s = {.p = p, .group = p->desc.group, .order = p->order};
    s.complex_parts = s.group.kind == EQUINV_GROUP_CYCLIC;
    s.turn = eqi_take(&rest, n * sizeof *s.turn);
    s.x = eqi_take(&rest, order * sizeof *s.x);
    s.diff_x = eqi_take(&rest, order * sizeof *s.diff_x);
    s.hat = eqi_take(&rest, order * sizeof *s.hat);
    s.diff_hat = eqi_take(&rest, order * sizeof *s.diff_hat);
    for (int32_t k = 0; k < s.group.n; k++) {
        double plane[4] = {1, 0, 0, 1};
        equinv_group_plane(equinv_cyclic(s.group.n), k, plane);
        s.turn[k] = plane[0] + plane[2] * (number)I;
    }
    return s;
}

/* rho(g), row-major; returns its dimension. */
static int32_t irrep_at(const spectrum *s, int32_t irrep, int32_t g, number rho[4])
{
    const int32_t n = s->group.n;
    const int64_t k = g % n;
    if (s->complex_parts) {
        rho[0] = conj(s->turn[irrep * k % n]);
        return 1;
    }
    const bool mirrored = g >= n;
    const int32_t dimension = eqi_spectrum_dimension(s->group, irrep);
    if (dimension == 2) {
        const number z = s->turn[(irrep - 1) * k % n];
        rho[0] = creal(z), rho[1] = mirrored ? cimag(z) : -cimag(z);
        rho[2] = cimag(z), rho[3] = mirrored ? -creal(z) : creal(z);
    } else { /* (0, 0), (1, 0), .., (1, n/2), (0, n/2) */
        const bool sign = irrep % 2 == 1 && irrep < 2;
        const bool alternating = irrep >= 2, last = irrep == eqi_spectrum_irreps(s->group) - 1;
        rho[0] = alternating && k % 2 == 1 ? -1 : 1;
        if (mirrored && (sign || (alternating && !last)))
            rho[0] = -rho[0];
    }
    return dimension;
}

/* Kronecker product of d x d and e x e; returns d e. */
static int32_t kronecker(int32_t d, const number *a, int32_t e, const number *c, number *product)
{
    const int32_t m = d * e;
    for (int32_t i = 0; i < m; i++)
        for (int32_t j = 0; j < m; j++)
            product[i * m + j] = a[i / e * d + j / e] * c[i % e * e + j % e];
    return m;
}

static int32_t pair_at(const spectrum *s, eqi_irrep_pair pair, int32_t g, number product[16])
{
    number rho[4], sigma[4];
    const int32_t d = irrep_at(s, pair.rho, g, rho), e = irrep_at(s, pair.sigma, g, sigma);
    return kronecker(d, rho, e, sigma, product);
}

static void transform(const spectrum *s)
{
    memset(s->hat, 0, (size_t)s->order * sizeof *s->hat);
    for (int32_t irrep = 0; irrep < eqi_spectrum_irreps(s->group); irrep++) {
        number *const hat = s->hat + eqi_spectrum_offset(s->group, irrep);
        for (int32_t g = 0; g < s->order; g++) {
            number rho[4];
            const int32_t d = irrep_at(s, irrep, g, rho);
            for (int32_t i = 0; i < d * d; i++)
                hat[i] += s->x[g] * rho[i];
        }
    }
}

/* F(rho o sigma), F(rho) o F(sigma); returns their size. */
static int32_t factors(const spectrum *s, eqi_irrep_pair pair, number both[16], number apart[16])
{
    memset(both, 0, 16 * sizeof *both);
    for (int32_t g = 0; g < s->order; g++) {
        number product[16];
        const int32_t m = pair_at(s, pair, g, product);
        for (int32_t i = 0; i < m * m; i++)
            both[i] += s->x[g] * product[i];
    }
    const equinv_group group = s->group;
    return kronecker(eqi_spectrum_dimension(group, pair.rho),
                     s->hat + eqi_spectrum_offset(group, pair.rho),
                     eqi_spectrum_dimension(group, pair.sigma),
                     s->hat + eqi_spectrum_offset(group, pair.sigma), apart);
}

/* ---- numbers of a signal in dst -------------------------------------------------------------- */

typedef struct numbers {
    const equinv_tensor *dst;
    int64_t at, step;
} numbers;

static numbers numbers_of(const eqi_projection_call *call, int64_t b, int64_t signal)
{
    const int64_t *const s = call->dst.strides;
    return (numbers){&call->dst, b * s[0] + signal * s[1], s[2]};
}

static void put(const spectrum *s, numbers *to, number value)
{
    eqi_store(to->dst, to->at, creal(value));
    to->at += to->step;
    if (s->complex_parts) {
        eqi_store(to->dst, to->at, cimag(value));
        to->at += to->step;
    }
}

static number take(const spectrum *s, numbers *from)
{
    const double re = eqi_load(from->dst, from->at);
    from->at += from->step;
    if (!s->complex_parts)
        return re;
    const double im = eqi_load(from->dst, from->at);
    from->at += from->step;
    return re + im * (number)I;
}

/* ---- forward --------------------------------------------------------------------------------- */

static void power(const spectrum *s, numbers to)
{
    for (int32_t irrep = 0; irrep < eqi_spectrum_irreps(s->group); irrep++) {
        const int32_t d = eqi_spectrum_dimension(s->group, irrep);
        const number *const hat = s->hat + eqi_spectrum_offset(s->group, irrep);
        for (int32_t i = 0; i < d; i++)
            for (int32_t j = 0; j < d; j++) {
                double sum = 0;
                for (int32_t k = 0; k < d; k++)
                    sum += creal(conj(hat[k * d + i]) * hat[k * d + j]);
                eqi_store(to.dst, to.at, sum);
                to.at += to.step;
            }
    }
}

static void bispectrum(const spectrum *s, numbers to)
{
    const equinv_projection_kind kind = s->p->desc.kind;
    for (int64_t i = 0; i < eqi_spectrum_pairs(kind, s->group); i++) {
        number both[16], apart[16];
        const int32_t m = factors(s, eqi_spectrum_pair(kind, s->group, i), both, apart);
        for (int32_t row = 0; row < m; row++)
            for (int32_t column = 0; column < m; column++) {
                number sum = 0;
                for (int32_t k = 0; k < m; k++)
                    sum += conj(both[k * m + row]) * apart[k * m + column];
                put(s, &to, sum);
            }
    }
}

static void triple(const spectrum *s, numbers to)
{
    for (int32_t a = 0; a < s->order; a++)
        for (int32_t b = 0; b < s->order; b++) {
            double sum = 0;
            for (int32_t g = 0; g < s->order; g++)
                sum +=
                    s->x[g] * s->x[eqi_product(s->group, g, a)] * s->x[eqi_product(s->group, g, b)];
            eqi_store(to.dst, to.at, sum);
            to.at += to.step;
        }
}

static void spectrum_forward(const spectrum *s, numbers to)
{
    const equinv_projection_kind kind = s->p->desc.kind;
    if (kind == EQUINV_PROJECT_TRIPLE) {
        triple(s, to);
        return;
    }
    transform(s);
    if (kind == EQUINV_PROJECT_POWER)
        power(s, to);
    else if (kind == EQUINV_PROJECT_FOURIER)
        for (int32_t i = 0; i < s->order; i++)
            put(s, &to, s->hat[i]);
    else
        bispectrum(s, to);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* diff_x(a) += Re sum conj(diff) rho(a) over m x m. */
static void add_inner(double *diff_x, int32_t count, const number *diff, const number *rho)
{
    for (int32_t i = 0; i < count; i++)
        *diff_x += creal(conj(diff[i]) * rho[i]);
}

static void transform_backward(const spectrum *s)
{
    for (int32_t irrep = 0; irrep < eqi_spectrum_irreps(s->group); irrep++)
        for (int32_t g = 0; g < s->order; g++) {
            number rho[4];
            const int32_t d = irrep_at(s, irrep, g, rho);
            add_inner(s->diff_x + g, d * d, s->diff_hat + eqi_spectrum_offset(s->group, irrep),
                      rho);
        }
}

static void power_backward(const spectrum *s, numbers from)
{
    for (int32_t irrep = 0; irrep < eqi_spectrum_irreps(s->group); irrep++) {
        const int32_t d = eqi_spectrum_dimension(s->group, irrep);
        const int32_t at = eqi_spectrum_offset(s->group, irrep);
        double diff[4];
        for (int32_t i = 0; i < d * d; i++) {
            diff[i] = eqi_load(from.dst, from.at);
            from.at += from.step;
        }
        for (int32_t i = 0; i < d; i++)
            for (int32_t j = 0; j < d; j++)
                for (int32_t k = 0; k < d; k++)
                    s->diff_hat[at + i * d + j] +=
                        s->hat[at + i * d + k] * (diff[k * d + j] + diff[j * d + k]);
    }
}

static void pair_backward(const spectrum *s, eqi_irrep_pair pair, numbers *from)
{
    number both[16], apart[16], diff[16], diff_both[16] = {0}, diff_apart[16] = {0};
    const int32_t m = factors(s, pair, both, apart);
    for (int32_t i = 0; i < m * m; i++)
        diff[i] = take(s, from);
    for (int32_t i = 0; i < m; i++)
        for (int32_t j = 0; j < m; j++)
            for (int32_t k = 0; k < m; k++) {
                diff_both[i * m + j] += apart[i * m + k] * conj(diff[j * m + k]);
                diff_apart[i * m + j] += both[i * m + k] * diff[k * m + j];
            }
    for (int32_t g = 0; g < s->order; g++) {
        number product[16];
        pair_at(s, pair, g, product);
        add_inner(s->diff_x + g, m * m, diff_both, product);
    }
    const int32_t d = eqi_spectrum_dimension(s->group, pair.rho), e = m / d;
    const int32_t a = eqi_spectrum_offset(s->group, pair.rho);
    const int32_t c = eqi_spectrum_offset(s->group, pair.sigma);
    for (int32_t i = 0; i < m; i++)
        for (int32_t j = 0; j < m; j++) {
            const int32_t rho = a + i / e * d + j / e, sigma = c + i % e * e + j % e;
            s->diff_hat[rho] += diff_apart[i * m + j] * conj(s->hat[sigma]);
            s->diff_hat[sigma] += diff_apart[i * m + j] * conj(s->hat[rho]);
        }
}

static void triple_backward(const spectrum *s, numbers from)
{
    const double *const x = s->x;
    for (int32_t a = 0; a < s->order; a++)
        for (int32_t b = 0; b < s->order; b++) {
            const double diff = eqi_load(from.dst, from.at);
            from.at += from.step;
            for (int32_t g = 0; g < s->order; g++) {
                const int32_t ga = eqi_product(s->group, g, a), gb = eqi_product(s->group, g, b);
                s->diff_x[g] += diff * x[ga] * x[gb];
                s->diff_x[ga] += diff * x[g] * x[gb];
                s->diff_x[gb] += diff * x[g] * x[ga];
            }
        }
}

static void spectrum_backward(const spectrum *s, numbers from)
{
    const equinv_projection_kind kind = s->p->desc.kind;
    memset(s->diff_x, 0, (size_t)s->order * sizeof *s->diff_x);
    memset(s->diff_hat, 0, (size_t)s->order * sizeof *s->diff_hat);
    if (kind == EQUINV_PROJECT_TRIPLE) {
        triple_backward(s, from);
        return;
    }
    if (kind == EQUINV_PROJECT_FOURIER) {
        for (int32_t i = 0; i < s->order; i++)
            s->diff_hat[i] = take(s, &from);
    } else {
        transform(s);
        if (kind == EQUINV_PROJECT_POWER)
            power_backward(s, from);
        else
            for (int64_t i = 0; i < eqi_spectrum_pairs(kind, s->group); i++)
                pair_backward(s, eqi_spectrum_pair(kind, s->group, i), &from);
    }
    transform_backward(s);
}

/* ---- a row ----------------------------------------------------------------------------------- */

/* Where element a of signal (f, y, x) stands in a latent. */
static int64_t place(const spectrum *s, const equinv_tensor *z, int64_t b, int64_t f, int32_t a,
                     int64_t y, int64_t x)
{
    const int64_t height = s->p->desc.height, width = s->p->desc.width;
    const int64_t q = eqi_place(s->group, a, 0, y, x, height, width) % (height * width);
    return eqi_offset5(z, b, f, a, q / width, q % width);
}

#define FOR_EACH_SIGNAL(p, f, y, x)                                                                \
    for (int64_t f = 0; f < (p)->desc.fields; f++)                                                 \
        for (int64_t y = 0; y < (p)->desc.height; y++)                                             \
            for (int64_t x = 0; x < (p)->desc.width; x++)

void eqi_ref_spectrum_forward(const equinv_projection *p, const eqi_projection_call *call,
                              int64_t b, void *slice)
{
    const spectrum s = spectrum_of(p, slice);
    const equinv_tensor saved = {.data = call->saved, .dtype = p->desc.dtype};
    const bool keeps = call->saved && p->desc.kind != EQUINV_PROJECT_FOURIER; /* that is linear */
    int64_t signal = 0;
    FOR_EACH_SIGNAL(p, f, y, x)
    {
        for (int32_t a = 0; a < p->order; a++)
            s.x[a] = eqi_load(&call->src, place(&s, &call->src, b, f, a, y, x));
        for (int32_t a = 0; keeps && a < p->order; a++)
            eqi_store(&saved, (b * p->rank + signal) * p->order + a, s.x[a]);
        spectrum_forward(&s, numbers_of(call, b, signal++));
    }
}

void eqi_ref_spectrum_backward(const equinv_projection *p, const eqi_projection_call *call,
                               int64_t b, void *slice)
{
    const spectrum s = spectrum_of(p, slice);
    const equinv_tensor saved = {.data = call->saved, .dtype = p->desc.dtype};
    const bool kept = p->desc.kind != EQUINV_PROJECT_FOURIER;
    int64_t signal = 0;
    FOR_EACH_SIGNAL(p, f, y, x)
    {
        for (int32_t a = 0; kept && a < p->order; a++)
            s.x[a] = eqi_load(&saved, (b * p->rank + signal) * p->order + a);
        spectrum_backward(&s, numbers_of(call, b, signal++));
        for (int32_t a = 0; a < p->order; a++)
            eqi_put(&call->src, place(&s, &call->src, b, f, a, y, x), s.diff_x[a],
                    p->desc.accumulate);
    }
}
