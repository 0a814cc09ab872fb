/* Where the numbers of patches, slots and taps stand (cuda/gfourier.cuh says what these are). */
#ifndef EQI_CUDA_GFOURIER_PLACES_CUH
#define EQI_CUDA_GFOURIER_PLACES_CUH

#include "cuda/gfourier.cuh"

/* No offset: strides may be negative. */
static constexpr int64_t EQI_GF_NOWHERE = INT64_MIN;

/* Strides in floats. */
typedef struct eqi_gf_map {
    float *data;
    int64_t strides[5];
} eqi_gf_map;

/* Where a block's shared memory begins: stack and row of its first slot. */
typedef struct eqi_gf_start {
    int64_t stack, row;
} eqi_gf_start;

typedef struct eqi_gf_slot {
    int64_t stack, y, x;
} eqi_gf_slot;

static inline eqi_gf_map eqi_gf_map_of(const equinv_tensor *t)
{
    eqi_gf_map m = {static_cast<float *>(t->data), {}};
    memcpy(m.strides, t->strides, sizeof m.strides);
    return m;
}

static __device__ __forceinline__ eqi_gf_slot eqi_gf_slot_of(const eqi_gf_pass &p, int64_t slot)
{
    const int64_t stack = p.patch_slots.quotient(slot), place = slot - stack * p.patch_slots.by;
    const int64_t y = p.patch_across.quotient(place);
    return {stack, y, place - y * p.patch_across.by};
}

/* Row of shared memory where the window of a slot begins; and the float there. */
static __device__ __forceinline__ int32_t eqi_gf_row_of(const eqi_gf_pass &p,
                                                        const eqi_gf_start &start,
                                                        const eqi_gf_slot &s)
{
    return int32_t((s.stack - start.stack) * p.stack_rows.by + (s.y - start.row) * p.stride);
}

static __device__ __forceinline__ int32_t eqi_gf_window_of(const eqi_gf_pass &p,
                                                           const eqi_gf_start &start,
                                                           const eqi_gf_slot &s, int32_t images)
{
    return (eqi_gf_row_of(p, start, s) * int32_t(p.pitch.by) + int32_t(s.x * p.stride)) * images;
}

/* Floats of a plane that the slots up to this last one need. */
static __device__ __forceinline__ int32_t eqi_gf_cells(const eqi_gf_pass &p,
                                                       const eqi_gf_start &start, int64_t last,
                                                       int32_t images)
{
    const int64_t window = p.dilation * (p.kernel - 1) + 1;
    const int64_t rows = eqi_gf_row_of(p, start, eqi_gf_slot_of(p, last)) + window;
    return int32_t(rows * p.pitch.by) * images;
}

/* First pixel of dst of a patch. */
static __device__ __forceinline__ eqi_pixel eqi_gf_corner_of(const eqi_gf_pass &p, int64_t patch)
{
    const int64_t y = p.patches_across.quotient(patch);
    return {y * p.patch_height, (patch - y * p.patches_across.by) * p.patch_width};
}

static __device__ __forceinline__ int64_t eqi_gf_wrapped(int64_t at, int64_t size)
{
    const int64_t rest = at % size;
    return rest < 0 ? rest + size : rest;
}

/* Where a number of shared memory comes from, in floats from a plane of src; NOWHERE: it is zero. */
static __device__ __forceinline__ int64_t eqi_gf_source_of(const eqi_gf_pass &p,
                                                           const eqi_gf_map &src,
                                                           const eqi_gf_start &start, int64_t cell,
                                                           int32_t images)
{
    const int64_t place = cell / images, row = p.pitch.quotient(place);
    const int64_t at = start.row * p.stride + row, stack = p.stack_rows.quotient(at);
    const int64_t number = (start.stack + stack) * images + cell % images;
    const int64_t image = p.patches.quotient(number);
    const eqi_pixel corner = eqi_gf_corner_of(p, number - image * p.patches.by);
    int64_t y = corner.y * p.stride + at - stack * p.stack_rows.by - p.padding;
    int64_t x = corner.x * p.stride + place - row * p.pitch.by - p.padding;
    if (number >= p.virtual_images)
        return EQI_GF_NOWHERE;
    if (p.circular) {
        y = eqi_gf_wrapped(y, p.height);
        x = eqi_gf_wrapped(x, p.width);
    }
    if (y < 0 || y >= p.height || x < 0 || x >= p.width)
        return EQI_GF_NOWHERE;
    return image * src.strides[0] + y * src.strides[3] + x * src.strides[4];
}

/* Where a slot's number in patch n of its stack stands in dst, in floats from a plane, or NOWHERE. */
static __device__ __forceinline__ int64_t eqi_gf_place_of(const eqi_gf_pass &p,
                                                          const eqi_gf_map &dst,
                                                          const eqi_gf_slot &s, int32_t n,
                                                          int32_t images)
{
    const int64_t number = s.stack * images + n, image = p.patches.quotient(number);
    const eqi_pixel corner = eqi_gf_corner_of(p, number - image * p.patches.by);
    const int64_t y = corner.y + s.y, x = corner.x + s.x;
    return number < p.virtual_images && y < p.out_height && x < p.out_width
               ? image * dst.strides[0] + y * dst.strides[3] + x * dst.strides[4]
               : EQI_GF_NOWHERE;
}

/* P_v(h) reads plane h at the tap h v: bytes from a slot's window in the planes of a field. */
static __device__ __forceinline__ void eqi_gf_fill_taps(const eqi_gf_pass &p, int32_t images,
                                                        int32_t *taps)
{
    for (int32_t j = threadIdx.x; j < p.taps * p.inputs; j += int32_t(blockDim.x)) {
        const int32_t tap = p.tap[j / p.inputs], h = j % p.inputs;
        const eqi_pixel t =
            eqi_move(eqi_motion_of(p.group, h), tap / p.kernel, tap % p.kernel, p.kernel, p.kernel);
        taps[j] = (int32_t(p.dilation * (t.y * p.pitch.by + t.x)) * images +
                   (p.elements > 1 ? h * p.plane : 0)) *
                  int32_t(sizeof(float));
    }
}

#endif
