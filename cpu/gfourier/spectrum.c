/*
 * Spectra of signals on C_n and D_n in fp32: tiles of as many signals as a vector has lanes are turned, so that
 * a vector holds one element of each, transformed (cpu/kernel/projection.inc.c) and multiplied
 * (cpu/kernel/spectrum.inc.c), and their numbers are turned back into codes. Backward transforms the
 * saved signals again and is the adjoint, step by step.
 */
#include "cpu/gfourier/spectrum.h"

#include <string.h>

#include "internal/arithmetic.h"
#include "internal/rows.h"

enum { TILES = 4 }; /* a task takes */

static const eqi_spectrum_kernels *kernels_of(const eqi_hardware *hardware)
{
    static const eqi_spectrum_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_spectra_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_spectra_avx2,
        [EQI_ISA_AVX512] = &eqi_spectra_avx512,
#endif
    };
    return kernels[hardware->isa];
}

/* ---- tables ----------------------------------------------------------------------------------- */

typedef struct prepared {
    size_t size; /* of this and what follows */
    const eqi_orbit_kernels *orbits;
    const eqi_spectrum_kernels *spectra;
    eqi_orbit_group group;
    int32_t parts;   /* that a signal's numbers come in */
    int64_t numbers; /* of a part */
} prepared;

static equinv_status prepare(equinv_projection *p)
{
    const int32_t n = p->desc.group.n;
    const size_t table = eqi_orbit_turns_size(n);
    const size_t size = eqi_aligned(sizeof(prepared)) + 2 * table;
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(p->ctx, (int64_t)size, 1, "tables of a transform", &memory));
    char *rest = memory;
    prepared *const own = eqi_take(&rest, sizeof *own);
    float *const cosine = eqi_take(&rest, table), *const sine = eqi_take(&rest, table);
    const int32_t parts = p->desc.kind == EQUINV_PROJECT_BISPECTRUM_FULL ? n : 1;
    *own = (prepared){
        .size = size,
        .orbits = eqi_orbit_kernels_of(&p->ctx->hardware),
        .spectra = kernels_of(&p->ctx->hardware),
        .group = {n, p->order, p->desc.group.kind == EQUINV_GROUP_DIHEDRAL, cosine, sine},
        .parts = parts,
        .numbers = p->outputs / parts,
    };
    const equinv_status status = eqi_orbit_turns(n, cosine, sine);
    if (status)
        eqi_free(p->ctx, memory, size);
    else
        p->prepared = own;
    return status;
}

static void release(equinv_projection *p)
{
    eqi_free(p->ctx, p->prepared, ((prepared *)p->prepared)->size);
}

/* ---- where signals are ------------------------------------------------------------------------ */

typedef struct job {
    const equinv_projection *p;
    const eqi_projection_call *call;
    const prepared *own;
    const int64_t *members;     /* of the latents: [pixel][element] */
    int64_t signals;            /* of the batch */
    int64_t src_step, dst_step; /* from one to the next; 0 where that is not constant */
    bool is_run;                /* the members of a signal are neighbours */
} job;

/* From one signal to the next where that is one stride: signals are rows times columns. */
static int64_t step_of(const equinv_tensor *t, int64_t columns)
{
    if (columns == 1)
        return t->strides[0];
    return t->shape[0] == 1 || t->strides[0] == columns * t->strides[1] ? t->strides[1] : 0;
}

static float *latent_at(const job *j, int64_t signal, const int64_t **members)
{
    const equinv_projection *const p = j->p;
    const equinv_tensor *const z = &j->call->src;
    const int64_t pixels = p->desc.height * p->desc.width, number = signal % p->rank;
    *members = j->members + number % pixels * p->order;
    return (float *)z->data + signal / p->rank * z->strides[0] + number / pixels * z->strides[1];
}

static float *codes_at(const job *j, int64_t signal)
{
    const equinv_tensor *const dst = &j->call->dst;
    return (float *)dst->data + signal / j->p->rank * dst->strides[0] +
           signal % j->p->rank * dst->strides[1];
}

static float *saved_at(const job *j, int64_t signal)
{
    return (float *)j->call->saved + signal * j->p->order;
}

/* ---- a tile ----------------------------------------------------------------------------------- */

typedef struct parts {
    float *x, *hat, *diff_hat; /* [element or coefficient][lane] */
    float *numbers, *room;
} parts;

static size_t tile_size(const equinv_projection *p, size_t *numbers)
{
    const prepared *const own = p->prepared;
    const size_t row = (size_t)own->spectra->lanes * sizeof(float);
    *numbers = eqi_aligned((size_t)own->numbers * row);
    return eqi_aligned((size_t)p->order * row);
}

