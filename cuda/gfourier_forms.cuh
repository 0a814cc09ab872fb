/*
 * The group Fourier transform on numbers of one thread, group by group: a form has
 *     forward   F(h) -> components of F^      inverse   its adjoint (the filter holds d / |G|)
 *     filter    phi(a) -> entries             phi       the adjoint of that
 *     multiply  sum of dst^ += entries . P^   gradient  sum of entries += P^ . diff_dst^
 * Components are those of cpu/kernel/gfourier.inc.c. Entries are the different numbers of the filter: a
 * complex one is two, the plane of D4 four.
 */
#ifndef EQI_CUDA_GFOURIER_FORMS_CUH
#define EQI_CUDA_GFOURIER_FORMS_CUH

#include "cuda/device.cuh"

#define EQI_GF_FUNCTION static __device__ __forceinline__ void

/*
 * OUTPUTS x IMAGES is a thread's tile in a pass, SUM_TAPS x SUM_OUTPUTS in the gradient of the filter: with all
 * components at most 128 sums, so that with what they are made of they stay in 168 registers.
 */

/* C2 and D1. */
struct eqi_gf_2 {
    enum {
        INPUTS = 2,
        VALUES = 2,
        COMPONENTS = 2,
        ENTRIES = 2,
        OUTPUTS = 8,
        IMAGES = 4,
        SUM_TAPS = 4,
        SUM_OUTPUTS = 8
    };

    EQI_GF_FUNCTION forward(const float *f, float *c)
    {
        c[0] = f[0] + f[1];
        c[1] = f[0] - f[1];
    }

    EQI_GF_FUNCTION inverse(const float *c, float *f)
    {
        forward(c, f);
    }

    EQI_GF_FUNCTION filter(const double *f, double *e)
    {
        e[0] = (f[0] + f[1]) / 2;
        e[1] = (f[0] - f[1]) / 2;
    }

    EQI_GF_FUNCTION phi(const double *e, double *f)
    {
        filter(e, f);
    }

    EQI_GF_FUNCTION multiply(const float *w, const float *c, float *sum)
    {
        sum[0] = fmaf(w[0], c[0], sum[0]);
        sum[1] = fmaf(w[1], c[1], sum[1]);
    }

    EQI_GF_FUNCTION gradient(const float *c, const float *d, float *sum)
    {
        multiply(c, d, sum);
    }
};

/* e, r, f, rf */
struct eqi_gf_d2 {
    enum {
        INPUTS = 4,
        VALUES = 4,
        COMPONENTS = 4,
        ENTRIES = 4,
        OUTPUTS = 8,
        IMAGES = 4,
        SUM_TAPS = 3,
        SUM_OUTPUTS = 8
    };

    EQI_GF_FUNCTION forward(const float *f, float *c)
    {
        const float p = f[0] + f[1], q = f[0] - f[1], s = f[2] + f[3], t = f[2] - f[3];
        c[0] = p + s;
        c[1] = q + t;
        c[2] = p - s;
        c[3] = q - t;
    }

    EQI_GF_FUNCTION inverse(const float *c, float *f)
    {
        const float p = c[0] + c[2], q = c[1] + c[3], s = c[0] - c[2], t = c[1] - c[3];
        f[0] = p + q;
        f[1] = p - q;
        f[2] = s + t;
        f[3] = s - t;
    }

    EQI_GF_FUNCTION filter(const double *f, double *e)
    {
        e[0] = (f[0] + f[1] + f[2] + f[3]) / 4;
        e[1] = (f[0] - f[1] + f[2] - f[3]) / 4;
        e[2] = (f[0] + f[1] - f[2] - f[3]) / 4;
        e[3] = (f[0] - f[1] - f[2] + f[3]) / 4;
    }

    EQI_GF_FUNCTION phi(const double *e, double *f)
    {
        filter(e, f);
    }

    EQI_GF_FUNCTION multiply(const float *w, const float *c, float *sum)
    {
        EQI_UNROLL
        for (int i = 0; i < COMPONENTS; i++)
            sum[i] = fmaf(w[i], c[i], sum[i]);
    }

    EQI_GF_FUNCTION gradient(const float *c, const float *d, float *sum)
    {
        multiply(c, d, sum);
    }
};

struct eqi_gf_c4 {
    enum {
        INPUTS = 4,
        VALUES = 4,
        COMPONENTS = 4,
        ENTRIES = 4,
        OUTPUTS = 8,
        IMAGES = 4,
        SUM_TAPS = 3,
        SUM_OUTPUTS = 8
    };

