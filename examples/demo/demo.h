/* The demo: what an invariant projection does to the latent codes of turned digits. */
#ifndef EXAMPLES_DEMO_H
#define EXAMPLES_DEMO_H

#include "equinv/equinv.h"

/* The three sets of queries made from the same digits. */
typedef enum query_set { UPRIGHT, QUARTER_TURNS, ANY_ANGLE, QUERY_SETS } query_set;

/* The codes that are compared. RAW is the latent itself. */
typedef enum code_kind { RAW, GROUP_AVERAGE, LINEAR, MAX, SORTED, CODE_KINDS } code_kind;

extern const char *const code_titles[CODE_KINDS];

/* Invariant or not, a code is latents [N, F, G, H, W] in, rows [N, D] out. */
typedef struct coder {
    equinv_context *ctx;
    code_kind kind;
    equinv_projection *projection; /* RAW and GROUP_AVERAGE: NULL */
} coder;

equinv_status coder_create(equinv_context *ctx, code_kind kind, const equinv_model *model,
                           const char *layer, int64_t k, uint64_t seed, coder *c);
void coder_destroy(coder *c);

/* A new tensor [N, D]; RAW gives a view of the latents (owned false). */
equinv_status coder_encode(const coder *c, const equinv_tensor *latents, equinv_tensor *codes,
                           bool *owned);

/* Images U8 [N, H, W] turned by an element of the group, [N, H, W] (square). */
equinv_status turn_images(equinv_context *ctx, equinv_group group, int32_t element,
                          const equinv_tensor *images, const equinv_tensor *turned);

/* Each image turned by its own angle (radians, counter-clockwise), bilinear; outside is 0. */
void rotate_images(const equinv_tensor *images, const double *angles, const equinv_tensor *turned);

/*
 * Principal components of every `every`-th row of [N, D], and where all rows stand in their plane, as
 * [N, 2] numbers; shares of the fitted rows' variance.
 */
equinv_status principal_components(const equinv_tensor *rows, int64_t every, double *coordinates,
                                   double shares[2]);

/* One panel of the picture. */
typedef struct panel {
    const char *title;
    const double *coordinates;
    double shares[2];
} panel;

/*
 * Draws the panels side by side as a PNG by gnuplot. Point n is image n / turns, turned by element
 * n % turns. False, with a reason on stderr, if gnuplot is missing or fails.
 */
bool draw_picture(const char *png, const char *data, const panel *panels, int panel_count,
                  int64_t points, int turns, const int32_t *labels, const char *caption);

#endif
