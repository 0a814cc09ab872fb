/* The context: memory, threads, hardware, log. */
#ifndef EQI_CONTEXT_H
#define EQI_CONTEXT_H

#include <pthread.h>

#include "status.h"

typedef enum eqi_isa { EQI_ISA_SCALAR = 0, EQI_ISA_AVX2 = 1, EQI_ISA_AVX512 = 2 } eqi_isa;

/* What implementations may ask about when they accept or decline a problem. */
typedef struct eqi_hardware {
    eqi_isa isa; /* after EQUINV_ISA's cap */
    int32_t threads;
} eqi_hardware;

/* Of CPU memory; a backend has its own for what its device reads. */
#define EQI_ALIGNMENT 64
/* The most that any backend wants: for laying out one block for several tensors. */
#define EQI_ALIGNMENT_MOST 256

/* Bytes rounded up to the alignment, for laying out several things in one block. SIZE_MAX stays. */
static inline size_t eqi_aligned(size_t size)
{
    return size > SIZE_MAX - EQI_ALIGNMENT
               ? SIZE_MAX
               : (size + EQI_ALIGNMENT - 1) / EQI_ALIGNMENT * EQI_ALIGNMENT;
}

struct equinv_context {
    equinv_device device;
    const struct eqi_backend *backend;
    void *device_state; /* the backend's own; NULL on the CPU */
    equinv_allocator allocator;
    equinv_parallel_for parallel_for;
    void *parallel_user;
    struct eqi_pool *pool; /* NULL with a caller's parallel_for or one thread */
    equinv_log log;
    void *log_user;
    equinv_log_level log_level; /* 0: silent */
    eqi_hardware hardware;
    pthread_mutex_t arena_mutex;
    struct eqi_arena {
        void *data; /* of the device */
        size_t size;
    } arena[64]; /* ascending by size, each at least twice the one before; old ones may be in use */
    int arenas;
    char description[512];
};

/* Memory aligned to EQI_ALIGNMENT from the context's allocator; NULL when there is none. */
void *eqi_alloc(const equinv_context *ctx, size_t size);
void eqi_free(const equinv_context *ctx, void *ptr, size_t size);

/* eqi_alloc of count * size zeroed bytes into *ptr; NOMEM (overflow included) names `what`. */
equinv_status eqi_alloc_zeroed(const equinv_context *ctx, int64_t count, size_t size,
                               const char *what, void **ptr);

/*
 * Memory of the context's device, aligned as its backend wants it: the allocator's on the CPU. NULL when
 * there is none. Copies and zeroing are enqueued on the context's stream.
 */
void *eqi_device_alloc(const equinv_context *ctx, size_t size);
void eqi_device_free(const equinv_context *ctx, void *ptr, size_t size);
equinv_status eqi_device_zero(const equinv_context *ctx, void *ptr, size_t size);
equinv_status eqi_device_copy(const equinv_context *ctx, void *dst, const void *src, size_t size);

/* eqi_alloc_zeroed in the device's memory. */
equinv_status eqi_device_alloc_zeroed(const equinv_context *ctx, int64_t count, size_t size,
                                      const char *what, void **ptr);

/* SCRATCH if `ptr` is not aligned as the context's backend wants it. */
equinv_status eqi_check_alignment(const equinv_context *ctx, const void *ptr, const char *name);
/* That, and DEVICE if it is not memory of the context's device. */
equinv_status eqi_check_buffer(const equinv_context *ctx, const void *ptr, const char *name);

/* Makes the arena at least this large; plans do it at creation so that execute never allocates. */
equinv_status eqi_arena_reserve(equinv_context *ctx, size_t size);

/* The scratch to use: the caller's, checked, or the arena. `needed` was reserved before. */
equinv_status eqi_scratch(const equinv_context *ctx, size_t needed, void *scratch,
                          size_t scratch_size, void **use);

/* Checks a saved buffer that forward fills (wanted only if not NULL) or backward reads (required). */
equinv_status eqi_check_saved(const equinv_context *ctx, const void *saved, size_t saved_size,
                              size_t needed, bool required);

/* Runs task(arg, 0 .. count-1) on the context's threads and waits. Tasks must not call it again. */
void eqi_parallel_for(const equinv_context *ctx, int64_t count, equinv_task task, void *arg);

/* The same where `work` simple operations in all are worth waking threads, else a loop here. */
void eqi_parallel_if_worth(const equinv_context *ctx, int64_t count, double work, equinv_task task,
                           void *arg);

/* The same for tasks over `elements` values in all, at 16 operations a value. */
static inline void eqi_parallel_over(const equinv_context *ctx, int64_t elements, int64_t count,
                                     equinv_task task, void *arg)
{
    eqi_parallel_if_worth(ctx, count, 16.0 * (double)elements, task, arg);
}

void eqi_log(const equinv_context *ctx, equinv_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* struct_size of a description: what every _create checks first. */
equinv_status eqi_check_desc(uint32_t struct_size, size_t expected, const char *type);

/* The pool behind the default parallel-for (pthreadpool, or its own threads without it). */
struct eqi_pool *eqi_pool_create(const equinv_context *ctx, int32_t threads);
void eqi_pool_destroy(const equinv_context *ctx, struct eqi_pool *pool);
void eqi_pool_run(struct eqi_pool *pool, int64_t count, equinv_task task, void *arg);
extern const char eqi_pool_name[];

/* Highest instruction set that processor, system and EQUINV_ISA allow; ARG for an unknown word. */
equinv_status eqi_isa_detect(eqi_isa *isa);
const char *eqi_isa_name(eqi_isa isa);

#endif
