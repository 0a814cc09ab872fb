/*
 * equinv: invariant representations from equivariant ones.
 *
 * Codes of an equivariant network are defined only up to a group action: z and g.z describe the
 * same input, turned. Distances, pictures and predictors must work on orbits, through an invariant
 * projection (Hansen, Calissano, Feragen, "Interpreting Equivariant Representations", ICML 2024).
 * This library has the pieces: finite groups and their action, group-equivariant convolution with
 * gradients, the layers around it, latent extraction, and batched invariant projections.
 *
 *     equinv_context *ctx = NULL;
 *     equinv_projection *proj = NULL;
 *     equinv_tensor z, codes;
 *     equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
 *     d.kind = EQUINV_PROJECT_LINEAR;              // mean over the orbit, then k random directions
 *     d.group = equinv_cyclic(4);                  // quarter turns
 *     d.fields = 16, d.height = 7, d.width = 7;    // latents [batch, 16, 4, 7, 7]
 *     d.k = 64, d.seed = 7;
 *     if (equinv_context_create(NULL, &ctx) ||
 *         equinv_tensor_load(ctx, "latents.npy", &z) ||
 *         equinv_projection_create(ctx, &d, &proj) ||
 *         equinv_tensor_create(ctx, EQUINV_F32, 2, (int64_t[]){z.shape[0], 64}, &codes) ||
 *         equinv_project_forward(proj, &z, NULL, &codes, NULL, 0, NULL, 0) ||
 *         equinv_tensor_save(ctx, "codes.npy", &codes))
 *         fprintf(stderr, "%s\n", equinv_last_error());
 *     equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
 *     equinv_projection_destroy(proj), equinv_context_destroy(ctx);
 *
 * Contents
 *     1 version     2 status        3 context       4 tensors          5 groups
 *     6 plans       7 convolution   8 layers        9 losses           10 optimisers
 *     11 templates  12 projections  13 orbits       14 report          15 files
 *     16 models     17 extraction
 *
 * Conventions that hold everywhere
 *     errors    every fallible function returns equinv_status, outputs last; on failure outputs are
 *               untouched unless said otherwise, and equinv_last_error() has one sentence. The
 *               library never aborts, exits or prints; messages go to the context's log callback
 *               (without one, and with EQUINV_VERBOSE set, to stderr).
 *     threads   a context and the plans made from it may be used by any number of threads at once
 *               when each call has its own scratch and outputs; scratch NULL means the context's
 *               arena, which serves one thread at a time. Models and optimisers: one thread at a
 *               time. A context must not cross fork().
 *     streams   CPU calls are complete when they return. On CUDA, functions that compute or copy
 *               enqueue on the context's stream and return: results are there, and CPU memory that
 *               took part may be touched again, after equinv_context_synchronize. Errors of such
 *               work appear there, or in the next call. _create, _load, files, models and
 *               extraction may wait for the device; executing a plan never does.
 *     devices   the tensors of a call are on its context's device, else DEVICE; nothing is copied
 *               between devices unless a function says so. Scratch, saved and packed buffers are
 *               memory of that device, aligned to 64 bytes, to 256 on CUDA.
 *     memory    caller's buffers are never kept unless said; objects come from the context's
 *               allocator and are released by their _destroy, which accepts NULL. All objects of a
 *               context must be destroyed before it.
 *     shapes    feature maps are [N, F, G, H, W]: batch, fields, group elements (1 for trivial
 *               fields), rows down, columns right. [N, F G, H, W] (element fastest within the
 *               channel) is accepted wherever a feature map is. Strides are free. N may be 0.
 *     outputs   are overwritten; where a description has `accumulate`, true adds to them. They must
 *               not overlap an input unless "in place" is stated.
 *     floats    fp32 operations have fp32-level error; sums run in fp64 in implementation "ref".
 *               NaN wins in max, min and ReLU and stays in its sample where an operation is per
 *               sample. The same call gives the same bits for one backend and thread count.
 */
#ifndef EQUINV_H
#define EQUINV_H

#include <math.h> /* INFINITY in EQUINV_PROJECTION_DESC_INIT */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EQUINV_API __attribute__((visibility("default")))
#else
#define EQUINV_API
#endif

/* ---- 1 version ------------------------------------------------------------------------------ */

#define EQUINV_VERSION_MAJOR 0
#define EQUINV_VERSION_MINOR 1
#define EQUINV_VERSION_PATCH 0

/*
 * Version of the library that is running, "major.minor.patch"; static storage. Compare with the
 * EQUINV_VERSION_ macros that a program was compiled with. Since 0.1.
 */
EQUINV_API const char *equinv_version(void);

/*
 * What this build can do: one line per optional part ("openblas: yes", "zlib: no, .gz files say
 * UNSUPPORTED"); static storage.
 */
EQUINV_API const char *equinv_build_info(void);

/* ---- 2 status ------------------------------------------------------------------------------- */

typedef enum equinv_status {
    EQUINV_OK = 0,
    EQUINV_ERR_ARG = 10,         /* NULL, out of range, unknown name, overlapping buffers */
    EQUINV_ERR_SHAPE = 11,       /* rank, extent or stride does not fit */
    EQUINV_ERR_DTYPE = 12,       /* element type does not fit */
    EQUINV_ERR_DEVICE = 13,      /* tensors on different devices, or not where the plan runs */
    EQUINV_ERR_UNSUPPORTED = 20, /* valid, but this build or version does not do it */
    EQUINV_ERR_NO_BACKEND = 21,  /* the device asked for is not usable here */
    EQUINV_ERR_NOMEM = 30,       /* the allocator returned NULL */
    EQUINV_ERR_SCRATCH = 31,     /* scratch or saved buffer too small or misaligned */
    EQUINV_ERR_BACKEND = 40,     /* a library below failed */
    EQUINV_ERR_IO = 50,          /* the operating system refused a file operation */
    EQUINV_ERR_FORMAT = 51,      /* a file's content is not what its kind demands */
    EQUINV_ERR_CANCELLED = 60,   /* a progress callback returned non-zero */
    EQUINV_ERR_INTERNAL = 90     /* a bug in equinv */
} equinv_status;

/* Name of a status ("EQUINV_ERR_SHAPE"; "unknown status" for other numbers); static storage. */
EQUINV_API const char *equinv_status_name(equinv_status status);

/*
 * The sentence of the last failure in the calling thread: the argument, its value and what was
 * expected. "" if nothing failed yet; never NULL; valid until the thread's next failing call.
 */
EQUINV_API const char *equinv_last_error(void);

/* ---- 3 context ------------------------------------------------------------------------------ */

/* DLPack's numbers; AUTO only in descriptions. */
typedef enum equinv_device_kind {
    EQUINV_DEVICE_AUTO = 0,
    EQUINV_DEVICE_CPU = 1,
    EQUINV_DEVICE_CUDA = 2
} equinv_device_kind;

typedef struct equinv_device {
    equinv_device_kind kind;
    int32_t index;
} equinv_device;

/*
 * Memory for objects and tensors. alloc returns NULL when there is none (the call that needed it
 * gives NOMEM and leaves nothing behind); alignment is a power of two, at least 64. free receives
 * the size that alloc was asked for. Both must be callable from several threads at once.
 */
typedef struct equinv_allocator {
    void *(*alloc)(void *user, size_t size, size_t alignment);
    void (*free)(void *user, void *ptr, size_t size);
    void *user;
} equinv_allocator;

typedef void (*equinv_task)(void *arg, int64_t index);

/*
 * Runs task(arg, i) for i = 0 .. count-1, in any order, on any threads, and returns when all are
 * done. It is called only from the thread that called the library, never from inside a task.
 */
typedef void (*equinv_parallel_for)(void *user, int64_t count, equinv_task task, void *arg);

typedef enum equinv_log_level {
    EQUINV_LOG_WARNING = 1,
    EQUINV_LOG_INFO = 2,
    EQUINV_LOG_DISPATCH = 3 /* which implementation was chosen, which refused and why */
} equinv_log_level;

/* Receives one line without newline; may be called from any thread that uses the context. */
typedef void (*equinv_log)(void *user, equinv_log_level level, const char *text);

/* Tells how far a long call is; total is -1 when unknown. Non-zero stops it with CANCELLED. */
typedef int (*equinv_progress)(void *user, int64_t done, int64_t total);

typedef struct equinv_context_desc {
    uint32_t struct_size;
    equinv_device_kind device;  /* AUTO: EQUINV_BACKEND=cpu|cuda if set, else the best there is */
    int32_t device_index;       /* which GPU */
    int32_t threads;            /* 0: every core the process may use; else 1 .. 1024 */
    equinv_allocator allocator; /* alloc NULL: aligned malloc */
    equinv_parallel_for parallel_for; /* NULL: own pool; else `threads` says how wide it is */
    void *parallel_user;
    equinv_log log; /* NULL: stderr if EQUINV_VERBOSE=info|dispatch, else silent */
    void *log_user;
} equinv_context_desc;

#define EQUINV_CONTEXT_DESC_INIT                                                                   \
    {                                                                                              \
        sizeof(equinv_context_desc), EQUINV_DEVICE_AUTO, 0, 0, {NULL, NULL, NULL}, NULL, NULL,     \
            NULL, NULL                                                                             \
    }

typedef struct equinv_context equinv_context;

/*
 * Creates a context: device, thread pool, allocator, arena. desc NULL means the defaults.
 * CUDA asked for (device or EQUINV_BACKEND=cuda) and not usable: NO_BACKEND with the reason; it
 * never falls back to the CPU. EQUINV_ISA=scalar|avx2|avx512 caps the instruction set.
 */
EQUINV_API equinv_status equinv_context_create(const equinv_context_desc *desc,
                                               equinv_context **ctx);

/* Releases the context, its pool and arena; NULL is fine. Destroy its other objects first. */
EQUINV_API void equinv_context_destroy(equinv_context *ctx);

/* Device and thread count that the context works with; ctx must not be NULL. */
EQUINV_API equinv_device equinv_context_device(const equinv_context *ctx);

/*
 * CUDA: work goes to this stream (a cudaStream_t of the context's device; NULL: back to the context's
 * own) from now on; work on the stream before is not waited for. Scratch NULL means one arena for
 * every stream, so order them yourself or pass scratch. The stream stays the caller's and must outlive
 * its use. On the CPU only NULL is accepted: DEVICE.
 */
EQUINV_API equinv_status equinv_context_set_stream(equinv_context *ctx, void *stream);

/*
 * Waits until everything that was enqueued is done; nothing to wait for on the CPU. BACKEND tells of
 * the first error in that work since the last call.
 */
EQUINV_API equinv_status equinv_context_synchronize(equinv_context *ctx);

/* Number of threads that the context's calls may use, at least 1. */
EQUINV_API int32_t equinv_context_threads(const equinv_context *ctx);

/*
 * One line that says which device was chosen and why, instruction set, threads and pool, e.g.
 * "cpu, avx512, 2 threads (pthreadpool); cuda: unavailable: this build has no CUDA plugin".
 * Valid as long as the context.
 */
EQUINV_API const char *equinv_context_description(const equinv_context *ctx);

/* ---- 4 tensors ------------------------------------------------------------------------------ */

/* Element types: code | bits << 8 of DLPack's DLDataType with one lane. BF16 is reserved. */
typedef enum equinv_dtype {
    EQUINV_I32 = 0x2000,
    EQUINV_U8 = 0x0801,
    EQUINV_U32 = 0x2001,
    EQUINV_F32 = 0x2002,
    EQUINV_F64 = 0x4002,
    EQUINV_BF16 = 0x1004
} equinv_dtype;

#define EQUINV_MAX_DIMS 8

/*
 * A view: where elements are, never who owns them. Strides count elements, may be 0 (broadcast,
 * only in inputs) or negative; data points at element [0, .., 0]. Size-1 axes may have any stride.
 */
typedef struct equinv_tensor {
    void *data;
    equinv_device device;
    equinv_dtype dtype;
    int32_t ndim;
    int64_t shape[EQUINV_MAX_DIMS];
    int64_t strides[EQUINV_MAX_DIMS];
} equinv_tensor;

/* Bytes of one element: 1, 2, 4 or 8; 0 for an unknown dtype. */
EQUINV_API size_t equinv_dtype_size(equinv_dtype dtype);

/* Name of an element type ("f32"; "unknown"); static storage. */
EQUINV_API const char *equinv_dtype_name(equinv_dtype dtype);

/*
 * Describes caller's CPU memory as a row-major tensor. ndim 0 .. EQUINV_MAX_DIMS, extents >= 0;
 * data may be NULL only if there are no elements. ARG, SHAPE (overflow included), DTYPE.
 */
EQUINV_API equinv_status equinv_tensor_init(void *data, equinv_dtype dtype, int32_t ndim,
                                            const int64_t *shape, equinv_tensor *tensor);

/*
 * Allocates a row-major tensor of zeros on the context's device, aligned to 64 bytes (256 on CUDA).
 * The caller releases it with equinv_tensor_destroy.
 */
EQUINV_API equinv_status equinv_tensor_create(equinv_context *ctx, equinv_dtype dtype, int32_t ndim,
                                              const int64_t *shape, equinv_tensor *tensor);

/*
 * The same in CPU memory that the context's device copies fast (page-locked); plain memory in a CPU
 * context. device of the tensor is the CPU.
 */
EQUINV_API equinv_status equinv_tensor_create_pinned(equinv_context *ctx, equinv_dtype dtype,
                                                     int32_t ndim, const int64_t *shape,
                                                     equinv_tensor *tensor);

/*
 * Releases what equinv_tensor_create or _load gave (pass the same, unsliced tensor) and zeroes the
 * struct; a zeroed struct and NULL are fine.
 */