    EQI_GF_FUNCTION forward(const float *f, float *c)
    {
        const float p = f[0] + f[2], q = f[1] + f[3];
        c[0] = p + q;
        c[1] = p - q;
        c[2] = f[0] - f[2];
        c[3] = f[1] - f[3];
    }

    EQI_GF_FUNCTION inverse(const float *c, float *f)
    {
        const float p = c[0] + c[1], q = c[0] - c[1];
        f[0] = p + c[2];
        f[1] = q + c[3];
        f[2] = p - c[2];
        f[3] = q - c[3];
    }

    EQI_GF_FUNCTION filter(const double *f, double *e)
    {
        e[0] = (f[0] + f[2] + f[1] + f[3]) / 4;
        e[1] = (f[0] + f[2] - f[1] - f[3]) / 4;
        e[2] = (f[0] - f[2]) / 2;
        e[3] = (f[3] - f[1]) / 2;
    }

    EQI_GF_FUNCTION phi(const double *e, double *f)
    {
        f[0] = (e[0] + e[1]) / 4 + e[2] / 2;
        f[1] = (e[0] - e[1]) / 4 - e[3] / 2;
        f[2] = (e[0] + e[1]) / 4 - e[2] / 2;
        f[3] = (e[0] - e[1]) / 4 + e[3] / 2;
    }

    /* The complex product of c[2] + i c[3] and w[2] + i w[3]. */
    EQI_GF_FUNCTION multiply(const float *w, const float *c, float *sum)
    {
        sum[0] = fmaf(w[0], c[0], sum[0]);
        sum[1] = fmaf(w[1], c[1], sum[1]);
        sum[2] = fmaf(w[2], c[2], sum[2]);
        sum[3] = fmaf(w[2], c[3], sum[3]);
        sum[2] = fmaf(-w[3], c[3], sum[2]);
        sum[3] = fmaf(w[3], c[2], sum[3]);
    }

    EQI_GF_FUNCTION gradient(const float *c, const float *d, float *sum)
    {
        sum[0] = fmaf(c[0], d[0], sum[0]);
        sum[1] = fmaf(c[1], d[1], sum[1]);
        sum[2] = fmaf(c[2], d[2], sum[2]);
        sum[3] = fmaf(c[2], d[3], sum[3]);
        sum[2] = fmaf(c[3], d[3], sum[2]);
        sum[3] = fmaf(-c[3], d[2], sum[3]);
    }
};

/* rho(r) = [0 -1; 1 0], rho(f) = diag(-1, 1) */
struct eqi_gf_d4 {
    enum {
        INPUTS = 8,
        VALUES = 8,
        COMPONENTS = 8,
        ENTRIES = 8,
        OUTPUTS = 8,
        IMAGES = 2,
        SUM_TAPS = 3,
        SUM_OUTPUTS = 4
    };

    EQI_GF_FUNCTION forward(const float *f, float *c)
    {
        const float p = f[0] + f[2], q = f[1] + f[3], s = f[4] + f[6], t = f[5] + f[7];
        const float i = f[0] - f[2], j = f[1] - f[3], k = f[4] - f[6], l = f[5] - f[7];
        const float u = p + q, v = p - q, x = s + t, y = s - t;
        c[0] = u + x;
        c[1] = u - x;
        c[2] = v + y;
        c[3] = v - y;
        c[4] = i - k;
        c[5] = -j - l;
        c[6] = j - l;
        c[7] = i + k;
    }

    EQI_GF_FUNCTION inverse(const float *c, float *f)
    {
        const float p = c[0] + c[1], q = c[2] + c[3], s = c[0] - c[1], t = c[2] - c[3];
        const float even = p + q, odd = p - q, mirror = s + t, turned = s - t;
        const float i = c[4] + c[7], j = c[6] - c[5], k = c[7] - c[4], l = c[5] + c[6];
        f[0] = even + i;
        f[1] = odd + j;
        f[2] = even - i;
        f[3] = odd - j;
        f[4] = mirror + k;
        f[5] = turned - l;
        f[6] = mirror - k;
        f[7] = turned + l;
    }

