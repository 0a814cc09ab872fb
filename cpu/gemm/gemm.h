/*
 * Matrix product for the CPU implementations: C = A B or C += A B, row-major with leading dimensions.
 *
 * The built-in product is deterministic in a strong sense: every element of C is one chain of
 * multiply-adds over k = 0, 1, .. in that order, whatever m and n are, so a row's bits do not depend on
 * its neighbours. It runs in the calling thread and may be called from tasks of the pool.
 */
#ifndef EQI_GEMM_H
#define EQI_GEMM_H

#include "internal/context.h"

typedef struct eqi_gemm_args {
    bool transpose_a; /* a holds A^T: k x m */
    bool transpose_b; /* b holds B^T: n x k */
    int64_t m, n, k;
    const void *a;
    int64_t lda;
    const void *b;
    int64_t ldb;
    bool packed_b; /* B's rows are short and close together: it is read where it stands */
    bool
        whole; /* rows of B and C reach to whole vectors: what follows column n - 1 has no meaning */
    bool accumulate;
    void *c;
    int64_t ldc;
    const int64_t *c_rows; /* row i of C stands at c + c_rows[i], not at c + i ldc; NULL: none */
    /*
     * Both or neither: A read through offsets, element (i, k) = a[a_rows[i] + a_columns[k]]. Patches of
     * an image are a matrix of this form. transpose_a and lda are not used then.
     */
    const int64_t *a_rows, *a_columns;
} eqi_gemm_args;

/* Bytes of workspace, aligned to 64, that one product needs, for any sizes. */
#define EQI_GEMM_WORKSPACE ((size_t)512 << 10)

/* The built-in product, on the level that `hardware` allows. fp32 or fp64 by dtype. */
void eqi_gemm(const eqi_hardware *hardware, equinv_dtype dtype, const eqi_gemm_args *args,
              void *workspace);

/*
 * OpenBLAS where the build has it, else the built-in product. From the calling thread only, never
 * from a task: OpenBLAS has threads of its own. Its bits may depend on m and n.
 */
void eqi_gemm_blas(const eqi_hardware *hardware, equinv_dtype dtype, const eqi_gemm_args *args,
                   void *workspace);

/* eqi_ref_orbit_distance by products; x and y on the CPU. */
equinv_status eqi_gemm_orbit_distance(const equinv_context *ctx, equinv_group group,
                                      const equinv_tensor *x, const equinv_tensor *y,
                                      const equinv_tensor *distance, const equinv_tensor *element);
/* eqi_gfourier_orbit_bounds for any group and dtype. */
struct eqi_orbit_visitor;
equinv_status eqi_gemm_orbit_bounds(const equinv_context *ctx, equinv_group group,
                                    const equinv_tensor *x, const equinv_tensor *y,
                                    const struct eqi_orbit_visitor *visitor);

#endif