EQUINV_API void equinv_tensor_destroy(equinv_context *ctx, equinv_tensor *tensor);

/* Number of elements, the product of the shape; 1 for ndim 0; -1 for an invalid tensor. */
EQUINV_API int64_t equinv_tensor_count(const equinv_tensor *tensor);

/* View of rows first .. first+count-1 along axis 0. ARG when out of range. No memory is moved. */
EQUINV_API equinv_status equinv_tensor_rows(const equinv_tensor *tensor, int64_t first,
                                            int64_t count, equinv_tensor *rows);

/*
 * View as a feature map [N, F, G, H, W] with G = order: from [N, F G, H, W], [N, F, G], or [N, D]
 * (D a multiple of order; H = W = 1); a 5-D tensor is checked and returned as it is. order 1 gives
 * trivial fields. SHAPE where that is impossible. No memory is moved.
 */
EQUINV_API equinv_status equinv_tensor_as_fields(const equinv_tensor *tensor, int64_t order,
                                                 equinv_tensor *fields);

/*
 * dst = src * scale + shift with change of element type (computed in fp64, rounded once; into an
 * integer type: round to nearest, ARG if a value does not fit). Equal shapes. In place if the views
 * are identical. On CUDA, where the call does not wait for values, one that does not fit becomes the
 * nearest that does, and NaN becomes 0.
 */
EQUINV_API equinv_status equinv_tensor_convert(equinv_context *ctx, const equinv_tensor *src,
                                               double scale, double shift,
                                               const equinv_tensor *dst);

/*
 * dst = src, of the same shape and dtype, each in CPU memory or on the context's device. On CUDA it is
 * enqueued on the stream and CPU memory must stay as it is until equinv_context_synchronize (pageable
 * memory may make the call wait; pinned memory does not). Between CPU and device both must be
 * row-major, else UNSUPPORTED; within one any strides. They must not overlap.
 */
EQUINV_API equinv_status equinv_tensor_copy(equinv_context *ctx, const equinv_tensor *src,
                                            const equinv_tensor *dst);

/* ---- 5 groups ------------------------------------------------------------------------------- */

typedef enum equinv_group_kind {
    EQUINV_GROUP_CYCLIC = 1,    /* C_n: turns by 2 pi / n */
    EQUINV_GROUP_DIHEDRAL = 2,  /* D_n: turns and mirrors, order 2n */
    EQUINV_GROUP_SYMMETRIC = 3, /* S: permutations of rows; has no element table */
    EQUINV_GROUP_TABLE = 4      /* any other, by its products; n is its number in this process */
} equinv_group_kind;

#define EQUINV_GROUP_MAX_N 1024
#define EQUINV_GROUP_MAX_ORDER 1024 /* of groups given by tables */
#define EQUINV_GROUP_MAX_DEGREE 4096
#define EQUINV_GROUP_TABLES 1024

/*
 * A finite group, by value. C_n and D_n: n = 1 .. 1024. S: n = 0; the number of rows comes with the
 * data, and functions that enumerate elements give UNSUPPORTED. Other groups: equinv_group_from_table.
 *
 * Elements are indices 0 .. order-1. C_n: k for r^k. D_n: s n + k for r^k f^s (reflect first):
 * e, r, .., r^(n-1), f, r f, .., r^(n-1) f. r turns counter-clockwise by 2 pi / n, f mirrors
 * left-right (x -> -x); image axes x right, y up.
 */
typedef struct equinv_group {
    equinv_group_kind kind;
    int32_t n;
} equinv_group;

/* The cyclic group C_n. A wrong n is reported by the first call that uses the group. */
EQUINV_API equinv_group equinv_cyclic(int32_t n);

/* The dihedral group D_n of order 2n; D1 = {e, f}. */
EQUINV_API equinv_group equinv_dihedral(int32_t n);

/* The symmetric group on rows. */
EQUINV_API equinv_group equinv_symmetric(void);

/*
 * The group whose product of a and b (first b, then a) is table[a order + b], element 0 the identity.
 * Closure, identity, inverses and associativity are checked in this order: ARG names the first one that
 * is broken, and where. 1 to EQUINV_GROUP_MAX_ORDER elements, else UNSUPPORTED.
 *
 * A group so made is known to the whole process until that ends, so that it can be a value like the
 * others; an equal table gives the same group. At most EQUINV_GROUP_TABLES different ones (UNSUPPORTED);
 * what they need, 2 order^2 bytes, is not from a context's allocator. Any number of threads at once.
 *
 * equinv_act, the orbit functions, projections and reports take such groups where height = width = 1
 * (else SHAPE), on the CPU (CUDA: UNSUPPORTED); convolutions and models do not. Its plane matrices and
 * irreps are UNSUPPORTED. Its name, "T0", "T1" .., means something in this process alone.
 */
EQUINV_API equinv_status equinv_group_from_table(int32_t order, const int32_t *table,
                                                 equinv_group *group);

/*
 * The group that permutations generate, as a table. generators [count, degree]: number i takes point x
 * to generators[i degree + x]; degree 1 .. EQUINV_GROUP_MAX_DEGREE, count may be 0. Element 0 is the
 * identity; the others are numbered as they are found, by products of element 0, 1, .. with generator 0,
 * 1, .. (the generator acts first). More than EQUINV_GROUP_MAX_ORDER: UNSUPPORTED.
 *
 * elements  NULL, or room for EQUINV_GROUP_MAX_ORDER x degree numbers: the permutation of each element
 */
EQUINV_API equinv_status equinv_group_from_permutations(int32_t degree, int32_t count,
                                                        const int32_t *generators,
                                                        equinv_group *group, int32_t *elements);

/* The direct product of two finite groups, as a table: (x, y) is element x |b| + y. */
EQUINV_API equinv_status equinv_group_direct_product(equinv_group a, equinv_group b,
                                                     equinv_group *group);

/*
 * Reads "C4", "D4", "S" (case matters), and direct products as "C4xC2". ARG names what was read and what
 * is expected.
 */
EQUINV_API equinv_status equinv_group_parse(const char *name, equinv_group *group);

/* Writes the name ("C4") with its terminating zero; size >= 8 is enough. ARG, SHAPE. */
EQUINV_API equinv_status equinv_group_name(equinv_group group, char *name, size_t size);

/* Number of elements: n or 2n. UNSUPPORTED for S. */
EQUINV_API equinv_status equinv_group_order(equinv_group group, int32_t *order);

/* c = a b (first b, then a). Indices out of range: ARG. */
EQUINV_API equinv_status equinv_group_product(equinv_group group, int32_t a, int32_t b, int32_t *c);

/* b = a^-1. */
EQUINV_API equinv_status equinv_group_inverse(equinv_group group, int32_t a, int32_t *b);

/*
 * Conjugacy classes, numbered by their smallest element in ascending order: how many there are, and
 * (class_of not NULL, order entries) the class of every element.
 */
EQUINV_API equinv_status equinv_group_classes(equinv_group group, int32_t *count,
                                              int32_t *class_of);

/* 2 x 2 matrix of an element on the plane (x right, y up), row-major. */
EQUINV_API equinv_status equinv_group_plane(equinv_group group, int32_t element, double matrix[4]);

/*
 * Whether the element maps the pixel grid onto itself (its turn is a multiple of 90 degrees);
 * always true for the elements of C1, C2, C4, D1, D2, D4.
 */
EQUINV_API equinv_status equinv_group_on_grid(equinv_group group, int32_t element, bool *on_grid);

/*
 * Number of irreducible representations over the reals. Order: C_n: frequency j = 0 .. n/2 (2 x 2
 * rotation blocks for 0 < j < n/2). D_n: (0,0) trivial, (1,0) [-1 at f is (1,0)], (1,1), .., and
 * for even n (1, n/2), (0, n/2): see equinv_group_irrep.
 */
EQUINV_API equinv_status equinv_group_irrep_count(equinv_group group, int32_t *count);

/*
 * Real irreducible representation number `irrep` at an element: dimension 1 or 2 and the matrix
 * (row-major, dimension^2 entries of matrix[4] are set). Two-dimensional ones: rho_j(r) = rotation
 * by 2 pi j / n, rho_j(f) = diag(1, -1). Order and values are escnn's (irreps (s, j) of D_n).
 */
EQUINV_API equinv_status equinv_group_irrep(equinv_group group, int32_t irrep, int32_t element,
                                            int32_t *dimension, double matrix[4]);

/*
 * Action of an element: dst = g.src with (g.z)[h, x] = z[g^-1 h, g^-1 x].
 *
 * src      [N, F, G, H, W] with G = |group| (regular fields) or G = 1 (trivial fields), any dtype;
 *          always five axes: with channels in one, which of the two it is could not be told
 * dst      same dtype; [N, F, G, W, H] for quarter turns, else [N, F, G, H, W]; not overlapping src
 * refused  an element off the grid (equinv_group_on_grid) where H W > 1: SHAPE
 * source   DESIGN: pixels are mirrored left-right for f, then turned counter-clockwise by rot90
 */
EQUINV_API equinv_status equinv_act(equinv_context *ctx, equinv_group group, int32_t element,
                                    const equinv_tensor *src, const equinv_tensor *dst);

/* ---- 6 plans -------------------------------------------------------------------------------- */

/*
 * A plan is one operation on one shape, dtype and device with its implementation chosen; it is
 * immutable and holds no weights. Creating one checks the description, may allocate and
 * synchronise; executing allocates nothing and does not wait for a device. Each operation has
 * equinv_<op>_plan_create and the executing functions that take the plan first.
 *
 * Every execute ends in (void *scratch, size_t scratch_size): at least equinv_plan_scratch_size
 * bytes, or NULL, 0 for the context's arena. `impl` in a description
 * forces an implementation by name ("ref", "gemm"); NULL lets the dispatch choose. A name that does
 * not exist is ARG, one that declines the problem UNSUPPORTED with its reason.
 */
typedef struct equinv_plan equinv_plan;

/* Releases a plan; NULL is fine. */
EQUINV_API void equinv_plan_destroy(equinv_plan *plan);

/* Bytes of scratch that any execute of this plan needs; plan must not be NULL. May be 0. */
EQUINV_API size_t equinv_plan_scratch_size(const equinv_plan *plan);

/* Bytes of the packed weights (equinv_conv_pack); 0 where nothing is packed. */
EQUINV_API size_t equinv_plan_packed_size(const equinv_plan *plan);

/* Bytes of the buffer that forward fills for backward; 0 where backward needs none. */
EQUINV_API size_t equinv_plan_saved_size(const equinv_plan *plan);

/* Name of the chosen implementation, e.g. "conv/gemm"; static storage. */
EQUINV_API const char *equinv_plan_impl_name(const equinv_plan *plan);

typedef enum equinv_axis {
    EQUINV_AXIS_NONE = 0,
    EQUINV_AXIS_HEIGHT = 1,
    EQUINV_AXIS_WIDTH = 2
} equinv_axis;

typedef struct equinv_exactness {
    bool exact;
    int32_t element;  /* the first element that breaks, -1 if exact */
    equinv_axis axis; /* the input axis on which it breaks */
    char text[192];   /* one sentence: "exact", or the element, axis, remainder and a remedy */
} equinv_exactness;

/*
 * Does op(g.src) = g.op(src) hold exactly for this shape, stride and padding? For element >= 0: for
 * that one; -1: for the whole group. It holds iff (size + 2 padding - dilation (kernel - 1) - 1)
 * mod stride = 0 on every input axis that g reverses (r: width, r^2: both, r^3: height, f: width,
 * rf: none, r^2 f: height, r^3 f: both). Inexact shapes are no error. Plans of convolution and
 * spatial pooling; other operations always answer exact. Of a transposed convolution the remainder is
 * output_padding, and the axis that of dst before g acts.
 */
EQUINV_API equinv_status equinv_plan_exactness(const equinv_plan *plan, int32_t element,
                                               equinv_exactness *exactness);

/* ---- 7 group convolution -------------------------------------------------------------------- */

typedef enum equinv_conv_kind {
    EQUINV_CONV_REGULAR = 0, /* regular fields to regular fields */
    EQUINV_CONV_LIFTING = 1, /* plain channels to regular fields: the first layer */
    EQUINV_CONV_TO_PLANE = 2 /* regular fields to plain channels */
} equinv_conv_kind;

typedef enum equinv_padding_mode {
    EQUINV_PAD_ZEROS = 0,
    EQUINV_PAD_CIRCULAR = 1 /* the image repeats; padding may exceed its size */
} equinv_padding_mode;

typedef struct equinv_conv_desc {
    uint32_t struct_size;
    equinv_conv_kind kind;
    equinv_group group; /* C1 C2 C4 D1 D2 D4; others UNSUPPORTED */
    equinv_dtype dtype; /* F32, F64 */
    int64_t batch;      /* N >= 0 */
    int64_t fields_in;  /* fields; plain channels for LIFTING */
    int64_t fields_out; /* fields; plain channels for TO_PLANE */
    int64_t height;     /* of src, >= 1 */
    int64_t width;
    int64_t kernel;         /* k >= 1, odd or even */
    int64_t stride;         /* >= 1 */
    int64_t padding;        /* >= 0 on every side */
    int64_t dilation;       /* >= 1 */
    int64_t channel_groups; /* divides fields_in and fields_out */
    equinv_padding_mode padding_mode;
    bool bias;              /* forward adds bias[fields_out]; backward_weights can give diff_bias */
    bool accumulate;        /* all outputs of this plan are added to */
    bool transposed;        /* the adjoint of a convolution, see below */
    int64_t output_padding; /* of a transposed one, 0 .. stride - 1: rows and columns more in dst */
    const char *impl;
} equinv_conv_desc;

