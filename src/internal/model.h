/*
 * Models: a graph of nodes in order of addition. Node 0 is "input", node i + 1 is layer i, and a node
 * reads nodes before it. src/model.c builds, src/model_layer.c knows the operations of layers,
 * src/model_plan.c holds plans and decides where values stand in memory, src/model_run.c runs with
 * src/model_step.c, src/model_file.c and src/model_escnn.c read and write.
 */
#ifndef EQI_MODEL_H
#define EQI_MODEL_H

#include "plan.h"
#include "safetensors.h"

#define EQI_LAYER_NAME 64 /* with the terminating zero */
#define EQI_LAYERS_MAX 1024

/* The arrays that a layer may have; the learnable ones come first. */
typedef enum eqi_layer_array {
    EQI_WEIGHTS,
    EQI_BIAS,
    EQI_GAMMA,
    EQI_BETA,
    EQI_RUNNING_MEAN,
    EQI_RUNNING_VAR,
    EQI_ARRAYS
} eqi_layer_array;
#define EQI_LEARNABLE (EQI_BETA + 1)

/* Members of a layer description that some operation reads, and how files spell them. */
typedef enum eqi_key_type {
    EQI_KEY_COUNT, /* int64_t */
    EQI_KEY_REAL,  /* double */
    EQI_KEY_FLAG,  /* bool */
    EQI_KEY_PADDING,
    EQI_KEY_POOL,
    EQI_KEY_UPSAMPLE
} eqi_key_type;

typedef struct eqi_key {
    const char *word;
    size_t offset; /* in equinv_layer_desc */
    eqi_key_type type;
} eqi_key;

#define EQI_KEYS 17
extern const eqi_key eqi_keys[EQI_KEYS];

/* Bits of eqi_keys that this layer reads; the operation (and the kind of a pool) must be known. */
unsigned eqi_layer_keys(const equinv_layer_desc *layer);

/* Names of enumerators; NULL for unknown ones. The list ends with NULL. */
const char *eqi_layer_op_word(equinv_layer_op op);
const char *eqi_pool_word(equinv_pool_kind kind);
const char *eqi_upsample_word(equinv_upsample_kind kind);
const char *eqi_padding_word(equinv_padding_mode mode);

/* Where a node's values stand in a block of memory while steps first .. last run. */
typedef struct eqi_slot {
    bool used;         /* something needs it */
    int32_t root;      /* the slot whose memory it is: itself, or the one it works in place on */
    int32_t readers;   /* how many layers read the node */
    int32_t last_read; /* the last of them */
    int32_t first, last;
    int64_t bytes, offset; /* of roots */
    bool written;          /* backward has put something there */
    int32_t norm, relu;    /* of a convolution: nodes that it may finish in evaluation; 0: none */
    int32_t finished_by;   /* of those: the convolution */
} eqi_slot;

typedef struct eqi_node {
    char name[EQI_LAYER_NAME];
    equinv_layer_desc desc; /* name and from point at the names of nodes; unread members default */
    int32_t number;         /* in the model */
    int32_t inputs;         /* how many nodes it reads, and which */
    int32_t from[2];
    int64_t shape[5];                /* [1, F, G, H, W] */
    int64_t count;                   /* elements of one sample */
    bool flat;                       /* seen from outside as [N, F] */
    bool learns;                     /* it, or a node that it depends on, has learnable arrays */
    equinv_tensor array[EQI_ARRAYS]; /* ndim 0: the layer has none */
    char array_name[EQI_ARRAYS][EQI_LAYER_NAME + 16]; /* "<layer>.weights" */
    equinv_tensor gradient[EQI_LEARNABLE];
    int64_t kept, saved; /* offsets of the training values and of what backward needs beside */
} eqi_node;

/* The plans of all layers for one batch size. */
typedef struct eqi_planned {
    equinv_plan *plan;  /* NULL where the operation has none */
    int64_t packed;     /* offset of the packed weights, of a batch norm's normalisers; -1: none */
    uint64_t packed_in; /* the public call that packed them: later ones may have other weights */
} eqi_planned;

typedef struct eqi_plan_set {
    int64_t batch;
    uint64_t used; /* the public call that used it last; 0: the set is empty */
    int32_t nodes; /* length of planned */
    eqi_planned *planned;
    void *packed;
    size_t packed_size;
    size_t scratch_size;
} eqi_plan_set;

/* Enough for training and evaluation, each with a last, smaller batch. */
#define EQI_PLAN_SETS 4

/* Memory that grows when asked for more and loses its content then. */
typedef struct eqi_block {
    void *data;
    size_t size;
} eqi_block;

struct equinv_model {
    equinv_context *ctx;
    equinv_model_desc desc;
    int32_t order;
    eqi_node **nodes;
    eqi_slot *slots; /* one for each node and one for temporary values */
    int32_t count, capacity;
    equinv_parameter *parameters;
    size_t parameter_count;
    eqi_plan_set sets[EQI_PLAN_SETS];
    uint64_t calls;           /* public calls that ran layers */
    eqi_block scratch, chunk; /* chunk: values of one chunk in evaluation */
    eqi_block output;         /* of the last forward in evaluation */
    eqi_block kept;           /* values of the last forward in training */
    eqi_block gradients;      /* of values, in backward */
    bool trained;             /* kept is filled */
    int64_t trained_batch;
    uint64_t steps; /* forwards in training: the dropout masks' number */
};