static parts parts_of(const equinv_projection *p, void *slice)
{
    size_t numbers;
    const size_t tile = tile_size(p, &numbers);
    char *rest = slice;
    parts t;
    t.x = eqi_take(&rest, tile);
    t.hat = eqi_take(&rest, tile);
    t.diff_hat = eqi_take(&rest, tile);
    t.room = eqi_take(&rest, 3 * tile);
    t.numbers = (float *)rest;
    return t;
}

static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    size_t numbers;
    const size_t tile = tile_size(p, &numbers);
    const size_t members = (size_t)(p->dimension / p->desc.fields);
    *slice = 6 * tile + numbers;
    return !__builtin_mul_overflow(members, sizeof(int64_t), shared) &&
           (*shared = eqi_aligned(*shared)) < SIZE_MAX;
}

static eqi_orbit_transform transform_of(const job *j, const parts *t, const float *in, float *out)
{
    const int64_t lanes = j->own->spectra->lanes;
    return (eqi_orbit_transform){.group = &j->own->group,
                                 .vectors = 1,
                                 .in = in,
                                 .in_step = lanes,
                                 .out = out,
                                 .out_step = lanes,
                                 .room = t->room};
}

static eqi_spectrum_tile spectrum_of(const job *j, const parts *t, int32_t part)
{
    return (eqi_spectrum_tile){.kind = j->p->desc.kind,
                               .n = j->own->group.n,
                               .dihedral = j->own->group.dihedral,
                               .part = part,
                               .hat = t->hat,
                               .numbers = t->numbers,
                               .diff_hat = t->diff_hat};
}

/* Signals first .. first + count - 1, one a lane. */
static void stage_latents(const job *j, int64_t first, int64_t count, float *x)
{
    const int64_t lanes = j->own->spectra->lanes;
    const int32_t order = j->p->order;
    const int64_t *members;
    const float *const from = latent_at(j, first, &members);
    if (j->src_step != 0 && j->is_run) {
        j->own->spectra->take(from + members[0], j->src_step, 1, order, count, x);
        return;
    }
    if (j->src_step != 0) {
        j->own->orbits->stage(from, j->src_step, members, order, count, x, lanes);
        return;
    }
    for (int64_t l = 0; l < lanes; l++) {
        const float *const latent = l < count ? latent_at(j, first + l, &members) : NULL;
        for (int32_t a = 0; a < order; a++)
            x[a * lanes + l] = latent ? latent[members[a]] : 0;
    }
}

/* The lines that a part's codes will be written to; without this the stores wait for them. */
static void fetch_codes(const job *j, int32_t part, int64_t first, int64_t count)
{
    const int64_t line = EQI_ALIGNMENT / (int64_t)sizeof(float);
    for (int64_t l = 0; l < count && j->dst_step != 0 && j->call->dst.strides[2] == 1; l++) {
        const float *const to = codes_at(j, first) + part * j->own->numbers + l * j->dst_step;
        for (int64_t i = 0; i < j->own->numbers; i += line)
            __builtin_prefetch(to + i, 1);
    }
}

/* One lane of a tile, by itself, has any place; all of them need a constant step. */
static void put_codes(const job *j, const parts *t, int32_t part, int64_t first, int64_t count)
{
    const int64_t element = j->call->dst.strides[2];
    const int64_t begin = part * j->own->numbers * element;
    if (j->dst_step != 0)
        j->own->spectra->put(t->numbers, j->own->numbers, count, codes_at(j, first) + begin,
                             j->dst_step, element);
    else
        for (int64_t l = 0; l < count; l++)
            j->own->spectra->put(t->numbers + l, j->own->numbers, 1, codes_at(j, first + l) + begin,
                                 0, element);
}

static void take_gradients(const job *j, const parts *t, int32_t part, int64_t first, int64_t count)
{
    const int64_t element = j->call->dst.strides[2], lanes = j->own->spectra->lanes;
    const int64_t begin = part * j->own->numbers * element;
    if (j->dst_step != 0) {
        j->own->spectra->take(codes_at(j, first) + begin, j->dst_step, element, j->own->numbers,
                              count, t->numbers);
        return;
    }
    for (int64_t l = 0; l < lanes; l++) {
        const float *const from = l < count ? codes_at(j, first + l) + begin : NULL;
        for (int64_t i = 0; i < j->own->numbers; i++)
            t->numbers[i * lanes + l] = from ? from[i * element] : 0;
    }
}