#define EQUINV_CONV_DESC_INIT                                                                      \
    {                                                                                              \
        sizeof(equinv_conv_desc), EQUINV_CONV_REGULAR, {EQUINV_GROUP_CYCLIC, 4}, EQUINV_F32, 0, 0, \
            0, 0, 0, 3, 1, 0, 1, 1, EQUINV_PAD_ZEROS, false, false, false, 0, NULL                 \
    }

/*
 * Group convolution (cross-correlation), H' = (H + 2 p - d (k-1) - 1) / s + 1 rounded down, >= 1:
 *
 *     dst[n,o,g,y] = bias[o] + sum_{i,h,t} psi[o,i, g^-1 h, g^-1 delta(t)] src[n,i,h, s y + d t - p]
 *
 * delta(t) is tap t's position from the filter centre. C1 gives the ordinary convolution. Output
 * size below 1 and products above 2^63 are SHAPE. source: Cohen, Welling 2016; DESIGN section 4.
 *
 * A transposed convolution is the adjoint of the convolution C that goes from its dst to its src:
 *
 *     dst[n,o,h, s y + d t - p] = bias[o] + sum of psi[i,o, g^-1 h, g^-1 delta(t)] src[n,i,g,y]
 *
 * over all i, g, y, t that meet there, H' = (H - 1) s - 2 p + d (k-1) + 1 + output_padding. kind,
 * fields_in, fields_out, height and width are its own; psi is C's: [fields_in, fields_out /
 * channel_groups, |G|, k, k]; for LIFTING and TO_PLANE [.., k, k], C being to the plane and lifting.
 * It commutes exactly with the group for every size iff output_padding is 0 (or no axis is reversed).
 * Circular padding is UNSUPPORTED. As in torch's ConvTranspose2d and escnn's R2ConvTransposed.
 */
EQUINV_API equinv_status equinv_conv_plan_create(equinv_context *ctx, const equinv_conv_desc *desc,
                                                 equinv_plan **plan);

/* Extents of dst for a description: height and width. Same checks as plan_create. */
EQUINV_API equinv_status equinv_conv_output_size(const equinv_conv_desc *desc, int64_t *height,
                                                 int64_t *width);

/*
 * Whether the plan takes a map as it lies in memory: true if its forward reads src, or writes dst, row by
 * row where they are; false if it gathers or scatters them pixel by pixel, which is slower. Results are
 * the same. `tensor` has src's shape or dst's; with the shape of both the answer holds for both.
 *
 * conv/window    samples without gaps, each as [F, G, H, W]; what has one pixel in every layout
 * conv/gfourier  contiguous rows (stride 1 along W); rows, elements, fields and images at any distance.
 *                src also needs padding with zeros, else it is gathered in every layout. A transposed plan
 *                with a stride is as conv/gemm.
 * conv/gemm      contiguous rows; src also needs padding with zeros, dst of a transposed plan stride 1
 * conv/ref       always true: every layout is read in the same way
 *
 * So maps best lie as [N, F, G, H, W]; with channels last ([N, H, W, G, F] in memory) every pixel is
 * gathered. Any thread. ARG, SHAPE, DTYPE; UNSUPPORTED for plans on CUDA.
 */
EQUINV_API equinv_status equinv_conv_takes(const equinv_plan *plan, const equinv_tensor *tensor,
                                           bool *direct);

/*
 * Transforms psi once into the form that execute reads; the caller's buffer `packed` has
 * equinv_plan_packed_size bytes. Pack again after every change of psi. On the CPU a buffer that was
 * packed by another plan is refused by execute (ARG), unless the plans differ in batch, bias and
 * accumulate alone; on CUDA only its size is checked.
 */
EQUINV_API equinv_status equinv_conv_pack(const equinv_plan *plan, const equinv_tensor *psi,
                                          void *packed, size_t packed_size);

/*
 * dst = conv(src).
 *
 * src      [N, fields_in, |G|, H, W]; LIFTING [N, channels, 1, H, W] or [N, channels, H, W]
 * weights  psi, in the plan's dtype: [fields_out, fields_in / channel_groups, |G|, k, k];
 *          LIFTING and TO_PLANE [out, in / channel_groups, k, k] (row g = e; column h = e); in and
 *          out exchanged where transposed; or the packed buffer as a U8 tensor
 *          [equinv_plan_packed_size]
 * bias     [fields_out]; must be NULL if the description has none
 * dst      [N, fields_out, |G|, H', W']; TO_PLANE [N, channels, 1, H', W'] or [N, channels, H', W']
 */
EQUINV_API equinv_status equinv_conv_forward(const equinv_plan *plan, const equinv_tensor *src,
                                             const equinv_tensor *weights,
                                             const equinv_tensor *bias, const equinv_tensor *dst,
                                             void *scratch, size_t scratch_size);

/* diff_src from diff_dst, the adjoint of forward in src; shapes as in forward. */
EQUINV_API equinv_status equinv_conv_backward_data(const equinv_plan *plan,
                                                   const equinv_tensor *diff_dst,
                                                   const equinv_tensor *weights,
                                                   const equinv_tensor *diff_src, void *scratch,
                                                   size_t scratch_size);

/*
 * diff_weights, in psi's layout, and diff_bias [fields_out] (sum over n, g, y; NULL: not wanted).
 * An empty batch gives zeros.
 */
EQUINV_API equinv_status equinv_conv_backward_weights(const equinv_plan *plan,
                                                      const equinv_tensor *src,
                                                      const equinv_tensor *diff_dst,
                                                      const equinv_tensor *diff_weights,
                                                      const equinv_tensor *diff_bias, void *scratch,
                                                      size_t scratch_size);

/* ---- 8 layers ------------------------------------------------------------------------------- */

/*
 * dst = src where src > 0, slope * src elsewhere; slope 0 is ReLU, 0 < slope < 1 leaky ReLU. NaN
 * stays NaN; -Inf gives 0 with slope 0. Any shape, F32 or F64; in place allowed (identical views).
 * slope outside [0, 1): ARG.
 */
EQUINV_API equinv_status equinv_relu_forward(equinv_context *ctx, double slope,
                                             const equinv_tensor *src, const equinv_tensor *dst);

/*
 * diff_src = diff_dst where src > 0, slope * diff_dst elsewhere (0 with slope 0, whatever diff_dst
 * is); in place on diff_dst allowed. The forward's dst may stand for src: where one is positive, so
 * is the other.
 */
EQUINV_API equinv_status equinv_relu_backward(equinv_context *ctx, double slope,
                                              const equinv_tensor *src,
                                              const equinv_tensor *diff_dst,
                                              const equinv_tensor *diff_src);

/*
 * Dropout of whole fields, so that equivariance is kept: dst[n,f] = src[n,f] / (1 - p) or 0, with
 * probability p of 0. The field is dropped if (word >> 8) 2^-24 < p, where word is the first one of
 * Philox4x32-10 with key = (seed low, high) and counter = (n F + f low, high, step low, high). The
 * same (seed, step) draws the same mask, so backward needs nothing saved: apply it to diff_dst.
 *
 * src, dst  [N, F, ..] of at least two axes (axis 1 is what is dropped: pass regular fields as
 *           [N, F, G, H, W]), F32 or F64; in place allowed; p in [0, 1)
 */
EQUINV_API equinv_status equinv_dropout(equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                                        const equinv_tensor *src, const equinv_tensor *dst);

/*
 * dst = a + b (the residual add; its gradient is the identity on both). Same shape and dtype, F32
 * or F64; in place on a or b allowed.
 */
EQUINV_API equinv_status equinv_add(equinv_context *ctx, const equinv_tensor *a,
                                    const equinv_tensor *b, const equinv_tensor *dst);

typedef struct equinv_batch_norm_desc {
    uint32_t struct_size;
    equinv_dtype dtype;                             /* F32, F64 */
    int64_t batch, fields, elements, height, width; /* of [N, F, G, H, W] */
    double epsilon;                                 /* > 0, inside the root */
    double momentum; /* 0 .. 1: running = (1 - momentum) running + momentum batch statistic */
    bool accumulate; /* diff_gamma and diff_beta are added to */
    const char *impl;
} equinv_batch_norm_desc;

#define EQUINV_BATCH_NORM_DESC_INIT                                                                \
    {                                                                                              \
        sizeof(equinv_batch_norm_desc), EQUINV_F32, 0, 0, 1, 1, 1, 1e-5, 0.1, false, NULL          \
    }

/*
 * Batch normalisation with one mean and variance per field over batch, group and space (escnn's
 * InnerBatchNorm): dst = gamma (src - mean) / sqrt(var + epsilon) + beta. Biased variance to
 * normalise, unbiased in the running variance (count 1: biased). source: Ioffe, Szegedy 2015.
 */
EQUINV_API equinv_status equinv_batch_norm_plan_create(equinv_context *ctx,
                                                       const equinv_batch_norm_desc *desc,
                                                       equinv_plan **plan);

/*
 * Training: uses the statistics of this batch, updates running_mean and running_var (both may be
 * NULL), fills saved (equinv_plan_saved_size bytes; NULL, 0 if no backward follows).
 * gamma, beta, running_*: [F]. An empty batch leaves the running statistics as they are.
 */
EQUINV_API equinv_status equinv_batch_norm_forward_train(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *gamma,
    const equinv_tensor *beta, const equinv_tensor *running_mean, const equinv_tensor *running_var,
    const equinv_tensor *dst, void *saved, size_t saved_size, void *scratch, size_t scratch_size);

/* Evaluation: normalises with running_mean and running_var. In place allowed. */
EQUINV_API equinv_status equinv_batch_norm_forward_eval(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *gamma,
    const equinv_tensor *beta, const equinv_tensor *running_mean, const equinv_tensor *running_var,
    const equinv_tensor *dst, void *scratch, size_t scratch_size);

/*
 * Gradients of the training form, from the saved statistics. diff_gamma and diff_beta may be NULL.
 */
EQUINV_API equinv_status equinv_batch_norm_backward_train(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *gamma,
    const equinv_tensor *diff_dst, const void *saved, size_t saved_size,
    const equinv_tensor *diff_src, const equinv_tensor *diff_gamma, const equinv_tensor *diff_beta,
    void *scratch, size_t scratch_size);

/* Gradients of the evaluation form: running statistics are constants. */
EQUINV_API equinv_status equinv_batch_norm_backward_eval(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *gamma,
    const equinv_tensor *running_mean, const equinv_tensor *running_var,
    const equinv_tensor *diff_dst, const equinv_tensor *diff_src, const equinv_tensor *diff_gamma,
    const equinv_tensor *diff_beta, void *scratch, size_t scratch_size);

typedef enum equinv_pool_kind {
    EQUINV_POOL_MAX = 1,            /* over k x k windows; padding never wins */
    EQUINV_POOL_AVERAGE = 2,        /* over k x k windows; padding counts as 0 and is counted */
    EQUINV_POOL_GLOBAL_MAX = 3,     /* over the whole image; kernel, stride, padding are ignored */
    EQUINV_POOL_GLOBAL_AVERAGE = 4, /* the same, mean */
    EQUINV_POOL_GROUP_MAX = 5,      /* over the group: [N, F, G, H, W] to [N, F, 1, H, W] */
    EQUINV_POOL_GROUP_MEAN = 6,     /* the same, mean */
    EQUINV_POOL_BLUR = 7 /* a Gaussian over k x k windows, k = 2 round(3 sigma) + 1; padding
                                       counts as 0 and is counted */
} equinv_pool_kind;

typedef struct equinv_pool_desc {
    uint32_t struct_size;
    equinv_pool_kind kind;
    equinv_group group; /* C_n or D_n: what exactness is asked for and what GROUP kinds pool over */
    equinv_dtype dtype; /* F32, F64 */
    int64_t batch, fields;
    int64_t elements; /* |G| for regular fields, 1 for trivial ones */
    int64_t height, width;
    int64_t kernel, stride,
        padding;  /* windowed kinds: kernel, stride >= 1, 0 <= padding <= kernel / 2; BLUR's kernel
                        follows from sigma, and padding round(3 sigma) keeps the size at stride 1 */
    double sigma; /* BLUR: width of the Gaussian in pixels, > 0, round(3 sigma) <= 31 */
    bool accumulate; /* diff_src is added to (dst never is) */
    const char *impl;
} equinv_pool_desc;

#define EQUINV_POOL_DESC_INIT                                                                      \
    {                                                                                              \
        sizeof(equinv_pool_desc), EQUINV_POOL_MAX, {EQUINV_GROUP_CYCLIC, 4}, EQUINV_F32, 0, 0, 1,  \
            0, 0, 2, 2, 0, 0.66, false, NULL                                                       \
    }

/*
 * Spatial pooling, dst [N, F, G, H', W'] with H' = (H + 2 p - k) / s + 1 rounded down (global
 * kinds: 1), and group pooling, dst [N, F, 1, H, W]. equinv_plan_exactness applies to the windowed
 * kinds; it errs on the safe side where every window reaches over the whole axis. Max kinds take
 * fields of at most 2^31 - 1 elements (G H W), else UNSUPPORTED.
 *
 * BLUR is downsampling without aliasing: a window's weights are exp(-|t|^2 / 2 sigma^2), t the distance
 * from its middle, divided by their sum. source: Zhang 2019, "Making convolutional networks
 * shift-invariant again"; filter, size and rounding (a half to even) are escnn's
 * PointwiseAvgPoolAntialiased, whose padding is round(3 sigma) unless told otherwise.
 */
EQUINV_API equinv_status equinv_pool_plan_create(equinv_context *ctx, const equinv_pool_desc *desc,
                                                 equinv_plan **plan);

