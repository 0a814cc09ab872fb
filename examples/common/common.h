/*
 * What the experiments on digits share: data, queries, codes and the figures that compare them. Written
 * with the public header alone.
 */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdio.h>

#include "tools/digits.h"
#include "tools/gnuplot.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status)                                                                                \
            goto done;                                                                             \
    } while (0)

/* Seconds on a clock that only goes forward. */
double seconds_now(void);

/* ---- queries (turn.c) ----------------------------------------------------------------------- */

/* The three sets of queries made from the same digits. */
typedef enum query_set { UPRIGHT, QUARTER_TURNS, ANY_ANGLE, QUERY_SETS } query_set;
enum { TURNS = 4 };

/* Square images U8 [N, H, H] turned by quarter turns, as many. */
equinv_status turn_images(equinv_context *cpu, int32_t quarters, const equinv_tensor *images,
                          const equinv_tensor *turned);

/* One square image turned by any angle (radians, counter-clockwise), bilinear; outside is 0. */
void rotate_image(const uint8_t *image, int64_t size, double angle, uint8_t *turned);

/* A random turn for an image in an epoch: the same for the same seed, everywhere. */
typedef enum random_stream {
    STREAM_QUERIES = 0x7475726e, /* "turn" */
    STREAM_TRAINING,
    STREAM_ORIENTATION,
    STREAM_PROBE
} random_stream;
typedef struct random_turn {
    int32_t quarters; /* 0 .. 3 */
    double angle;     /* 0 .. 2 pi */
} random_turn;
random_turn random_turn_of(uint64_t seed, random_stream stream, int64_t epoch, int64_t image);

/*
 * Training digits as they are (the gallery) and test digits upright, turned by random quarter turns,
 * turned by any angle, and all of them in each of the four turns: as images, as latents, as codes. All
 * in CPU memory. turned[0] is queries[UPRIGHT].
 */
typedef struct digit_sets {
    equinv_tensor gallery, queries[QUERY_SETS], turned[TURNS];
    const equinv_tensor *gallery_labels, *query_labels;
} digit_sets;

/* The images; d must stay as long as they do. sets_free also after a failure. */
equinv_status make_sets(equinv_context *cpu, const digits *d, uint64_t seed, digit_sets *images);
void sets_free(equinv_context *cpu, digit_sets *sets);
int64_t sets_count(const digit_sets *sets); /* images in all of them */

/* What all of them are made to, one by one; sets_free also after a failure. */
typedef equinv_status (*set_map)(const void *how, const equinv_tensor *from, equinv_tensor *to);
equinv_status map_sets(set_map map, const void *how, const digit_sets *from, digit_sets *to);

/* ---- codes (codes.c) ------------------------------------------------------------------------ */

/* Where networks and projections run, and the CPU for the rest: one and the same without a GPU. */
typedef struct place {
    equinv_context *net, *cpu;
} place;
equinv_status place_create(const equinv_context_desc *device, place *p);
void place_destroy(place *p);

/* A layer's latents [N, F, G, H, W] of images, as a new tensor in CPU memory; a set_map, how is an extraction. */
typedef struct extraction {
    const place *place;
    equinv_model *model;
    const char *layer;
} extraction;
equinv_status extract(const void *how, const equinv_tensor *images, equinv_tensor *latents);

typedef enum code_kind {
    CODE_RAW,       /* the latent itself */
    CODE_UNFOLDED,  /* <w_k, z> with Gaussian templates, no thought of the group */
    CODE_POOL,      /* pooled over the group or the image */
    CODE_CANONICAL, /* the orbit's canonical representative */
    CODE_PROJECT    /* an invariant projection */
} code_kind;

typedef struct code_desc {
    const char *name;  /* a word for programs */
    const char *title; /* words for people */
    code_kind kind;
    equinv_pool_kind pool;
    equinv_projection_kind projection;
    equinv_template_kind templates;
    int64_t k;
} code_desc;

/* A code: latents [N, F, G, H, W] in, rows [N, ..] out. */
typedef struct coder {
    const place *place;
    equinv_context *at; /* the network's place, or the CPU for what the network's does not do */
    const code_desc *desc;
    equinv_group group;
    uint64_t seed;
    equinv_projection *projection;
} coder;

