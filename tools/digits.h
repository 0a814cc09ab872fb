/*
 * The digits system: MNIST's files, a small equivariant network and its training, written with the
 * public header alone. Serves `equinv train` and the demo.
 */
#ifndef TOOLS_DIGITS_H
#define TOOLS_DIGITS_H

#include "equinv/equinv.h"

/* In CPU memory, whatever the context's device: batches go there. */
typedef struct digits_set {
    equinv_tensor images; /* U8 [N, H, W] */
    equinv_tensor labels; /* I32 [N] */
} digits_set;

typedef struct digits {
    digits_set train, test;
    int64_t classes; /* largest training label + 1 */
} digits;

/* Whether a folder has MNIST's four files, each plain or .gz. */
bool digits_present(const char *folder);

/*
 * Loads them; at most so many images of each set. Both sets are square with the same side, which divides
 * by 4. digits_free releases what was loaded, also after a failure.
 */
equinv_status digits_load(equinv_context *ctx, const char *folder, int64_t train_limit,
                          int64_t test_limit, digits *d);
void digits_free(equinv_context *ctx, digits *d);

/*
 * What the last failing digits_ call found wrong itself; "" if a call of the library failed, whose
 * sentence equinv_last_error has.
 */
const char *digits_error(void);

enum { DIGITS_STAGES = 4 };

/* The last layer of regular fields with space left: the latent codes. */
#define DIGITS_CODE_LAYER "code"

/*
 * Four stages of group convolution (k 5, 5, 3, 3), batch norm per field and ReLU, the first two with
 * means of 2 x 2 pixels; maximum over the group, mean over the image, dense. fields: of the four
 * convolutions.
 */
equinv_status digits_network(equinv_context *ctx, const digits *d, equinv_group group,
                             const int64_t fields[DIGITS_STAGES], uint64_t seed,
                             equinv_model **model);

typedef struct digits_training {
    int64_t epochs, batch;
    int64_t copies;           /* of an image in an epoch, one after the other; 0: one */
    double learning_rate;     /* of Adam's first step; it falls to 0 along half a cosine */
    double weight_decay;      /* Adam's */
    uint64_t seed;            /* order of the images */
    equinv_progress progress; /* copies of all epochs; non-zero stops with CANCELLED */
    void (*epoch_done)(void *user, int64_t epoch, double loss); /* mean loss; may be NULL */
    /* Changes an image's copy [H, H] in place before a step sees it; NULL: they stay as they are. */
    equinv_status (*augment)(void *user, int64_t epoch, int64_t image, int64_t copy,
                             uint8_t *pixels);
    void *user; /* of all three */
} digits_training;

/* Cross-entropy. A loss that is no longer finite ends it with ARG. */
equinv_status digits_train(equinv_context *ctx, equinv_model *model, const digits *d,
                           const digits_training *how);

/* The class that the network names for each of any images, U8 [N, H, H]; progress may be NULL. */
equinv_status digits_predict(equinv_context *ctx, equinv_model *model, const equinv_tensor *images,
                             equinv_progress progress, int32_t *classes);

/* Share of a set's images that the network names rightly; progress may be NULL. */
equinv_status digits_accuracy(equinv_context *ctx, equinv_model *model, const digits_set *set,
                              equinv_progress progress, double *accuracy);

#endif