/* Shape of dst [N, F, G, H, W] for a description; same checks as plan_create. */
EQUINV_API equinv_status equinv_pool_output_shape(const equinv_pool_desc *desc, int64_t shape[5]);

/*
 * dst = pool(src). Max kinds fill saved (equinv_plan_saved_size bytes; NULL, 0 if no
 * backward follows) with the winner's index: the lowest in row-major order on ties; a NaN wins.
 */
EQUINV_API equinv_status equinv_pool_forward(const equinv_plan *plan, const equinv_tensor *src,
                                             const equinv_tensor *dst, void *saved,
                                             size_t saved_size, void *scratch, size_t scratch_size);

/* diff_src from diff_dst; saved as forward left it (mean kinds: NULL, 0). */
EQUINV_API equinv_status equinv_pool_backward(const equinv_plan *plan,
                                              const equinv_tensor *diff_dst, const void *saved,
                                              size_t saved_size, const equinv_tensor *diff_src,
                                              void *scratch, size_t scratch_size);

typedef enum equinv_upsample_kind {
    EQUINV_UPSAMPLE_NEAREST = 1,         /* every pixel scale x scale times */
    EQUINV_UPSAMPLE_BILINEAR = 2,        /* pixels are squares: dst's centre X lies at
                                            (X + 1/2) / scale - 1/2 of src, held at the border */
    EQUINV_UPSAMPLE_BILINEAR_CORNERS = 3 /* corners stay corners: X (size - 1) / (scale size - 1) */
} equinv_upsample_kind;

typedef struct equinv_upsample_desc {
    uint32_t struct_size;
    equinv_upsample_kind kind;
    equinv_dtype dtype;                             /* F32, F64 */
    int64_t batch, fields, elements, height, width; /* of src [N, F, G, H, W] */
    int64_t scale;                                  /* >= 1, of both axes */
    bool accumulate;                                /* diff_src is added to (dst never is) */
    const char *impl;
} equinv_upsample_desc;

#define EQUINV_UPSAMPLE_DESC_INIT                                                                  \
    {                                                                                              \
        sizeof(equinv_upsample_desc), EQUINV_UPSAMPLE_NEAREST, EQUINV_F32, 0, 0, 1, 0, 0, 2,       \
            false, NULL                                                                            \
    }

/*
 * Upsampling of every channel by a whole factor, dst [N, F, G, scale H, scale W]. Positions between
 * two pixels are interpolated linearly on each axis; a neighbour of weight 0 is not read. Each of the
 * kinds commutes exactly with every element on the grid, for every size. Extents of dst are at most
 * 2^31 - 1, else UNSUPPORTED. As in torch's interpolate (align_corners is CORNERS) and escnn's
 * R2Upsampling.
 */
EQUINV_API equinv_status equinv_upsample_plan_create(equinv_context *ctx,
                                                     const equinv_upsample_desc *desc,
                                                     equinv_plan **plan);

/* Shape of dst [N, F, G, H, W] for a description; same checks as plan_create. */
EQUINV_API equinv_status equinv_upsample_output_shape(const equinv_upsample_desc *desc,
                                                      int64_t shape[5]);

/* dst = upsample(src). */
EQUINV_API equinv_status equinv_upsample_forward(const equinv_plan *plan, const equinv_tensor *src,
                                                 const equinv_tensor *dst, void *scratch,
                                                 size_t scratch_size);

/* diff_src from diff_dst, the adjoint of forward. */
EQUINV_API equinv_status equinv_upsample_backward(const equinv_plan *plan,
                                                  const equinv_tensor *diff_dst,
                                                  const equinv_tensor *diff_src, void *scratch,
                                                  size_t scratch_size);

typedef struct equinv_dense_desc {
    uint32_t struct_size;
    equinv_dtype dtype; /* F32, F64 */
    int64_t batch, features_in, features_out;
    bool bias;
    bool accumulate; /* all outputs are added to */
    const char *impl;
} equinv_dense_desc;

#define EQUINV_DENSE_DESC_INIT                                                                     \
    {                                                                                              \
        sizeof(equinv_dense_desc), EQUINV_F32, 0, 0, 0, true, false, NULL                          \
    }

/* Dense layer dst = src weights^T + bias. */
EQUINV_API equinv_status equinv_dense_plan_create(equinv_context *ctx,
                                                  const equinv_dense_desc *desc,
                                                  equinv_plan **plan);

/*
 * src [N, ..] with features_in elements a sample, in row-major order; weights [features_out,
 * features_in]; bias [features_out] or NULL; dst [N, features_out].
 */
EQUINV_API equinv_status equinv_dense_forward(const equinv_plan *plan, const equinv_tensor *src,
                                              const equinv_tensor *weights,
                                              const equinv_tensor *bias, const equinv_tensor *dst,
                                              void *scratch, size_t scratch_size);

/* diff_src = diff_dst weights; shapes as in forward. */
EQUINV_API equinv_status equinv_dense_backward_data(const equinv_plan *plan,
                                                    const equinv_tensor *diff_dst,
                                                    const equinv_tensor *weights,
                                                    const equinv_tensor *diff_src, void *scratch,
                                                    size_t scratch_size);

/* diff_weights = diff_dst^T src and diff_bias (NULL: not wanted). */
EQUINV_API equinv_status equinv_dense_backward_weights(const equinv_plan *plan,
                                                       const equinv_tensor *src,
                                                       const equinv_tensor *diff_dst,
                                                       const equinv_tensor *diff_weights,
                                                       const equinv_tensor *diff_bias,
                                                       void *scratch, size_t scratch_size);

/*
 * Layers under S_n, the permutations of n nodes. A representation of order 1 is a value per node,
 * [B, C, n]; one of order 2 a value per pair of nodes, [B, C, n, n] (graphs: edges, and what a node has
 * on the diagonal). Strides are free; channels last in memory ([B, n, C], [B, n, n, C]) are fastest.
 *
 * Samples of different size share a batch by a mask, as in equinv_project_forward: U8 or I32 [B, n],
 * non-zero = node present; NULL: all present. m is the number of a sample's nodes that are there. A
 * node that is absent, or a pair with one, is not read; what is written there is 0 (with `accumulate`:
 * nothing is added), in outputs and in gradients alike.
 */

typedef struct equinv_node_linear_desc {
    uint32_t struct_size;
    equinv_dtype dtype;                              /* F32, F64 */
    int32_t order_in, order_out;                     /* 1 or 2 */
    int64_t batch, nodes, channels_in, channels_out; /* src [B, channels_in, n(, n)], dst alike */
    bool
        symmetric; /* pairs without direction: the symmetric part of src is read, dst is symmetric */
    bool bias;
    bool accumulate; /* all outputs are added to */
    const char *impl;
} equinv_node_linear_desc;

#define EQUINV_NODE_LINEAR_DESC_INIT                                                               \
    {                                                                                              \
        sizeof(equinv_node_linear_desc), EQUINV_F32, 2, 2, 0, 0, 0, 0, false, true, false, NULL    \
    }

/*
 * The general linear layer that commutes with every permutation of the nodes,
 *
 *     dst[b,o] = sum over p, c of weights[p,o,c] E_p(src[b,c]) + bias
 *
 * with these operations E_p in this order (entries at i, j; [i = j] is 1 on the diagonal, else 0; means
 * run over the nodes that are there):
 *
 *     1 -> 1   2: x_i, mean x
 *     1 -> 2   5: [i=j] x_i, x_i, x_j, [i=j] mean x, mean x
 *     2 -> 1   5: d_i, r_i, c_i, t, s
 *              with d_i = x_ii, r_i = mean_j x_ij, c_i = mean_j x_ji, t = mean_i d_i, s = mean_ij x_ij
 *     2 -> 2  15: x_ij, x_ji, [i=j] d_i, [i=j] r_i, [i=j] c_i, d_i, r_i, c_i, d_j, r_j, c_j,
 *                 [i=j] t, [i=j] s, t, s
 *
 * symmetric, where x is (x + x transposed) / 2:
 *
 *     1 -> 2   4: [i=j] x_i, x_i + x_j, [i=j] mean x, mean x
 *     2 -> 1   4: d_i, r_i, t, s
 *     2 -> 2   9: x_ij, [i=j] d_i, [i=j] r_i, d_i + d_j, r_i + r_j, [i=j] t, [i=j] s, t, s
 *
 * source: Maron, Ben-Hamu, Shamir, Lipman, "Invariant and Equivariant Graph Networks", ICLR 2019, with
 * means in place of sums.
 */
EQUINV_API equinv_status equinv_node_linear_plan_create(equinv_context *ctx,
                                                        const equinv_node_linear_desc *desc,
                                                        equinv_plan **plan);

/* Shape of weights [operations, channels_out, channels_in]; same checks as plan_create. */
EQUINV_API equinv_status equinv_node_linear_weights_shape(const equinv_node_linear_desc *desc,
                                                          int64_t shape[3]);

/*
 * weights  equinv_node_linear_weights_shape
 * bias     [order_out, channels_out]; order 1: added at every node; order 2: row 0 on the diagonal, row 1
 *          at every pair. Must be NULL if the description has none.
 * mask     as above; a sample's bits depend on no other sample and not on the number of threads
 */
EQUINV_API equinv_status equinv_node_linear_forward(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *mask,
    const equinv_tensor *weights, const equinv_tensor *bias, const equinv_tensor *dst,
    void *scratch, size_t scratch_size);

/* diff_src from diff_dst, the adjoint of forward in src; shapes as in forward. */
EQUINV_API equinv_status equinv_node_linear_backward_data(const equinv_plan *plan,
                                                          const equinv_tensor *diff_dst,
                                                          const equinv_tensor *mask,
                                                          const equinv_tensor *weights,
                                                          const equinv_tensor *diff_src,
                                                          void *scratch, size_t scratch_size);

/* diff_weights and diff_bias (NULL: not wanted), shapes as in forward. */
EQUINV_API equinv_status equinv_node_linear_backward_weights(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *mask,
    const equinv_tensor *diff_dst, const equinv_tensor *diff_weights,
    const equinv_tensor *diff_bias, void *scratch, size_t scratch_size);

/*
 * Outer product, channel by channel: dst[b,c,i,j] = a[b,c,i] b[b,c,j], order 1 to 2; symmetric with
 * b NULL, which means a itself. a, b [B, C, n], dst [B, C, n, n], one dtype F32 or F64; mask as above.
 */
EQUINV_API equinv_status equinv_node_outer_forward(equinv_context *ctx, const equinv_tensor *a,
                                                   const equinv_tensor *b,
                                                   const equinv_tensor *mask,
                                                   const equinv_tensor *dst);

/* diff_a and diff_b; with b NULL diff_b must be NULL, and diff_a is the gradient of both factors. */
EQUINV_API equinv_status equinv_node_outer_backward(
    equinv_context *ctx, const equinv_tensor *a, const equinv_tensor *b, const equinv_tensor *mask,
    const equinv_tensor *diff_dst, const equinv_tensor *diff_a, const equinv_tensor *diff_b);

typedef enum equinv_node_norm_kind {
    EQUINV_NODE_NORM_LAYER = 1, /* each node or pair over its channels */
    EQUINV_NODE_NORM_INSTANCE =
        2 /* each channel of a sample over the nodes or pairs that are there */
} equinv_node_norm_kind;

typedef struct equinv_node_norm_desc {
    uint32_t struct_size;
    equinv_node_norm_kind kind;
    equinv_dtype dtype;             /* F32, F64 */
    int32_t order;                  /* 1 or 2 */
    int64_t batch, nodes, channels; /* of [B, C, n(, n)] */
    double epsilon;                 /* > 0, inside the root */
    double slope;                   /* of a leaky ReLU behind it, 0 .. 1; 1: none */
    bool accumulate;                /* diff_gamma and diff_beta are added to */
    const char *impl;
} equinv_node_norm_desc;

#define EQUINV_NODE_NORM_DESC_INIT                                                                 \
    {                                                                                              \
        sizeof(equinv_node_norm_desc), EQUINV_NODE_NORM_LAYER, EQUINV_F32, 2, 0, 0, 0, 1e-5, 1.0,  \
            false, NULL                                                                            \
    }

/*
 * dst = gamma (src - mean) / sqrt(var + epsilon) + beta with the mean and biased variance of the kind, times
 * slope where that is negative; gamma, beta [C]. Nothing is learned beside them and nothing kept between calls. source: Ba, Kiros,
 * Hinton 2016; Ulyanov, Vedaldi, Lempitsky 2016.
 */
EQUINV_API equinv_status equinv_node_norm_plan_create(equinv_context *ctx,
                                                      const equinv_node_norm_desc *desc,
                                                      equinv_plan **plan);

/* src and dst of the plan's shape; mask as above. */
EQUINV_API equinv_status equinv_node_norm_forward(const equinv_plan *plan, const equinv_tensor *src,
                                                  const equinv_tensor *mask,
                                                  const equinv_tensor *gamma,
                                                  const equinv_tensor *beta,
                                                  const equinv_tensor *dst, void *scratch,
                                                  size_t scratch_size);

/* Gradients; src, gamma and beta as in forward. diff_gamma and diff_beta may be NULL. */
EQUINV_API equinv_status equinv_node_norm_backward(
    const equinv_plan *plan, const equinv_tensor *src, const equinv_tensor *mask,
    const equinv_tensor *gamma, const equinv_tensor *beta, const equinv_tensor *diff_dst,
    const equinv_tensor *diff_src, const equinv_tensor *diff_gamma, const equinv_tensor *diff_beta,
    void *scratch, size_t scratch_size);

typedef enum equinv_node_pool_kind {
    EQUINV_NODE_POOL_MEAN = 1,
    EQUINV_NODE_POOL_SUM = 2,
    EQUINV_NODE_POOL_MAX = 3
} equinv_node_pool_kind;