static void forward_tiles(const void *arg, int64_t first_tile, int64_t tiles, void *slice)
{
    const job *const j = arg;
    const int64_t lanes = j->own->spectra->lanes;
    const bool keeps = j->call->saved && j->p->desc.kind != EQUINV_PROJECT_FOURIER;
    const parts t = parts_of(j->p, slice);
    for (int64_t tile = first_tile; tile < first_tile + tiles; tile++) {
        const int64_t first = tile * lanes, count = eqi_smaller(lanes, j->signals - first);
        stage_latents(j, first, count, t.x);
        if (keeps)
            j->own->spectra->put(t.x, j->p->order, count, saved_at(j, first), j->p->order, 1);
        eqi_orbit_transform analysis = transform_of(j, &t, t.x, t.hat);
        analysis.turned = true;
        fetch_codes(j, 0, first, count);
        j->own->orbits->analyse(&analysis);
        for (int32_t part = 0; part < j->own->parts; part++) {
            const eqi_spectrum_tile spectrum = spectrum_of(j, &t, part);
            j->own->spectra->forward(&spectrum);
            put_codes(j, &t, part, first, count);
        }
    }
}

/* ---- gradients -------------------------------------------------------------------------------- */

static void put_gradient(const job *j, const float *x, int64_t first, int64_t count)
{
    const int64_t lanes = j->own->spectra->lanes, element = j->call->src.strides[2];
    const int32_t order = j->p->order;
    const bool accumulate = j->p->desc.accumulate;
    const int64_t *members;
    if (j->src_step != 0 && !accumulate) {
        float *const to = latent_at(j, first, &members);
        j->own->spectra->put(x, order, count, to, j->src_step, element);
        return;
    }
    for (int64_t l = 0; l < count; l++) {
        float *const latent = latent_at(j, first + l, &members);
        for (int32_t a = 0; a < order; a++) {
            float *const to = latent + members[a];
            *to = accumulate ? *to + x[a * lanes + l] : x[a * lanes + l];
        }
    }
}

static void backward_tiles(const void *arg, int64_t first_tile, int64_t tiles, void *slice)
{
    const job *const j = arg;
    const int64_t lanes = j->own->spectra->lanes;
    const int32_t order = j->p->order;
    const parts t = parts_of(j->p, slice);
    for (int64_t tile = first_tile; tile < first_tile + tiles; tile++) {
        const int64_t first = tile * lanes, count = eqi_smaller(lanes, j->signals - first);
        if (j->p->desc.kind != EQUINV_PROJECT_FOURIER) {
            j->own->spectra->take(saved_at(j, first), order, 1, order, count, t.x);
            eqi_orbit_transform analysis = transform_of(j, &t, t.x, t.hat);
            analysis.turned = true;
            j->own->orbits->analyse(&analysis);
        }
        memset(t.diff_hat, 0, (size_t)(order * lanes) * sizeof *t.diff_hat);
        for (int32_t part = 0; part < j->own->parts; part++) {
            const eqi_spectrum_tile spectrum = spectrum_of(j, &t, part);
            take_gradients(j, &t, part, first, count);
            j->own->spectra->backward(&spectrum);
        }
        const eqi_orbit_transform adjoint = transform_of(j, &t, t.diff_hat, t.x);
        j->own->orbits->synthesise(&adjoint);
        put_gradient(j, t.x, first, count);
    }
}

/* ---- the whole batch -------------------------------------------------------------------------- */

static equinv_status run(const equinv_projection *p, const eqi_projection_call *call,
                         eqi_rows_body *body)
{
    const prepared *const own = p->prepared;
    const int64_t signals = call->src.shape[0] * p->rank, lanes = own->spectra->lanes;
    const bool one_pixel = p->desc.height * p->desc.width == 1;
    char *rest = call->scratch;
    int64_t *const members =
        eqi_take(&rest, (size_t)(p->dimension / p->desc.fields) * sizeof *members);
    eqi_orbit_members(p->desc.group, p->desc.height, p->desc.width, &call->src, members);
    const job j = {.p = p,
                   .call = call,
                   .own = own,
                   .members = members,
                   .signals = signals,
                   .src_step = one_pixel ? step_of(&call->src, p->desc.fields) : 0,
                   .dst_step = step_of(&call->dst, p->rank),
                   .is_run = eqi_is_run(members, p->order)};
    const double work = (double)p->order * p->order / 4 + 4 * (double)p->outputs;
    eqi_parallel_rows(p->ctx, eqi_divide_up(signals, lanes), work, TILES, body, &j, rest,
                      p->slice_size);
    return EQUINV_OK;
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    return run(p, call, forward_tiles);
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    return run(p, call, backward_tiles);
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const equinv_projection *const p = problem;
    (void)hardware;
    return eqi_require(p->spectral, why, "spectra of signals alone") &&
           eqi_require(p->desc.dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(p->desc.kind != EQUINV_PROJECT_TRIPLE, why,
                       "triple correlations are no products of coefficients") &&
           eqi_require(p->desc.kind != EQUINV_PROJECT_BISPECTRUM_FULL ||
                           p->desc.group.kind == EQUINV_GROUP_CYCLIC,
                       why, "full bispectra of C_n alone");
}

const eqi_projection_implementation eqi_spectrum_projection = {
    {"projection/spectrum", supports, NULL}, prepare, release, scratch, forward, backward, NULL,
};
