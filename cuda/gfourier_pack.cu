/*
 * The filter in the Fourier form, from psi.
 *
 * Layout  [panels][fields of src][taps][entries][outputs]: what a warp needs for one field and tap is
 *         one run of memory, read by vectors of outputs
 * Tile    one thread the entries of a pair of fields and one tap, in double
 */
#include "cuda/gfourier.cuh"
#include "cuda/gfourier_forms.cuh"

enum { BLOCK = 256 };

/*
 * Where phi_v(a) stands in psi[o, i]: psi[a, a v]; without elements on one side psi[a v] (lifting), psi[v]
 * (to the plane). The adjoint's has psi'[b, b v] = psi[b^-1, -v]; else -b v for v.
 */
static __device__ __forceinline__ int64_t offset_of_phi(const eqi_gf_pass &p, bool adjoint,
                                                        const equinv_tensor &psi, int32_t tap,
                                                        int32_t a)
{
    const int64_t k = p.kernel, y = tap / p.kernel, x = tap % p.kernel;
    const bool regular = psi.shape[2] > 1;
    eqi_pixel t = {y, x};
    if (!(adjoint && regular))
        t = eqi_move(eqi_motion_of(p.group, a), y, x, k, k);
    const int64_t row = adjoint ? eqi_inverse(p.group, a) : a;
    return (regular ? row : 0) * psi.strides[2] + (adjoint ? k - 1 - t.y : t.y) * psi.strides[3] +
           (adjoint ? k - 1 - t.x : t.x) * psi.strides[4];
}

/* Where src has no elements a tap stands for its orbit; psi is shared out among those that keep it. */
static __device__ __forceinline__ double share_of(const eqi_gf_pass &p, int32_t tap)
{
    const int64_t k = p.kernel, y = tap / p.kernel, x = tap % p.kernel;
    int32_t same = 0;
    if (p.elements > 1)
        return 1;
    for (int32_t h = 0; h < p.inputs; h++) {
        const eqi_pixel t = eqi_move(eqi_motion_of(p.group, h), y, x, k, k);
        same += t.y == y && t.x == x;
    }
    return 1.0 / same;
}

template <typename Form>
__global__ void eqi_f32_gfourier_pack(eqi_gf_pass p, bool adjoint, equinv_tensor psi, float *filter)
{
    const int64_t outputs = p.tile.outputs;
    const float *const data = static_cast<const float *>(psi.data);
    EQI_FOR_EACH(index, p.panels * p.fields_in * p.taps * outputs)
    {
        const int64_t m = index % outputs, v = index / outputs % p.taps;
        const int64_t i = index / outputs / p.taps % p.fields_in;
        const int64_t o = index / outputs / p.taps / p.fields_in * outputs + m;
        float *const to = filter + index / outputs * Form::ENTRIES * outputs + m;
        double phi[Form::VALUES] = {}, entries[Form::ENTRIES];
        if (o < p.fields_out) {
            const float *const from =
                data + o * psi.strides[adjoint ? 1 : 0] + i * psi.strides[adjoint ? 0 : 1];
            const double share = share_of(p, p.tap[v]);
            for (int32_t a = 0; a < Form::VALUES; a++)
                phi[a] = share * double(from[offset_of_phi(p, adjoint, psi, p.tap[v], a)]);
        }
        Form::filter(phi, entries);
        for (int e = 0; e < Form::ENTRIES; e++)
            to[e * outputs] = float(entries[e]);
    }
}

typedef void pack_kernel(eqi_gf_pass, bool, equinv_tensor, float *);

equinv_status eqi_gf_pack(const equinv_context *ctx, const eqi_gf_pass *p, bool adjoint,
                          const equinv_tensor *psi, float *filter)
{
    static pack_kernel *const kernels[EQI_GF_KINDS] = {
        eqi_f32_gfourier_pack<eqi_gf_2>,      eqi_f32_gfourier_pack<eqi_gf_d2>,
        eqi_f32_gfourier_pack<eqi_gf_c4>,     eqi_f32_gfourier_pack<eqi_gf_d4>,
        eqi_f32_gfourier_pack<eqi_gf_sum<2>>, eqi_f32_gfourier_pack<eqi_gf_sum<4>>,
        eqi_f32_gfourier_pack<eqi_gf_sum<8>>,
    };
    pack_kernel *const pack = kernels[p->kind];
    EQI_LAUNCH(pack, eqi_blocks(p->panels * p->fields_in * p->taps * p->tile.outputs, BLOCK), BLOCK,
               0, eqi_stream(ctx), *p, adjoint, *psi, filter);
    return EQUINV_OK;
}