typedef struct equinv_node_pool_desc {
    uint32_t struct_size;
    equinv_node_pool_kind kind;
    equinv_dtype dtype; /* F32, F64 */
    int32_t order;      /* 1 or 2 */
    int64_t batch, nodes,
        channels;    /* of src [B, C, n(, n)]; nodes^order at most 2^31 - 1 for MAX */
    bool accumulate; /* diff_src is added to (dst never is) */
    const char *impl;
} equinv_node_pool_desc;

#define EQUINV_NODE_POOL_DESC_INIT                                                                 \
    {                                                                                              \
        sizeof(equinv_node_pool_desc), EQUINV_NODE_POOL_MEAN, EQUINV_F32, 2, 0, 0, 0, false, NULL  \
    }

/*
 * Invariants of a sample: dst [B, order, C], over the nodes that are there; of order 2 row 0 is over the
 * diagonal and row 1 over all other pairs. Where there is nothing to pool over, dst is 0.
 */
EQUINV_API equinv_status equinv_node_pool_plan_create(equinv_context *ctx,
                                                      const equinv_node_pool_desc *desc,
                                                      equinv_plan **plan);

/*
 * dst = pool(src). MAX fills saved (equinv_plan_saved_size bytes; NULL, 0 if no backward follows) with
 * the winner's place, I32 [B, order, C]: the lowest on ties, -1 for none; a NaN wins.
 */
EQUINV_API equinv_status equinv_node_pool_forward(const equinv_plan *plan, const equinv_tensor *src,
                                                  const equinv_tensor *mask,
                                                  const equinv_tensor *dst, void *saved,
                                                  size_t saved_size, void *scratch,
                                                  size_t scratch_size);

/* diff_src from diff_dst; saved as forward left it (MEAN, SUM: NULL, 0). */
EQUINV_API equinv_status equinv_node_pool_backward(const equinv_plan *plan,
                                                   const equinv_tensor *diff_dst,
                                                   const equinv_tensor *mask, const void *saved,
                                                   size_t saved_size, const equinv_tensor *diff_src,
                                                   void *scratch, size_t scratch_size);

/*
 * He initialisation: dst = sqrt(2 / fan_in) times the Gaussian of section 11 with key = seed and
 * template number `stream` (coordinate = row-major index in dst); fan_in = fields_in |G| k^2 for
 * convolutions, >= 1. dst is F32 or F64 of up to 7 axes (8 if two of them join: UNSUPPORTED
 * otherwise). source: He et al. 2015.
 */
EQUINV_API equinv_status equinv_init_he(equinv_context *ctx, uint64_t seed, uint64_t stream,
                                        int64_t fan_in, const equinv_tensor *dst);

/* ---- 9 losses ------------------------------------------------------------------------------- */

/*
 * Mean over the batch of -log softmax(logits)[label]; computed from the row maximum, so large
 * logits are safe. Infinite logits are limits: +Inf takes all (several share it), -Inf gets
 * nothing; a NaN makes the loss and its own row of diff_logits NaN.
 *
 * logits  [N, C], F32 or F64; labels [N], I32 or U8, in 0 .. C-1 (ARG names the first that is not;
 *         CUDA cannot look at them before it returns: there such a label makes the loss and its own
 *         row of diff_logits NaN)
 * loss    [1], same dtype as logits; 0 for an empty batch
 * diff_logits  [N, C], gradient of loss; NULL: not wanted; in place on logits allowed
 */
EQUINV_API equinv_status equinv_cross_entropy(equinv_context *ctx, const equinv_tensor *logits,
                                              const equinv_tensor *labels,
                                              const equinv_tensor *loss,
                                              const equinv_tensor *diff_logits);

/*
 * The same over any axes, and only over what is there: nodes or pairs of nodes of graphs of different
 * size, for example. An element that the mask leaves out is not read (its label may be anything), and
 * its gradient is 0.
 *
 * logits  [.., C] of 2 to 8 axes, F32 or F64; classes are the last axis, whatever the strides
 * labels  [..], I32 or U8, in 0 .. C-1 (one that is not: as above)
 * mask    [..], U8 or I32, non-zero = there; NULL: all are
 * loss    [1], the mean over what is there, 0 if nothing is; diff_logits as above
 */
EQUINV_API equinv_status equinv_cross_entropy_masked(
    equinv_context *ctx, const equinv_tensor *logits, const equinv_tensor *labels,
    const equinv_tensor *mask, const equinv_tensor *loss, const equinv_tensor *diff_logits);

/*
 * Two classes with one logit: the mean over what is there of -log p for label 1 and -log (1 - p) for
 * label 0, p = 1 / (1 + exp(-logit)); safe for large and infinite logits, a NaN stays at its place.
 * logits, labels and mask (NULL: all are there) have one shape, up to 8 axes; labels 0 or 1; loss,
 * diff_logits, dtypes and wrong labels as above.
 */
EQUINV_API equinv_status equinv_binary_cross_entropy(
    equinv_context *ctx, const equinv_tensor *logits, const equinv_tensor *labels,
    const equinv_tensor *mask, const equinv_tensor *loss, const equinv_tensor *diff_logits);

/*
 * Divergence KL(N(mean, exp(log_variance)) | N(0, 1)) of a variational autoencoder's codes: the mean over
 * what is there of (mean^2 + exp(log_variance) - 1 - log_variance) / 2.
 *
 * mean, log_variance  one shape and dtype, F32 or F64
 * mask                the same shape, U8 or I32, non-zero = there; NULL: all are
 * loss                [1], the same dtype; 0 if nothing is there
 * diff_mean, diff_log_variance  gradients of loss (NULL: not wanted); overlap nothing else
 * source              Kingma, Welling 2014
 */
EQUINV_API equinv_status equinv_kl_gaussian(equinv_context *ctx, const equinv_tensor *mean,
                                            const equinv_tensor *log_variance,
                                            const equinv_tensor *mask, const equinv_tensor *loss,
                                            const equinv_tensor *diff_mean,
                                            const equinv_tensor *diff_log_variance);

/*
 * Drawing a code: dst = mean + exp(log_variance / 2) epsilon, where epsilon is Gaussian template number
 * `step` of `seed` (section 11; coordinate = row-major index in dst), so that a step of training draws
 * the same noise on every run and backward needs nothing saved. One shape and dtype, F32 or F64; in
 * place on either input allowed.
 */
EQUINV_API equinv_status equinv_reparameterise_forward(equinv_context *ctx, uint64_t seed,
                                                       uint64_t step, const equinv_tensor *mean,
                                                       const equinv_tensor *log_variance,
                                                       const equinv_tensor *dst);

/*
 * diff_log_variance = diff_dst exp(log_variance / 2) epsilon / 2; the gradient of mean is diff_dst itself.
 * In place on either input allowed.
 */
EQUINV_API equinv_status equinv_reparameterise_backward(equinv_context *ctx, uint64_t seed,
                                                        uint64_t step,
                                                        const equinv_tensor *log_variance,
                                                        const equinv_tensor *diff_dst,
                                                        const equinv_tensor *diff_log_variance);

/*
 * loss [1] = mean over all elements of (src - target)^2, 0 if there are none; diff_src is its
 * gradient (NULL: not wanted; in place on src allowed). One shape, F32 or F64 throughout.
 */
EQUINV_API equinv_status equinv_mean_squared_error(equinv_context *ctx, const equinv_tensor *src,
                                                   const equinv_tensor *target,
                                                   const equinv_tensor *loss,
                                                   const equinv_tensor *diff_src);

/* ---- 10 optimisers -------------------------------------------------------------------------- */

/* A learnable array and its gradient, as equinv_model_parameters lists them. */
typedef struct equinv_parameter {
    const char *name;
    equinv_tensor value;
    equinv_tensor gradient;
} equinv_parameter;

typedef enum equinv_optimizer_kind {
    EQUINV_OPTIMIZER_SGD = 1,
    EQUINV_OPTIMIZER_ADAM = 2
} equinv_optimizer_kind;

typedef struct equinv_optimizer_desc {
    uint32_t struct_size;
    equinv_optimizer_kind kind;
    double learning_rate; /* >= 0 */
    double momentum;      /* SGD: v = momentum v + gradient; value -= learning_rate v; [0, 1) */
    double beta1, beta2;  /* Adam, with bias correction; [0, 1) */
    double epsilon;       /* Adam, outside the root; > 0 */
    double weight_decay;  /* weight_decay * value is added to the gradient; >= 0 */
} equinv_optimizer_desc;

#define EQUINV_OPTIMIZER_DESC_INIT                                                                 \
    {                                                                                              \
        sizeof(equinv_optimizer_desc), EQUINV_OPTIMIZER_ADAM, 1e-3, 0.0, 0.9, 0.999, 1e-8, 0.0     \
    }

typedef struct equinv_optimizer equinv_optimizer;

/*
 * An optimiser over `count` parameters; it keeps the views (not the memory), which must outlive it,
 * and its own moments. Values F32 or F64, gradients of the same shape and dtype.
 * source: Adam: Kingma, Ba 2015.
 */
EQUINV_API equinv_status equinv_optimizer_create(equinv_context *ctx,
                                                 const equinv_optimizer_desc *desc,
                                                 const equinv_parameter *parameters, size_t count,
                                                 equinv_optimizer **optimizer);

/* Releases an optimiser; NULL is fine. */
EQUINV_API void equinv_optimizer_destroy(equinv_optimizer *optimizer);

/* One update of every value from its gradient. */
EQUINV_API equinv_status equinv_optimizer_step(equinv_optimizer *optimizer);

/* Changes the learning rate (>= 0) from the next step on. */
EQUINV_API equinv_status equinv_optimizer_set_learning_rate(equinv_optimizer *optimizer,
                                                            double learning_rate);

/* Number of updates so far, those before equinv_optimizer_load's file was written included; 0 for NULL. */
EQUINV_API int64_t equinv_optimizer_steps(const equinv_optimizer *optimizer);

/*
 * Writes a checkpoint of a training as safetensors, all or nothing as equinv_writer_commit does: every
 * value under its parameter's name, moments as "<name>.first" and "<name>.second", and in __metadata__
 * the kind and the number of steps. Names must be there and unique: ARG. What the description has
 * (learning rate, decay) is the caller's and is not written.
 */
EQUINV_API equinv_status equinv_optimizer_save(const equinv_optimizer *optimizer, const char *path);

/*
 * Reads it into the values, moments and the number of steps: training goes on with the bits it would have
 * had. FORMAT names a tensor that is missing, too many, or of another shape or dtype; UNSUPPORTED in a
 * build without cJSON. Everything is checked before the first value is written; after IO values are
 * undefined.
 */
EQUINV_API equinv_status equinv_optimizer_load(equinv_optimizer *optimizer, const char *path);

/*
 * Scales all gradients by one number so that their norm together is at most max_norm (> 0); *norm (may be
 * NULL) is what it was. Nothing is scaled if that is infinite or NaN. Values are not looked at; gradients
 * must not share memory. CUDA: the norm is summed in one place for every stream, so order them yourself;
 * a norm that is wanted is waited for.
 */
EQUINV_API equinv_status equinv_clip_gradients(equinv_context *ctx,
                                               const equinv_parameter *parameters, size_t count,
                                               double max_norm, double *norm);

typedef enum equinv_schedule_kind {
    EQUINV_SCHEDULE_CONSTANT = 1, /* peak */
    EQUINV_SCHEDULE_COSINE = 2,   /* half a cosine from peak to last */
    EQUINV_SCHEDULE_ONE_CYCLE = 3 /* one from first to peak, then one from peak to last */
} equinv_schedule_kind;

/* A learning rate for every step of a training whose length is known. */
typedef struct equinv_schedule {
    uint32_t struct_size;
    equinv_schedule_kind kind;
    int64_t steps;            /* of the whole training, >= 1; later steps get the last one's rate */
    double first, peak, last; /* learning rates, >= 0 */
    double warm_up;           /* ONE_CYCLE: where the peak is, as a share of the steps; [0, 1) */
} equinv_schedule;

#define EQUINV_SCHEDULE_INIT                                                                       \
    {                                                                                              \
        sizeof(equinv_schedule), EQUINV_SCHEDULE_ONE_CYCLE, 1, 4e-5, 1e-3, 4e-9, 0.3               \
    }

/*
 * The rate of a step, 0 .. steps-1, for equinv_optimizer_set_learning_rate. source: Loshchilov, Hutter
 * 2017 (cosine); Smith, Topin 2018 (one cycle).
 */
EQUINV_API equinv_status equinv_schedule_rate(const equinv_schedule *schedule, int64_t step,
                                              double *learning_rate);

/* Reduction of the learning rate when a loss no longer falls. The caller's; it may be copied or stored. */
typedef struct equinv_plateau {
    uint32_t struct_size;
    double factor;    /* the rate is multiplied by it; 0 < factor < 1 */
    double threshold; /* better means lower by more than this share of |best|; [0, 1) */
    double least;     /* the rate does not fall below it */
    int64_t patience; /* so many values in a row may be no better */
    int64_t cooldown; /* so many values after a reduction are not counted */
    double best;      /* what was seen: set by _INIT, then by equinv_plateau_update */
    int64_t waited, resting;
} equinv_plateau;

#define EQUINV_PLATEAU_INIT                                                                        \
    {                                                                                              \
        sizeof(equinv_plateau), 0.1, 1e-4, 0.0, 10, 0, (double)INFINITY, 0, 0                      \
    }

/*
 * Tells of the newest value of the loss (NaN is no better than anything) and lowers *learning_rate where
 * it has stood still for too long.
 */