/* Number of elements times the size of one; NOMEM when the total leaves int64. */
equinv_status eqi_add_bytes(int64_t *total, int64_t count, int64_t batch, equinv_dtype dtype);

/* ---- model_layer.c */

int32_t eqi_layer_inputs(equinv_layer_op op);
/* Members that the operation reads, and no others: what a file can hold. */
void eqi_layer_copy(const equinv_layer_desc *layer, equinv_layer_desc *to);
/* The node's shape and those of its arrays, from its description and inputs. */
equinv_status eqi_layer_derive(const equinv_model *model, eqi_node *node);

equinv_conv_desc eqi_model_conv_desc(const equinv_model *model, const eqi_node *node,
                                     int64_t batch);
equinv_batch_norm_desc eqi_model_batch_norm_desc(const equinv_model *model, const eqi_node *node,
                                                 int64_t batch);
equinv_pool_desc eqi_model_pool_desc(const equinv_model *model, const eqi_node *node,
                                     int64_t batch);
equinv_upsample_desc eqi_model_upsample_desc(const equinv_model *model, const eqi_node *node,
                                             int64_t batch);
equinv_dense_desc eqi_model_dense_desc(const equinv_model *model, const eqi_node *node,
                                       int64_t batch);

/* ---- model.c */

/* Checks a layer and derives its shape and those of its arrays, which get no memory yet. */
equinv_status eqi_model_prepare(const equinv_model *model, const equinv_layer_desc *layer,
                                eqi_node **node);
/* Gives its arrays memory, zeroed. */
equinv_status eqi_model_allocate(const equinv_model *model, eqi_node *node);
/* Makes it the model's last node. */
equinv_status eqi_model_link(equinv_model *model, eqi_node *node);
/* Releases a node that is not part of the model. */
void eqi_model_release(const equinv_model *model, eqi_node *node);

/* Number of the node with that name; ARG lists the names there are. */
equinv_status eqi_model_find(const equinv_model *model, const char *layer, int32_t *node);
/* The same where NULL means the last layer with regular fields. */
equinv_status eqi_model_find_latents(const equinv_model *model, const char *layer, int32_t *node);

/* Contiguous values of `batch` samples of a node at `data`, with five axes. */
equinv_tensor eqi_model_map(const equinv_model *model, const eqi_node *node, int64_t batch,
                            void *data);
/* The same as callers see it: [N, F] after a dense layer. */
equinv_tensor eqi_model_view(const equinv_model *model, const eqi_node *node, int64_t batch,
                             void *data);

/* ---- model_plan.c */

/* Plans for a batch size, kept or new, with scratch for them and, if `packs`, room for weights. */
equinv_status eqi_model_plans(equinv_model *model, int64_t batch, bool packs, eqi_plan_set **set);
/* Forgets all plans. */
void eqi_model_drop_plans(equinv_model *model);

equinv_status eqi_block_reserve(const equinv_context *ctx, eqi_block *block, int64_t size,
                                const char *what);
void eqi_block_release(const equinv_context *ctx, eqi_block *block);

/*
 * Which nodes the target needs, which of them work in place or are for the convolution before them to
 * finish, and where the values of `batch` samples stand so that none is overwritten before its last
 * reader. The target's memory is outside if `outside`. *bytes is the size of the block.
 */
equinv_status eqi_place_values(equinv_model *model, int32_t target, int64_t batch, bool outside,
                               int64_t *bytes);
/* The same for the gradients of the last layer with respect to values; slot `count` is temporary. */
equinv_status eqi_place_gradients(equinv_model *model, int64_t batch, int64_t *bytes);

/* ---- model_run.c */

/* Images [N, C, H, W] or [N, H, W]: checked, as a four-axis view; if `anywhere`, in CPU memory, too. */
equinv_status eqi_model_check_images(const equinv_model *model, const equinv_tensor *images,
                                     bool anywhere, equinv_tensor *view);

/* An evaluation up to one node, chunk by chunk. */
typedef struct eqi_evaluation {
    equinv_model *model;
    int32_t target;
    int64_t chunk; /* images at a time */
    bool outside;  /* values of the target go straight into the caller's memory */
} eqi_evaluation;

/*
 * Chooses the chunk (wanted 0: so that the values of a chunk stay in cache, or fill a device; never
 * above `images`), makes plans for it and for the rest, and reserves memory. Weights are packed anew.
 */
equinv_status eqi_evaluation_begin(equinv_model *model, int32_t target, int64_t images,
                                   int64_t wanted, bool outside, eqi_evaluation *evaluation);

/*
 * Runs at most `chunk` images. *values is the result with five axes: in `outside` memory (contiguous,
 * of that shape) if the evaluation was begun so, else in the model's.
 */
equinv_status eqi_evaluation_run(const eqi_evaluation *evaluation, const equinv_tensor *images,
                                 void *outside, equinv_tensor *values);

/* ---- model_file.c */

/* The tensor of that name in a file, of exactly that shape; FORMAT. */
equinv_status eqi_model_find_array(const eqi_safetensors *file, const char *name, int32_t ndim,
                                   const int64_t *shape, const eqi_safetensors_entry **entry);

#endif