/* For latents of the shape of `like`. user: templates of PROJECT, [k, F, G, H, W]; NULL: the desc's. */
equinv_status coder_create(const place *p, const code_desc *desc, equinv_group group,
                           const equinv_tensor *like, uint64_t seed, const equinv_tensor *user,
                           coder *c);
void coder_destroy(coder *c);

/* A new tensor in CPU memory, of RAW a copy; a set_map, how is a coder. */
equinv_status encode(const void *how, const equinv_tensor *latents, equinv_tensor *codes);

/* ---- figures (measure.c) -------------------------------------------------------------------- */

enum { NEIGHBOURS = 5 };

/* How the codes of turned digits lie to those of upright ones. */
typedef struct orbit_figures {
    double invariance_error; /* max over digits of |c(g x) - c(x)|_max / |c(x)|_max */
    double within;           /* mean distance of a turned digit's code to the upright one's */
    double between;          /* mean distance of the codes of two upright digits */
    double own; /* share of digits that have a turned copy of their own nearer than any other */
} orbit_figures;

typedef struct code_figures {
    const code_desc *desc;
    int64_t numbers; /* of one code */
    double knn[QUERY_SETS];
    orbit_figures orbit;
} code_figures;

/* max over rows of |a - b|_max / |b|_max: each row against its own size. */
double largest_row_error(const equinv_tensor *a, const equinv_tensor *b);

/* Accuracy of NEIGHBOURS nearest neighbours and the figures of orbits for one code. */
equinv_status measure_code(const coder *c, const digit_sets *latents, code_figures *figures);

/* max over turns g and digits of |f(g x) - g f(x)|_max / |f(x)|_max. */
equinv_status equivariance_error(equinv_context *cpu, const digit_sets *latents, double *error);

/* The same vote among the nearest orbits: no code, the distance of the quotient itself. */
equinv_status measure_orbit_distance(equinv_context *cpu, equinv_group group,
                                     const digit_sets *latents, double knn[QUERY_SETS]);

/*
 * A linear classifier (softmax on standardised numbers) trained on rows [N, ..] with labels I32 [N]: its
 * accuracy on each of a few other sets of rows.
 */
typedef struct probe_set {
    const equinv_tensor *rows, *labels;
} probe_set;
equinv_status linear_probe(equinv_context *cpu, probe_set train, const probe_set *tests, int count,
                           uint64_t seed, double *accuracy);

/* ---- pictures (pca.c, picture.c) ------------------------------------------------------------ */

/*
 * Principal components of every `every`-th row of [N, D], and where all rows stand in their plane, as
 * [N, 2] numbers; shares of the fitted rows' variance.
 */
equinv_status principal_components(const equinv_tensor *rows, int64_t every, double *coordinates,
                                   double shares[2]);

/*
 * Digits of two classes in all four turns, in the plane of the upright ones' principal components: by
 * their latents and by a code. Point n is digit n / TURNS in turn n % TURNS.
 */
enum { PICTURE_DIGITS = 60, PLANES = 2 };
typedef struct code_planes {
    int64_t points;
    int32_t labels[PICTURE_DIGITS];
    double coordinates[PLANES][2 * PICTURE_DIGITS * TURNS], shares[PLANES][2];
} code_planes;
equinv_status find_planes(const extraction *network, const coder *code, const digits *d,
                          code_planes *planes);

/*
 * Draws planes first .. end - 1 side by side as <folder>/<name>.png by gnuplot. False, with a reason on stderr, if gnuplot is missing or fails.
 */
bool draw_planes(const code_planes *planes, int first, int end, const char *const titles[PLANES],
                 const char *caption, const char *folder, const char *name);

/* ---- files (output.c) ----------------------------------------------------------------------- */

/*
 * A text file that appears only when it is complete: written beside its place as <path>.part, renamed by
 * output_close. Both say on stderr why they failed, and then nothing is left.
 */
typedef struct output {
    FILE *file;
    char path[4096], part[4104];
} output;
bool output_open(output *o, const char *folder, const char *name);
bool output_close(output *o, bool good);

/* The same for a picture, folder/name, that gnuplot draws: its terminal, and its end. */
bool picture_open(gnuplot *g, const char *folder, const char *name, int width, int height);
bool picture_close(gnuplot *g);

/* A closed pipe and a file size limit are errors of write(), with a sentence, not deaths. */
void output_signals(void);

/* Creates a folder and those above it where they are missing. */
bool make_folder(const char *path);

#endif