EQUINV_API equinv_status equinv_plateau_update(equinv_plateau *plateau, double value,
                                               double *learning_rate);

/* ---- 11 templates --------------------------------------------------------------------------- */

/*
 * Philox4x32-10: the four random words for a counter and key. source: Salmon et al. 2011; equals
 * the published known answers.
 */
EQUINV_API void equinv_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/*
 * Where templates come from. ORTHONORMAL rows are made so after the orbit mean for LINEAR, hence
 * k <= rank there; for the other kinds k <= D. All but ORTHONORMAL and USER have numbers of mean 0 and
 * variance 1. GAUSSIAN and RADEMACHER: see equinv_templates, whose words and lanes the next two share.
 * One of USER that is 0 throughout or not finite is refused (ARG); SPARSE leaves no number in a share of
 * (1 - density)^D of templates.
 *
 * SPARSE    the top bit of a coordinate's word is its sign (0: -1), as for RADEMACHER; the number is
 *           there if the word's other 31 bits are below density 2^31 (rounded down), else 0; its size
 *           is fp32's 1 / sqrt(density). Density 1 is RADEMACHER, 1/3 what Achlioptas 2003 proposes.
 * HADAMARD  rows of the +-1 matrix (-1)^(number of common bits of row and coordinate) of order N, the
 *           smallest power of two that holds a template, with the signs of RADEMACHER template t / N on
 *           the coordinates, for template number t. Its row is a shuffle of i = t mod N: of the words w
 *           for counter 2^64 - 1, t / N:  x = i (w0 | 1) + w1,  x ^= x >> ceil(log2(N) / 2),
 *           row = x (w2 | 1) + w3, all modulo N. N templates in a row are orthogonal if they have N
 *           coordinates.
 */
typedef enum equinv_template_kind {
    EQUINV_TEMPLATE_GAUSSIAN = 1,    /* N(0, 1) */
    EQUINV_TEMPLATE_RADEMACHER = 2,  /* +1 or -1, equally likely */
    EQUINV_TEMPLATE_ORTHONORMAL = 3, /* Gaussian rows made orthonormal */
    EQUINV_TEMPLATE_USER = 4,        /* the caller's own */
    EQUINV_TEMPLATE_SPARSE = 5,      /* +-1 / sqrt(density) or 0 */
    EQUINV_TEMPLATE_HADAMARD = 6     /* +1 or -1, rows of a Hadamard matrix with random signs */
} equinv_template_kind;

/*
 * Random templates, recipe version 1, bit-identical on every backend, instruction set and batch:
 *
 *     word = Philox(key = seed low, high; counter = coordinate / 4 low, high, template low, high)
 *     u    = ((word[lane] >> 9) + 0.5) 2^-23,  lane = coordinate mod 4
 *
 * with coordinate the row-major index inside a template. Rademacher: top bit (0: -1). Gaussian:
 * Box-Muller on lanes (0, 1) and (2, 3), sqrt(-2 log u0) times cos(2 pi u1), sin(2 pi u1), by fixed
 * polynomials in fp32 (IEEE-exact operations only); F64 templates are the F32 values widened.
 *
 * kind     GAUSSIAN or RADEMACHER; the others depend on a projection: ARG
 * first    number of the first template; row i of dst is template first + i
 * dst      [k, ..], F32 or F64: k templates of the remaining shape
 */
EQUINV_API equinv_status equinv_templates(equinv_context *ctx, equinv_template_kind kind,
                                          uint64_t seed, uint64_t first, const equinv_tensor *dst);

/* ---- 12 projections ------------------------------------------------------------------------- */

typedef enum equinv_projection_kind {
    EQUINV_PROJECT_LINEAR = 1,    /* <w_k, mean_g g z>            [B, k], the paper's */
    EQUINV_PROJECT_MAX = 2,       /* max_g <w_k, g z>             [B, k], max filter */
    EQUINV_PROJECT_MEAN = 3,      /* mean_g <w_k, g z>            [B, k], = LINEAR up to rounding */
    EQUINV_PROJECT_MEAN_RELU = 4, /* mean_g max(0, <w_k, g z>)    [B, k] */
    EQUINV_PROJECT_MEAN_ABS = 5,  /* mean_g |<w_k, g z>|          [B, k] */
    EQUINV_PROJECT_MEAN_SQUARE = 6, /* mean_g <w_k, g z>^2          [B, k], raw second moment */
    EQUINV_PROJECT_SORTED = 7, /* <w_k, g z> ascending over g  [B, k, |G|], coorbit embedding */
    EQUINV_PROJECT_ORBIT = 8,  /* <w_k, g z> for every g       [B, k, |G|], not invariant */
    EQUINV_PROJECT_SORT = 9,   /* S: every channel sorted over rows    as input [B, n, c] */
    EQUINV_PROJECT_PROJECT_SORT = 10, /* S: <w_k, row> sorted over rows      [B, k, n] */
    EQUINV_PROJECT_MIN = 11,          /* min_g <w_k, g z>             [B, k] */
    EQUINV_PROJECT_MOMENT3 = 12,      /* mean_g <w_k, g z>^3          [B, k], raw third moment */
    EQUINV_PROJECT_CDF = 13, /* share of g with <w_k, g z> <= threshold  [B, k, thresholds] */
    /* Of signals on the group, without templates: see below. */
    EQUINV_PROJECT_POWER = 14,      /* power spectrum          [B, signals, |G|] */
    EQUINV_PROJECT_BISPECTRUM = 15, /* selective G-bispectrum  [B, signals, about 2 or 4 |G|] */
    EQUINV_PROJECT_BISPECTRUM_FULL = 16, /* of every pair of irreps [B, signals, 2 or 1 |G|^2] */
    EQUINV_PROJECT_TRIPLE = 17,          /* triple correlation      [B, signals, |G|^2] */
    EQUINV_PROJECT_FOURIER = 18          /* coefficients            [B, signals, 2 or 1 |G|], not
                                            invariant */
} equinv_projection_kind;

typedef struct equinv_projection_desc {
    uint32_t struct_size;
    equinv_projection_kind kind;
    equinv_group group;    /* C_n, D_n, a table; SORT and PROJECT_SORT: S */
    equinv_dtype dtype;    /* of latents, templates and dst: F32, F64 */
    int64_t fields;        /* C_n, D_n: latents are [B, fields, |G|, height, width] */
    int64_t height, width; /* 1, 1: no space left */
    int64_t rows;          /* S: latents are [B, rows, channels]; CUDA: at most 64 */
    int64_t channels;
    int64_t k; /* number of templates, >= 1; ignored by SORT and the kinds of signals */
    uint64_t seed;
    equinv_template_kind templates;
    bool scaled;     /* divide inner products by sqrt(k) */
    bool accumulate; /* diff_src and diff_templates are added to (dst never is) */
    const equinv_tensor
        *user_templates; /* USER: [k, fields, |G|, height, width] or [k, channels]; copied */
    double fill;         /* S with a mask: what stands at the end for absent rows */
    const char *impl;
    const double *thresholds; /* CDF: in any order, none NaN; copied */
    int64_t threshold_count;  /* CDF: 1 .. EQUINV_THRESHOLDS_MAX */
    const int32_t *ranks; /* SORTED: the places of the sorted orbit that are wanted, ascending, */
    int64_t rank_count;   /* 0 the smallest; copied. dst is [B, k, rank_count]. NULL, 0: all */
    double density;       /* SPARSE: share of numbers that are not 0, 2^-20 .. 1 */
} equinv_projection_desc;

#define EQUINV_THRESHOLDS_MAX 4096

#define EQUINV_PROJECTION_DESC_INIT                                                                \
    {                                                                                              \
        sizeof(equinv_projection_desc), EQUINV_PROJECT_LINEAR, {EQUINV_GROUP_CYCLIC, 4},           \
            EQUINV_F32, 0, 1, 1, 0, 0, 64, 0, EQUINV_TEMPLATE_GAUSSIAN, false, false, NULL,        \
            (double)INFINITY, NULL, NULL, 0, NULL, 0, 1.0 / 3                                      \
    }

typedef struct equinv_projection equinv_projection;

/*
 * Signals and their spectra: POWER, BISPECTRUM, BISPECTRUM_FULL, TRIPLE, FOURIER. There are no
 * templates: k, seed, templates and scaled are ignored. A latent is fields * height * width signals
 *     x(a) = z[f, a, a q],   element a of C_n or D_n, number (f height + y) width + x for q = (y, x)
 * (without space left: every field is one), which g all moves alike, to x(g^-1 a). Of each
 *     FOURIER      F(rho) = sum_a x(a) rho(a)                       for every irrep rho
 *     POWER        F(rho)^H F(rho)                                  for every irrep rho
 *     BISPECTRUM   B(rho, sigma) = F(rho o sigma)^H (F(rho) o F(sigma)),  o the Kronecker product,
 *                  for the pairs below; _FULL: all of them, sigma fastest
 *     TRIPLE       T[a, b] = sum_g x(g) x(g a) x(g b)
 * C_n: rho_j(a) = exp(-2 pi i j a / n), j = 0 .. n-1, so B(a, b) = F_a F_b conj F_(a+b), the two-
 * dimensional DFT of T. Complex numbers stand as (re, im); POWER is real. BISPECTRUM has the n pairs
 * (0, 0), (1, 0), (1, 1), .., (1, n-2).
 * D_n: the real irreps of equinv_group_irrep in their order, matrices row-major. BISPECTRUM has the
 * pairs (A, A), (A, rho_1), (rho_1, rho_j) with A trivial and j = 1 .. (n-1)/2, in all
 * 5 + 16 floor((n-1)/2) numbers; of D_1 (A, A), (A, f) and of D_2 (A, A), (A, a), (A, b), (a, b), the
 * irreps in their order.
 * BISPECTRUM determines a generic signal (every F(rho) invertible) up to the group. Of several
 * signals it does not say how they lie to each other; MAX and SORTED see that.
 * source: Kakarala 1992 (triple correlation on groups); Mataigne, Mathe, Sanborn, Hillar, Miolane
 * 2024 (selective G-bispectrum).
 */

/*
 * An invariant projection with its templates; immutable after creation. The joint action on latents
 * with space left is equinv_act's: quarter turns need height = width (SHAPE), groups off the grid
 * need height = width = 1 (SHAPE).
 * PROJECT_SORT by generic templates tells all sets of rows apart for k = 2 rows channels + 1, and almost all
 * for rows channels + 1.
 * source: Hansen, Calissano, Feragen 2024 (linear; sort as isometric cross section); max filters:
 * Cahill, Iverson, Mixon, Packer 2022; sorted coorbits: Balan, Tsoukanis 2023; sorted rows: Dym, Gortler 2022.
 */
EQUINV_API equinv_status equinv_projection_create(equinv_context *ctx,
                                                  const equinv_projection_desc *desc,
                                                  equinv_projection **projection);

/* Releases a projection; NULL is fine. */
EQUINV_API void equinv_projection_destroy(equinv_projection *projection);

/*
 * Writes a projection with its templates as safetensors, all or nothing: the tensor "templates" and what
 * describes it. Other programs can read the matrix.
 */
EQUINV_API equinv_status equinv_projection_save(const equinv_projection *projection,
                                                const char *path);

/*
 * Reads such a file: the templates are the file's, bit for bit, on any device and version, and what made
 * them is known by name only. impl as in the description (NULL: chosen). FORMAT names what does not fit;
 * UNSUPPORTED without cJSON.
 */
EQUINV_API equinv_status equinv_projection_load(equinv_context *ctx, const char *path,
                                                const char *impl, equinv_projection **projection);

/*
 * The description as it was checked; user_templates and impl are NULL, lists live as long as the
 * projection.
 */
EQUINV_API equinv_status equinv_projection_describe(const equinv_projection *projection,
                                                    equinv_projection_desc *desc);

/* Shape of dst for a batch: ndim (2 or 3) and extents. */
EQUINV_API equinv_status equinv_projection_output_shape(const equinv_projection *projection,
                                                        int64_t batch, int32_t *ndim,
                                                        int64_t shape[3]);

/*
 * Templates as used, owned by the projection: [k, fields, |G|, height, width] or [k, channels];
 * ORTHONORMAL: after orthonormalisation. SORT and the kinds of signals have none: UNSUPPORTED.
 */
EQUINV_API equinv_status equinv_projection_templates(const equinv_projection *projection,
                                                     equinv_tensor *templates);

/*
 * Dimension of the subspace that LINEAR projects from: the number of orbits of (field, element,
 * pixel) under the group; fields * height * width for regular fields. UNSUPPORTED for S.
 */
EQUINV_API equinv_status equinv_projection_rank(const equinv_projection *projection, int64_t *rank);

/* Name of the chosen implementation, e.g. "projection/gemm"; static storage. */
EQUINV_API const char *equinv_projection_impl_name(const equinv_projection *projection);

/* Bytes of scratch that forward and backward need for any batch; projection must not be NULL. */
EQUINV_API size_t equinv_projection_scratch_size(const equinv_projection *projection);

/*
 * Bytes of the buffer that forward fills for backward. MAX, MIN: I32 [batch, k], the element that
 * attains the extreme (lowest index on ties). SORTED: I32 [batch, k, |G| or rank_count], the element
 * at each place. SORT: I32 [batch, n, c] and PROJECT_SORT: I32 [batch, k, n], the row at each place (-1
 * where no row is left); the inverse permutation is place[row[i]] = i. LINEAR, MEAN, ORBIT, CDF, FOURIER:
 * 0. The other kinds of signals: the signals, [batch, signals, |G|], other kinds: the orbit's inner
 * products, [batch, k, |G|], both in the projection's dtype. -1 only for a negative or overflowing batch.
 */
