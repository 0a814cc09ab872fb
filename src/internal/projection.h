/* Projections behind the argument checks, and their implementations. */
#ifndef EQI_PROJECTION_H
#define EQI_PROJECTION_H

#include "plan.h"
#include "sort.h"

/* One call: forward reads src and writes dst, backward reads dst's gradient and writes src's. */
typedef struct eqi_projection_call {
    equinv_tensor src;  /* [B, F, G, H, W]; S: [B, n, c] */
    equinv_tensor mask; /* [B, n]; data NULL: all rows are there */
    bool masked;
    equinv_tensor dst;       /* [B, k] or [B, k, ..]; SORT: [B, n, c] */
    void *saved;             /* NULL in forward: not wanted */
    equinv_tensor templates; /* gradient of the templates, in their shape */
    void *scratch;
} eqi_projection_call;

typedef struct eqi_projection_implementation {
    eqi_implementation base;
    /* What the implementation keeps beside the templates; may be NULL. On failure it leaves nothing. */
    equinv_status (*prepare)(equinv_projection *projection);
    void (*release)(equinv_projection *projection);
    /* Bytes for each thread and for all of them together; false if they overflow. */
    bool (*scratch)(const equinv_projection *projection, size_t *slice, size_t *shared);
    equinv_status (*forward)(const equinv_projection *projection, const eqi_projection_call *call);
    equinv_status (*backward)(const equinv_projection *projection, const eqi_projection_call *call);
    /* Gradient of the templates from src and dst's gradient; NULL: there is none. */
    equinv_status (*backward_templates)(const equinv_projection *projection,
                                        const eqi_projection_call *call);
} eqi_projection_implementation;

extern const eqi_implementation *const eqi_projection_list[];
extern const eqi_projection_implementation eqi_ref_projection, eqi_gemm_projection,
    eqi_gfourier_projection, eqi_network_projection, eqi_spectrum_projection;

struct equinv_projection {
    equinv_context *ctx;
    equinv_projection_desc desc; /* user_templates and impl are NULL; lists are copies */
    bool symmetric;              /* S: SORT, PROJECT_SORT */
    bool spectral;               /* of signals: internal/spectrum.h */
    int32_t order;               /* |G|; 1 for S */
    int64_t dimension;           /* numbers per latent */
    int64_t rank;                /* orbits of coordinates; 0 for S */
    int64_t k;                   /* templates; SORT and the kinds of signals: 0 */
    int64_t outputs;             /* numbers that an orbit, or a signal, becomes; 1 for S */
    double scale;                /* of inner products: 1 or 1 / sqrt(k) */
    equinv_tensor templates;     /* row-major; data NULL where there are none */
    const eqi_projection_implementation *implementation;
    void *prepared; /* the implementation's own */
    size_t slice_size, shared_size;
};

/* What saved holds of one (row, template), or (row, signal): kinds differ in element type and number. */
typedef enum eqi_saved_kind { EQI_SAVED_NONE, EQI_SAVED_INDEX, EQI_SAVED_VALUE } eqi_saved_kind;

/* "MAX" */
const char *eqi_projection_kind_name(equinv_projection_kind kind);

eqi_saved_kind eqi_projection_saved_kind(equinv_projection_kind kind);

/* Whether v takes the place of the maximum so far, of a lower element: NaN wins and stays. */
EQI_INLINE bool eqi_orbit_exceeds(double v, double most)
{
    return most == most && !(v <= most);
}

/* What the mean kinds sum over the orbit, and `mean` times its derivative by x. */
EQI_INLINE double eqi_orbit_term(equinv_projection_kind kind, double x)
{
    switch (kind) {
    case EQUINV_PROJECT_MEAN_RELU: return x <= 0 ? 0 : x;
    case EQUINV_PROJECT_MEAN_ABS: return x < 0 ? -x : x;
    case EQUINV_PROJECT_MEAN_SQUARE: return x * x;
    case EQUINV_PROJECT_MOMENT3: return x * x * x;
    default: return x;
    }
}

EQI_INLINE double eqi_orbit_slope(equinv_projection_kind kind, double x, double mean)
{
    switch (kind) {
    case EQUINV_PROJECT_MEAN_RELU: return x > 0 ? mean : 0;
    case EQUINV_PROJECT_MEAN_ABS: return x > 0 ? mean : x < 0 ? -mean : 0;
    case EQUINV_PROJECT_MEAN_SQUARE: return 2 * mean * x;
    case EQUINV_PROJECT_MOMENT3: return 3 * mean * x * x;
    default: return mean;
    }
}

/* SORT and the kinds of signals have none. */
bool eqi_has_templates(const equinv_projection *p);

/*
 * As equinv_projection_create, where a recipe may have made what `desc` has as the user's templates: those
 * of a file.
 */
equinv_status eqi_projection_create(equinv_context *ctx, const equinv_projection_desc *desc,
                                    equinv_template_kind made_by, equinv_projection **projection);

/* Sets the templates by the description: a recipe's, or a copy of the caller's, which are checked. */
equinv_status eqi_make_templates(equinv_projection *p, const equinv_tensor *user);

/* Extents of dst, at most 3; returns how many. */
int32_t eqi_projection_shape(const equinv_projection *p, int64_t batch, int64_t shape[3]);

/* Checks and normalises latents, [B, F, G, H, W] or [B, n, c]; `output` is for gradients. */
equinv_status eqi_projection_latents(const equinv_projection *p, const equinv_tensor *tensor,
                                     const char *name, bool output, equinv_tensor *latents);

/*
 * The reduction over the orbit, the same for every implementation. v holds the |G| inner products of
 * row b and template k; `room` has space for 2 |G| items, `out` for eqi_orbit_numbers doubles. The first
 * stores into dst and saved; the second gives the derivatives by the unscaled inner products.
 */
EQI_INLINE int64_t eqi_orbit_numbers(const equinv_projection *p)
{
    return 2 * (p->outputs > p->order ? p->outputs : p->order);
}

void eqi_orbit_reduce(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                      int64_t k, const double *v, eqi_item *room, double *out);
void eqi_orbit_reduce_backward(const equinv_projection *p, const eqi_projection_call *call,
                               int64_t b, int64_t k, double *v, double *out, double *c);

/* The reference's gradient of templates, for any kind and S, and its bytes in a slice of scratch. */
size_t eqi_ref_templates_slice(const equinv_projection *p);
equinv_status eqi_ref_templates_backward(const equinv_projection *p,
                                         const eqi_projection_call *call);

/*
 * Makes Gaussian templates [k, F, G, H, W] or [k, c], row-major, orthonormal; `folded` after their
 * orbit mean (then k <= F H W).
 */
equinv_status eqi_make_orthonormal(equinv_context *ctx, equinv_group group, bool folded,
                                   const equinv_tensor *templates);

/* SPARSE and HADAMARD templates [k, ..], row-major and in CPU memory. */
void eqi_make_structured(const equinv_context *ctx, const equinv_projection_desc *desc,
                         const equinv_tensor *dst);

/* The k <= n rows of a matrix made orthonormal; dependent ones are replaced. Deterministic. */
void eqi_orthonormalise(double *rows, int64_t k, int64_t n);

#endif