    EQI_GF_FUNCTION filter(const double *f, double *e)
    {
        const double p = f[0] + f[2], q = f[1] + f[3], s = f[4] + f[6], t = f[5] + f[7];
        const double a = (f[0] - f[2]) / 4, b = (f[1] - f[3]) / 4;
        const double c = (f[4] - f[6]) / 4, d = (f[5] - f[7]) / 4;
        e[0] = (p + q + s + t) / 8;
        e[1] = (p + q - s - t) / 8;
        e[2] = (p - q + s - t) / 8;
        e[3] = (p - q - s + t) / 8;
        e[4] = a - c;
        e[5] = -b - d;
        e[6] = b - d;
        e[7] = a + c;
    }

    EQI_GF_FUNCTION phi(const double *e, double *f)
    {
        const double p = (e[0] + e[1] + e[2] + e[3]) / 8, q = (e[0] + e[1] - e[2] - e[3]) / 8;
        const double s = (e[0] - e[1] + e[2] - e[3]) / 8, t = (e[0] - e[1] - e[2] + e[3]) / 8;
        const double a = (e[4] + e[7]) / 4, b = (e[6] - e[5]) / 4;
        const double c = (e[7] - e[4]) / 4, d = -(e[5] + e[6]) / 4;
        f[0] = p + a;
        f[1] = q + b;
        f[2] = p - a;
        f[3] = q - b;
        f[4] = s + c;
        f[5] = t + d;
        f[6] = s - c;
        f[7] = t - d;
    }

    /* Rows of the plane's matrix meet the same filter. */
    EQI_GF_FUNCTION multiply(const float *w, const float *c, float *sum)
    {
        EQI_UNROLL
        for (int i = 0; i < 4; i++)
            sum[i] = fmaf(w[i], c[i], sum[i]);
        EQI_UNROLL
        for (int i = 4; i < 8; i += 2) {
            sum[i] = fmaf(w[4], c[i], sum[i]);
            sum[i + 1] = fmaf(w[6], c[i], sum[i + 1]);
        }
        EQI_UNROLL
        for (int i = 4; i < 8; i += 2) {
            sum[i] = fmaf(w[5], c[i + 1], sum[i]);
            sum[i + 1] = fmaf(w[7], c[i + 1], sum[i + 1]);
        }
    }

    EQI_GF_FUNCTION gradient(const float *c, const float *d, float *sum)
    {
        EQI_UNROLL
        for (int i = 0; i < 4; i++)
            sum[i] = fmaf(c[i], d[i], sum[i]);
        EQI_UNROLL
        for (int i = 4; i < 8; i += 2) {
            sum[4] = fmaf(c[i], d[i], sum[4]);
            sum[5] = fmaf(c[i + 1], d[i], sum[5]);
            sum[6] = fmaf(c[i], d[i + 1], sum[6]);
            sum[7] = fmaf(c[i + 1], d[i + 1], sum[7]);
        }
    }
};

/* Where dst is a plane only the trivial representation is left: the sum over the group. */
template <int ORDER> struct eqi_gf_sum {
    enum {
        INPUTS = ORDER,
        VALUES = 1,
        COMPONENTS = 1,
        ENTRIES = 1,
        OUTPUTS = 8,
        IMAGES = 4,
        SUM_TAPS = 3,
        SUM_OUTPUTS = 16
    };

    EQI_GF_FUNCTION forward(const float *f, float *c)
    {
        float sum[ORDER / 2];
        EQI_UNROLL
        for (int i = 0; i < ORDER / 2; i++)
            sum[i] = f[2 * i] + f[2 * i + 1];
        EQI_UNROLL
        for (int some = ORDER / 4; some > 0; some /= 2)
            for (int i = 0; i < some; i++)
                sum[i] = sum[2 * i] + sum[2 * i + 1];
        c[0] = sum[0];
    }

    EQI_GF_FUNCTION inverse(const float *c, float *f)
    {
        f[0] = c[0];
    }

    EQI_GF_FUNCTION filter(const double *f, double *e)
    {
        e[0] = f[0];
    }

    EQI_GF_FUNCTION phi(const double *e, double *f)
    {
        f[0] = e[0];
    }

    EQI_GF_FUNCTION multiply(const float *w, const float *c, float *sum)
    {
        sum[0] = fmaf(w[0], c[0], sum[0]);
    }

    EQI_GF_FUNCTION gradient(const float *c, const float *d, float *sum)
    {
        multiply(c, d, sum);
    }
};

#undef EQI_GF_FUNCTION

#endif