EQUINV_API int64_t equinv_projection_saved_size(const equinv_projection *projection, int64_t batch);

/*
 * dst = p(src). A row's bits do not depend on the batch it came in.
 *
 * src    [B, fields, |G|, height, width], or a tensor that equinv_tensor_as_fields accepts; S:
 *        [B, n, c], or [B, n] for one channel
 * mask   S only: U8 or I32 [B, n], non-zero = row present; NULL: all present. Absent rows are not
 *        read and stand as `fill` at the end.
 * dst    equinv_projection_output_shape; SORT of one channel also [B, n]
 * saved  equinv_projection_saved_size bytes, or NULL, 0 if no backward follows
 * order  -0 and +0 sort as equal (the lower index first), NaN after +inf and before the fill values
 * NaN    in an orbit makes NaN of its codes, but for SORTED and ORBIT, which show where it is
 * An infinity in a latent makes its codes infinite or NaN, depending on the implementation.
 */
EQUINV_API equinv_status equinv_project_forward(const equinv_projection *projection,
                                                const equinv_tensor *src, const equinv_tensor *mask,
                                                const equinv_tensor *dst, void *saved,
                                                size_t saved_size, void *scratch,
                                                size_t scratch_size);

/*
 * diff_src from diff_dst. Subgradients: MAX, MIN and the sorting kinds follow the elements or rows that
 * forward saved; MEAN_ABS and MEAN_RELU are 0 at their kinks. CDF moves in steps: its gradient is 0. Gradient entries of absent rows are
 * ignored and theirs are 0. saved as forward left it.
 */
EQUINV_API equinv_status equinv_project_backward(const equinv_projection *projection,
                                                 const equinv_tensor *diff_dst,
                                                 const equinv_tensor *mask, const void *saved,
                                                 size_t saved_size, const equinv_tensor *diff_src,
                                                 void *scratch, size_t scratch_size);

/*
 * diff_templates from the latents and diff_dst, of the templates as equinv_projection_templates shows
 * them: for ORTHONORMAL each number by itself, as if it were free. Subgradients and saved as for
 * equinv_project_backward; a description with `accumulate` adds.
 *
 * src, mask       as forward had them
 * diff_templates  [k, fields, |G|, height, width]; PROJECT_SORT: [k, channels]
 * refused         SORT and the kinds of signals have no templates, and projections of a CUDA context no
 *                 such gradient: UNSUPPORTED
 */
EQUINV_API equinv_status equinv_project_backward_templates(
    const equinv_projection *projection, const equinv_tensor *src, const equinv_tensor *mask,
    const equinv_tensor *diff_dst, const void *saved, size_t saved_size,
    const equinv_tensor *diff_templates, void *scratch, size_t scratch_size);

/*
 * How many random templates keep all squared distances between the orbit means of so many latents
 * within 1 - distortion .. 1 + distortion, but for a chance of `failure` at most: the smallest k with
 * k >= 2 log(points (points - 1) / failure) / (distortion^2 / 2 - distortion^3 / 3).
 *
 * It holds for LINEAR and MEAN with `scaled` and GAUSSIAN, RADEMACHER or (density 1/3 and more) SPARSE
 * templates. Orbit means are never farther apart than their orbits, so what it bounds from below are not
 * orbit distances: latents of different orbits may have one mean. It does not know the rank: where that
 * is smaller, `rank` ORTHONORMAL templates keep the distances exactly.
 *
 * points >= 2, 0 < distortion < 1, 0 < failure <= 1: ARG
 * source: Johnson, Lindenstrauss 1984; the constants of Dasgupta, Gupta 2003 and Achlioptas 2003
 */
EQUINV_API equinv_status equinv_templates_for_distortion(int64_t points, double distortion,
                                                         double failure, int64_t *k);

/* ---- 13 orbits ------------------------------------------------------------------------------ */

/*
 * Orbit mean: dst = 1/|G| sum over g of g.src, the part of src that every element leaves alone.
 * src, dst [B, fields, |G|, H, W] (or what equinv_tensor_as_fields accepts), F32 or F64; same
 * conditions on H, W as equinv_projection_create. source: Reynolds operator.
 */
EQUINV_API equinv_status equinv_orbit_mean(equinv_context *ctx, equinv_group group,
                                           const equinv_tensor *src, const equinv_tensor *dst);

/*
 * Orbit distances: distance[i, j] = min_g |x_i - g y_j| (Euclidean), the metric of the quotient.
 *
 * x, y      [A, fields, |G|, H, W], [B, ..], same dtype F32 or F64; S: [A, n, c], [B, n, c] (or without
 *           the last axis for one channel). One channel: the distance of the sorted rows, any n;
 *           several: the cheapest assignment of rows, exactly, n at most 512 (else UNSUPPORTED)
 * distance  [A, B], same dtype; NaN if any number of x_i or y_j is. F32: to 1.5e-6 of itself, F64: to rounding
 * element   I32 [A, B], the g that attains it, applied to y (lowest index on ties); S: I32 [A, B, n],
 *           the row of y_j that g moves to each row of x_i; NULL: not wanted
 * refused   CUDA: S with several channels, with element or n above 64: UNSUPPORTED
 * source    assignment: Jonker, Volgenant 1987
 */
EQUINV_API equinv_status equinv_orbit_distance(equinv_context *ctx, equinv_group group,
                                               const equinv_tensor *x, const equinv_tensor *y,
                                               const equinv_tensor *distance,
                                               const equinv_tensor *element);

/*
 * Alignment: dst_i = g y_i with the g that brings y_i nearest to x_i, |x_i - g y_i| = the orbit distance.
 *
 * x, y, dst  as for equinv_orbit_distance, all of one shape and dtype; rows are compared one to one. S: n at
 *            most 512 (UNSUPPORTED)
 * element    I32 [B], the g (lowest index on ties); S: I32 [B, n], dst_i[r] = y_i[element[i, r]]; NULL: not
 *            wanted
 * refused    a CUDA context: UNSUPPORTED
 */
EQUINV_API equinv_status equinv_orbit_align(equinv_context *ctx, equinv_group group,
                                            const equinv_tensor *x, const equinv_tensor *y,
                                            const equinv_tensor *dst, const equinv_tensor *element);

/*
 * Geodesics of the quotient: dst[i, s] = (1 - t_s) x_i + t_s g y_i with g as equinv_orbit_align has it, the
 * straight line from x_i to the nearest point of y_i's orbit. Its image in the quotient has the length of
 * the orbit distance.
 *
 * x, y  as for equinv_orbit_align, [B, ..]; t F32 or F64 [S]; dst [B, S, ..], dtype of x
 */
EQUINV_API equinv_status equinv_orbit_interpolate(equinv_context *ctx, equinv_group group,
                                                  const equinv_tensor *x, const equinv_tensor *y,
                                                  const equinv_tensor *t, const equinv_tensor *dst);

/*
 * Canonical representatives: dst_i = g src_i with the g that maximises <w, g src_i>, where w is Gaussian
 * template number 0 of `seed` (equinv_templates) with the shape of a latent. Latents of one orbit become one
 * and the same, but where two elements do equally well (then the lowest index decides); near such latents
 * it is not continuous. dst, element and what is refused: as for equinv_orbit_align, since that g is the
 * one that brings src_i nearest to w.
 */
EQUINV_API equinv_status equinv_orbit_canonicalise(equinv_context *ctx, equinv_group group,
                                                   uint64_t seed, const equinv_tensor *src,
                                                   const equinv_tensor *dst,
                                                   const equinv_tensor *element);

/*
 * The k nearest orbits of a gallery for every query, exactly: by ascending orbit distance (NaN last), equal
 * ones by index. Bounds that never exceed the orbit distance leave most of the gallery out: by products, for
 * S by sorted channels. Distances are measured in double and rounded once.
 *
 * gallery, queries  [A, ..], [B, ..] as for equinv_orbit_distance, A in 1 .. 2^31 - 1
 * k                 1 .. A
 * distance          [B, k], dtype of the queries
 * index             I32 [B, k], rows of the gallery
 * refused           a CUDA context: UNSUPPORTED
 */
EQUINV_API equinv_status equinv_neighbours(equinv_context *ctx, equinv_group group,
                                           const equinv_tensor *gallery,
                                           const equinv_tensor *queries, int64_t k,
                                           const equinv_tensor *distance,
                                           const equinv_tensor *index);

/* ---- 14 report ------------------------------------------------------------------------------ */

typedef struct equinv_report_desc {
    uint32_t struct_size;
    int64_t sample; /* latents used at most for pairwise figures; they are spread evenly; >= 2 */
    int64_t
        neighbours; /* k of the k-nearest-neighbour vote, >= 1; at most the whole gallery votes */
    uint64_t seed;  /* for the random elements that turn the queries */
    equinv_progress progress;
    void *progress_user;
    const equinv_tensor
        *ratios; /* F64 [2, P] for the P = s (s - 1) / 2 pairs i < j of the s sampled */
                 /* latents, i first: |p(z) - p(z')| / orbit distance of raw latents */
                 /* and of codes, NaN for one orbit; NULL: not wanted */
} equinv_report_desc;

#define EQUINV_REPORT_DESC_INIT                                                                    \
    {                                                                                              \
        sizeof(equinv_report_desc), 1000, 5, 0, NULL, NULL, NULL                                   \
    }

/* Figures of one code: the raw latents or their projection. Distances are Euclidean. */
typedef struct equinv_report_code {
    double invariance_error; /* max over g and z of |p(g z) - p(z)|_max / max_z |p(z)|_max */
    double within;           /* mean over z and all g of |p(g z) - p(z)|: spread inside orbits */
    double between;          /* mean over sampled pairs of |p(z) - p(z')|: spread between orbits */
    double distortion_min;   /* range of |p(z) - p(z')| / orbit distance over sampled pairs of */
    double distortion_max;   /* different orbits; NaN if there are none */
    double knn_accuracy; /* first half of the sample as gallery, second half, each turned by a */
                         /* random element, as queries; NaN without labels */
    double
        own_nearest; /* share of the sample that is nearest to itself turned by a random element: */
                     /* known orbits that are told apart; equal codes go to the lower index */
} equinv_report_code;

typedef struct equinv_report {
    int64_t latents, sampled;          /* how many there are, and in the sample */
    int64_t dimension, code_dimension; /* numbers per latent and per code */
    int32_t order;                     /* |G| */
    int64_t rank;                      /* dimension of the fixed subspace, equinv_projection_rank */
    double
        kept_variance;   /* share of the latents' variance that the orbit mean keeps, 0 .. 1; NaN */
                         /* if all latents are equal */
    double label_chance; /* share of the commonest label; NaN without labels */
    equinv_report_code raw, projected;
} equinv_report;

/*
 * How much an invariant projection gains and loses on given latents.
 *
 * latents  [B, ..] as for equinv_project_forward, B >= 2; labels I32 [B] or NULL
 * error    F64 [2, |G|]: invariance error of the raw latents and of the codes for every element;
 *          NULL: not wanted
 * refused  kinds of S, and projections of a CUDA context: UNSUPPORTED
 * memory   chunks of the latents, the sample and its codes, from the context's allocator
 * threads  any number of calls at once; the context's arena is not used
 */
EQUINV_API equinv_status equinv_report_compute(const equinv_projection *projection,
                                               const equinv_tensor *latents,
                                               const equinv_tensor *labels,
                                               const equinv_report_desc *desc,
                                               equinv_report *report, const equinv_tensor *error);

/*
 * Accuracy of a k-nearest-neighbour vote with Euclidean distance: ties of the vote go to the nearer
 * class, ties of distance to the lower index; a NaN distance is the largest.
 *
 * gallery [A, ..], queries [B, ..]: the same number of elements a row, F32 or F64; labels I32 or
 * U8; k in 1 .. A; accuracy in 0 .. 1 (NaN if B is 0). On the CPU alone: UNSUPPORTED on CUDA.
 */
EQUINV_API equinv_status equinv_knn_accuracy(equinv_context *ctx, const equinv_tensor *gallery,
                                             const equinv_tensor *gallery_labels,
                                             const equinv_tensor *queries,
                                             const equinv_tensor *query_labels, int64_t k,
                                             double *accuracy);

/* ---- 15 files ------------------------------------------------------------------------------- */

/*
 * Files are NPY (versions 1 to 3, C order) and IDX, either also gzipped; the kind is read from the
 * content. Readers treat files as hostile: what does not fit the header, or any byte beyond the
 * array, is FORMAT; Fortran order of two or more axes longer than 1, half precision, complex,
 * structured and object dtypes are UNSUPPORTED. Paths are passed to the system as they are; reading
 * from pipes works. Readers and writers take tensors in CPU memory, whatever the context's device
 * (equinv_tensor_create_pinned); each is used by one thread at a time. equinv_tensor_load and _save
 * reach the device: what they read or write is complete when they return.
 */
typedef struct equinv_reader equinv_reader;

/* Opens a file and reads its header. IO, FORMAT, UNSUPPORTED (.gz without zlib). */
EQUINV_API equinv_status equinv_reader_open(equinv_context *ctx, const char *path,
                                            equinv_reader **reader);

/* Closes; NULL is fine. */
EQUINV_API void equinv_reader_close(equinv_reader *reader);

/*
 * Shape and element type of the whole array, as a tensor without data (data NULL). Integer types
 * other than U8, I32, U32 are announced as I32 and converted (ARG from _read if a value does not
 * fit); booleans as U8.
 */
EQUINV_API equinv_status equinv_reader_describe(const equinv_reader *reader, equinv_tensor *array);

/*
 * Reads the next rows (axis 0) into rows, whose shape is [at most that many, rest]; its dtype may
 * be any that equinv_tensor_convert goes to. `count` receives the rows read: fewer only at the end.
 * The end of the array also checks that nothing follows. An array without axes is one row, read
 * into [] or [n]. After IO, FORMAT or a value that does not fit, rows are undefined and the reader
 * can only be closed.
 */
EQUINV_API equinv_status equinv_reader_read(equinv_reader *reader, const equinv_tensor *rows,
                                            int64_t *count);

/*
 * Reads a whole file into a new tensor on the context's device (equinv_tensor_destroy releases it). On
 * CUDA the array passes through CPU memory as a whole.
 */
EQUINV_API equinv_status equinv_tensor_load(equinv_context *ctx, const char *path,
                                            equinv_tensor *tensor);

typedef struct equinv_writer equinv_writer;

/*
 * Starts an NPY file of known shape. Rows go to a temporary file beside the target (its name and
 * ".<process>.part", mode 0666 less umask); the target appears, complete, only on commit, and may
 * replace only a regular file that the process may write. Behind a symbolic link the file it names
 * is replaced, and the link stays; a link to nothing is refused. Pipes and devices are written
 * through. A closed pipe and a file size limit are IO: the signals SIGPIPE and SIGXFSZ are not
 * raised.
 */
EQUINV_API equinv_status equinv_writer_create(equinv_context *ctx, const char *path,
                                              equinv_dtype dtype, int32_t ndim,
                                              const int64_t *shape, equinv_writer **writer);

/*
 * As equinv_writer_create, but what was written outlives the process: rows go to "<path>.part", and
 * `identity` (1 .. 4095 bytes of text: what the rows are made from) to "<path>.part.txt". If both are
 * there, with the same identity, dtype and shape, writing goes on behind the whole rows that are there;
 * `rows` receives their number. equinv_writer_abort keeps both files, commit leaves the target alone.
 *
 * refused  ARG: another identity (the sentence has the first line that differs), dtype or shape, or no
 *          <path>.part.txt: remove the two files to begin again; a pipe or device. IO: another process
 *          writes it
 * A process may end at any time, however it ends; if the system itself stops, rows that it had not yet
 * stored may be zero.
 */
EQUINV_API equinv_status equinv_writer_resume(equinv_context *ctx, const char *path,
                                              equinv_dtype dtype, int32_t ndim,
                                              const int64_t *shape, const char *identity,
                                              equinv_writer **writer, int64_t *rows);

/*
 * Appends rows [any, rest of the shape] of the file's dtype and any strides; [] or [1] where the
 * shape has no axis. Too many rows: SHAPE.
 */
EQUINV_API equinv_status equinv_writer_write(equinv_writer *writer, const equinv_tensor *rows);

/*
 * Completes the file and releases the writer, also on failure (then nothing is left at the target).
 * Rows missing: SHAPE.
 */
EQUINV_API equinv_status equinv_writer_commit(equinv_writer *writer);

/* Removes the temporary file and releases the writer; NULL is fine. */
EQUINV_API void equinv_writer_abort(equinv_writer *writer);

/*
 * Writes a tensor of any strides as an NPY file, all or nothing. It is on the context's device (after
 * what was enqueued before) or in CPU memory.
 */
EQUINV_API equinv_status equinv_tensor_save(equinv_context *ctx, const char *path,
                                            const equinv_tensor *tensor);

/* ---- 16 models ------------------------------------------------------------------------------ */

typedef struct equinv_model equinv_model;

typedef struct equinv_model_desc {
    uint32_t struct_size;
    equinv_group group;              /* C1 C2 C4 D1 D2 D4 */
    equinv_dtype dtype;              /* F32, F64: of activations and parameters */
    int64_t channels, height, width; /* of the input images */
    double scale, shift;             /* the first layer sees image * scale + shift */
    uint64_t seed;                   /* initial weights and dropout */
} equinv_model_desc;

#define EQUINV_MODEL_DESC_INIT                                                                     \
    {                                                                                              \
        sizeof(equinv_model_desc), {EQUINV_GROUP_CYCLIC, 4}, EQUINV_F32, 1, 0, 0, 1.0, 0.0, 0      \
    }

/*
 * What a layer does; the word in model files. A layer's output may be read by any number of later
 * ones. With C1 every field is trivial and "conv" is the ordinary convolution.
 */
typedef enum equinv_layer_op {
    EQUINV_LAYER_CONV = 1,       /* "conv": lifting from trivial fields, else regular */
    EQUINV_LAYER_CONV_PLANE = 2, /* "conv-plane": regular fields to plain channels */
    EQUINV_LAYER_BATCH_NORM = 3, /* "batch-norm" */
    EQUINV_LAYER_RELU = 4,       /* "relu", with `slope` */
    EQUINV_LAYER_DROPOUT = 5,    /* "dropout", with `p`; identity in evaluation */
    EQUINV_LAYER_ADD = 6,        /* "add": two inputs */
    EQUINV_LAYER_POOL = 7,       /* "pool", with `pool` */
    EQUINV_LAYER_DENSE = 8,      /* "dense": `fields` outputs from all of a sample: [N, fields] */
    EQUINV_LAYER_CONV_TRANSPOSED = 9,        /* "conv-transposed": the adjoints, with .. */
    EQUINV_LAYER_CONV_PLANE_TRANSPOSED = 10, /* "conv-plane-transposed": .. `output_padding` */
    EQUINV_LAYER_UPSAMPLE = 11               /* "upsample", with `upsample` and `scale` */
} equinv_layer_op;

typedef struct equinv_layer_desc {
    uint32_t struct_size;
    const char *name; /* 1 .. 63 of letters, digits, "_", "-", "."; unique; "input" is taken */
    equinv_layer_op op;
    const char
        *from[2];   /* names of inputs; NULL: the layer before (for ADD the second is needed) */
    int64_t fields; /* CONV*, DENSE: outputs */
    int64_t kernel, stride, padding, dilation, channel_groups; /* CONV*, POOL: as in their plans */
    equinv_padding_mode padding_mode;                          /* CONV, CONV_PLANE */
    int64_t output_padding;                                    /* CONV*_TRANSPOSED */
    bool bias;
    equinv_pool_kind pool;
    double sigma; /* POOL of kind BLUR, whose kernel is not read */
    equinv_upsample_kind upsample;
    int64_t scale; /* UPSAMPLE */
    double slope, p, epsilon, momentum;
} equinv_layer_desc;

#define EQUINV_LAYER_DESC_INIT                                                                     \
    {                                                                                              \
        sizeof(equinv_layer_desc), NULL, EQUINV_LAYER_CONV, {NULL, NULL}, 0, 3, 1, 0, 1, 1,        \
            EQUINV_PAD_ZEROS, 0, true, EQUINV_POOL_MAX, 0.66, EQUINV_UPSAMPLE_NEAREST, 2, 0.0,     \
            0.5, 1e-5, 0.1                                                                         \
    }

/* Creates a model without layers. */
EQUINV_API equinv_status equinv_model_create(equinv_context *ctx, const equinv_model_desc *desc,
                                             equinv_model **model);

/* Releases a model, its parameters and activations; NULL is fine. */
EQUINV_API void equinv_model_destroy(equinv_model *model);

/*
 * Appends a layer; its shape follows from its inputs and is checked here. Parameters are created:
 * He initialisation for weights (equinv_init_he, stream = layer number from 0; transposed, fan_in is
 * that of the input divided by stride^2: what meets in a pixel), 0 for bias and beta, 1 for gamma. Members that the operation does not read are set to their defaults. On failure
 * the model is as before; at most 1024 layers (UNSUPPORTED). What a forward kept is forgotten.
 */
EQUINV_API equinv_status equinv_model_add(equinv_model *model, const equinv_layer_desc *layer);

/* Number of layers, and the description of layer i (its strings live as long as the model). */
EQUINV_API equinv_status equinv_model_layer_count(const equinv_model *model, int64_t *count);

/* Description of layer number i in 0 .. count-1. */
EQUINV_API equinv_status equinv_model_layer(const equinv_model *model, int64_t index,
                                            equinv_layer_desc *layer);

/*
 * Extents [1, F, G, H, W] of a layer's output ("input" works too; after a dense layer [1, F, 1, 1,
 * 1]); ARG lists the names there are.
 */
EQUINV_API equinv_status equinv_model_layer_shape(const equinv_model *model, const char *layer,
                                                  int64_t shape[5]);

/* Group and input of the model. */
EQUINV_API equinv_status equinv_model_describe(const equinv_model *model, equinv_model_desc *desc);

/*
 * Learnable arrays in layer order, "<layer>.weights|bias|gamma|beta"; the list lives as long as the
 * model and is valid until the next equinv_model_add, its names and memory as long as the model.
 * Values may be changed at any time: every call reads them anew.
 */
EQUINV_API equinv_status equinv_model_parameters(equinv_model *model,
                                                 const equinv_parameter **parameters,
                                                 size_t *count);

/*
 * Runs all layers on images [N, channels, height, width] (also [N, height, width] for one channel;
 * U8, F32, F64). train true: batch statistics, dropout, and everything is kept for backward; false:
 * running statistics, in chunks, so that memory is bounded by one and dst. dst is the last layer's
 * output, [N, F, G, H, W], or [N, F] after a dense layer: a view into the model, valid until its
 * next call. On CUDA images and dst are on the device, and the work is enqueued; the call itself
 * waits for the device only where a batch size is new, for plans and memory. So does backward.
 */
EQUINV_API equinv_status equinv_model_forward(equinv_model *model, bool train,
                                              const equinv_tensor *images, equinv_tensor *dst);

/* The output of any layer of the last forward with train true; a view as above. */
EQUINV_API equinv_status equinv_model_activation(const equinv_model *model, const char *layer,
                                                 equinv_tensor *activation);

/*
 * Gradients of all parameters (overwritten) after a forward with train true, whose values must not
 * have changed since; diff_dst has dst's shape and dtype. An evaluation in between is allowed.
 */
EQUINV_API equinv_status equinv_model_backward(equinv_model *model, const equinv_tensor *diff_dst);

/*
 * Writes description, parameters and running statistics as safetensors (DESIGN section 6), all or
 * nothing, as equinv_writer_commit does. The file does not tell which device the model was on.
 */
EQUINV_API equinv_status equinv_model_save(const equinv_model *model, const char *path);

/*
 * Reads such a file. UNSUPPORTED in a build without cJSON and for groups that models do not take;
 * FORMAT names the layer and key or tensor that does not fit.
 */
EQUINV_API equinv_status equinv_model_load(equinv_context *ctx, const char *path,
                                           equinv_model **model);

/*
 * Fills the model's parameters from an escnn checkpoint in evaluation form, saved as safetensors:
 * layer names are the module names ("0", "1"): conv from <name>.filter (psi is its row g = e) and
 * <name>.expanded_bias, batch norm from <name>.batch_norm_[|G|].*, dense layers from <name>.weight
 * and <name>.bias. A blur pool's <name>.filter (or <name>.blur.filter), if there, must be that of its
 * sigma. FORMAT names a missing key, a wrong shape, a filter that is not the expansion of
 * its row e (to 1e-5), or one of zeros, as modules that were never evaluated have. On failure the
 * model is as before. Other keys are ignored.
 */
EQUINV_API equinv_status equinv_model_load_escnn(equinv_model *model, const char *path);

/* ---- 17 extraction -------------------------------------------------------------------------- */

typedef struct equinv_extract_desc {
    uint32_t struct_size;
    const char *layer; /* NULL: the last layer with regular fields (G = |group|) and, if there is
                          one, with space left (H W > 1) */
    int64_t batch;     /* images at a time; 0: chosen so that activations stay in the CPU's cache,
                          or give a GPU enough to do in a few hundred MiB */
    equinv_progress progress; /* after every chunk */
    void *progress_user;
} equinv_extract_desc;

#define EQUINV_EXTRACT_DESC_INIT                                                                   \
    {                                                                                              \
        sizeof(equinv_extract_desc), NULL, 0, NULL, NULL                                           \
    }

/*
 * Creates a projection for a layer's latents: group, fields, height, width and dtype of desc are
 * taken from the layer (NULL as above), the rest from desc. SHAPE for trivial fields.
 */
EQUINV_API equinv_status equinv_projection_create_for_layer(const equinv_model *model,
                                                            const char *layer,
                                                            const equinv_projection_desc *desc,
                                                            equinv_projection **projection);

/*
 * Latents of any number of images, as equinv_model_forward takes them, in chunks: dst [N, F, G, H,
 * W] ([N, F] after a dense layer) in the model's dtype, or p(latents) if a projection is given.
 * Memory beyond dst is bounded by the chunk. On the CPU a latent's bits do not depend on the chunk it
 * is in; on CUDA the products of another chunk size may be summed in another order. desc NULL means
 * the defaults. A failure or CANCELLED in the middle leaves the chunks before it in dst.
 *
 * On CUDA images and dst may each be in CPU memory or on the device: this function and the next, and no
 * others, copy between the two, beside the computation, since that is their job. Everything is done
 * when they return.
 */
EQUINV_API equinv_status equinv_extract(equinv_model *model, const equinv_extract_desc *desc,
                                        const equinv_tensor *images,
                                        const equinv_projection *projection,
                                        const equinv_tensor *dst);

/*
 * The same from a file (NPY or IDX, also .gz, of any element type) to an NPY file; neither is held
 * in memory. On failure or cancellation nothing is left at the target.
 */
EQUINV_API equinv_status equinv_extract_file(equinv_model *model, const equinv_extract_desc *desc,
                                             const char *images_path,
                                             const equinv_projection *projection,
                                             const char *latents_path);

#ifdef __cplusplus
}
#endif

#endif
