/* equinv project: invariant codes of a file of latents, row by row through chunks of bounded size. */
#include <errno.h>
#include <string.h>

#include "tools/mirror.h"
#include "tools/tool.h"

typedef struct options {
    const char *latents, *output, *mask;
    projection_options projection;
    equinv_context_desc device;
} options;

enum { KEY_MASK = 1, KEY_FILL };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->projection;
        state->child_inputs[1] = &o->device;
        return 0;
    case 'o': o->output = argument; return 0;
    case KEY_MASK: o->mask = argument; return 0;
    case KEY_FILL: return option_number("--fill", argument, &o->projection.desc.fill) ? 0 : EINVAL;
    case ARGP_KEY_ARG:
        if (o->latents) {
            tool_misused("unexpected argument \"%s\", expected one file of latents", argument);
            return EINVAL;
        }
        o->latents = argument;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options =
        (const struct argp_option[]){
            {"output", 'o', "OUT.npy", 0, "the codes, NPY", 0},
            {"mask", KEY_MASK, "MASK", 0,
             "for S: integers or booleans [B, rows], non-zero where a row is present", 1},
            {"fill", KEY_FILL, "X", 0,
             "for S with a mask: what stands at the end for absent rows; default inf", 1},
            {0},
        },
    .parser = parse,
    .args_doc = "LATENTS -o OUT.npy --group GROUP",
    .doc =
        "Turns latents, which are defined only up to the group's action, into codes that do not "
        "change when the group acts: one row of OUT.npy for every row of LATENTS.\v"
        "LATENTS is NPY or IDX, plain or gzipped, with one of the shapes\n"
        "  [B, fields, |G|]          regular fields\n"
        "  [B, fields, |G|, H, W]    with space left, which the group turns too\n"
        "  [B, fields * |G|, H, W]   the same, group element fastest within the channel\n"
        "  [B, D]                    D a multiple of |G|\n"
        "  [B, rows, channels], [B, rows]   with --group S\n"
        "f32 and f64 are kept, integers become f32. Codes are [B, k]; sorted and orbit [B, k, "
        "|G|], fewer with --ranks; cdf [B, k, thresholds]; sort as LATENTS; project-sort [B, k, "
        "rows]. power, bispectrum, bispectrum-full, triple and fourier are of the fields "
        "themselves (with space left, of every orbit of pixels in them): [B, fields * H * W, "
        "numbers], complex ones as real and imaginary part. An empty batch gives an empty file of "
        "codes.\n"
        "\n"
        "Rows pass through in chunks, so files may be larger than memory and both files may be "
        "pipes. OUT.npy appears when it is complete and then replaces what was there; it may not "
        "be "
        "LATENTS or MASK itself.\n"
        "\n"
        "Examples:\n"
        "  equinv project latents.npy -o codes.npy --group C4 --kind linear --k 64\n"
        "  equinv project graphs.npy -o sorted.npy --kind sort --mask present.npy\n"
        "  zcat z.npy.gz | equinv project /dev/stdin -o /dev/stdout --group D4 | wc -c\n"
        "\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .children = (const struct argp_child[]){{&projection_argp, 0, NULL, 0},
                                            {&device_argp, 0, NULL, 0},
                                            {0}},
};

/* What the command works with. */
typedef struct work {
    equinv_context *ctx;
    equinv_reader *reader, *mask_reader;
    equinv_writer *writer;
    equinv_projection *projection;
    equinv_tensor array;         /* shape and type of the file of latents */
    mirror latents, mask, codes; /* one chunk of each */
    bool flat; /* sort of [B, rows]: written as it came, without an axis of one channel */
} work;

/* A chunk has at most so many bytes of latents and codes, and takes about a second at worst. */
#define CHUNK_BYTES (8.0 * (1 << 20))
#define CHUNK_PRODUCTS (1e9)

static int64_t chunk_rows(const work *w, const equinv_projection_desc *desc,
                          const int64_t code_shape[3], int32_t code_ndim)
{
    double latent = 1, code = 1, terms = (double)desc->k;
    int32_t order = 1;
    for (int32_t i = 1; i < w->array.ndim; i++)
        latent *= (double)w->array.shape[i];
    for (int32_t i = 1; i < code_ndim; i++)
        code *= (double)code_shape[i];
    if (equinv_group_order(desc->group, &order) == EQUINV_OK)
        terms *= order;
    const double by_memory =
        CHUNK_BYTES / ((latent + code) * (double)equinv_dtype_size(desc->dtype));
    const double by_work = CHUNK_PRODUCTS / (latent * terms);
    const double rows = by_memory < by_work ? by_memory : by_work;
    if (rows >= (double)w->array.shape[0])
        return w->array.shape[0] > 0 ? w->array.shape[0] : 1;
    return rows >= 1 ? (int64_t)rows : 1;
}

static int open_mask(work *w, const options *o, const equinv_projection_desc *desc)
{
    char has[200];
    equinv_tensor mask;
    if (!o->mask)
        return -1;
    if (equinv_reader_open(w->ctx, o->mask, &w->mask_reader) ||
        equinv_reader_describe(w->mask_reader, &mask))
        return tool_refused();
    if (mask.dtype == EQUINV_F32 || mask.dtype == EQUINV_F64)
        return tool_fail("%s has element type %s, expected integers or booleans", o->mask,
                         equinv_dtype_name(mask.dtype));
    if (mask.ndim != 2 || mask.shape[0] != w->array.shape[0] || mask.shape[1] != desc->rows)
        return tool_fail("%s has shape %s, expected [%" PRId64 ", %" PRId64 "] like the rows of %s",
                         o->mask, shape_text(mask.ndim, mask.shape, has, sizeof has),
                         w->array.shape[0], desc->rows, o->latents);
    return -1;
}

/* Everything before the first row: -1, or the exit code. */
static int prepare(work *w, options *o)
{
    equinv_projection_desc *const desc = &o->projection.desc;
    int32_t ndim;
    int64_t shape[3], chunk[EQUINV_MAX_DIMS];

    if (equinv_context_create(&o->device, &w->ctx) ||
        equinv_reader_open(w->ctx, o->latents, &w->reader) ||
        equinv_reader_describe(w->reader, &w->array))
        return tool_refused();
    int code = projection_shape(o->latents, &w->array, desc);
    if (code < 0)
        code = open_mask(w, o, desc);
    if (code >= 0)
        return code;
    if (equinv_projection_create(w->ctx, desc, &w->projection) ||
        equinv_projection_output_shape(w->projection, w->array.shape[0], &ndim, shape))
        return tool_refused();
    w->flat = desc->kind == EQUINV_PROJECT_SORT && w->array.ndim == 2;

    const int64_t rows = chunk_rows(w, desc, shape, ndim);
    memcpy(chunk, w->array.shape, sizeof chunk);
    chunk[0] = rows;
    if (mirror_create(w->ctx, desc->dtype, w->array.ndim, chunk, &w->latents))
        return tool_refused();
    if (w->mask_reader &&
        mirror_create(w->ctx, EQUINV_I32, 2, (int64_t[]){rows, desc->rows}, &w->mask))
        return tool_refused();
    memcpy(chunk, shape, sizeof shape);
    chunk[0] = rows;
    if (mirror_create(w->ctx, desc->dtype, ndim, chunk, &w->codes) ||
        equinv_writer_create(w->ctx, o->output, desc->dtype, w->flat ? 2 : ndim, shape, &w->writer))
        return tool_refused();
    return -1;
}

/* One chunk; *count is 0 at the end. */
static equinv_status project_chunk(work *w, int64_t *count)
{
    equinv_tensor latents, mask, codes;
    int64_t masks;
    equinv_status status;
    if ((status = equinv_reader_read(w->reader, &w->latents.here, count)))
        return status;
    if (w->mask_reader && (status = equinv_reader_read(w->mask_reader, &w->mask.here, &masks)))
        return status;
    if (*count == 0)
        return EQUINV_OK;
    if ((status = mirror_send(w->ctx, &w->latents, *count, &latents)) ||
        (w->mask_reader && (status = mirror_send(w->ctx, &w->mask, *count, &mask))) ||
        (status = equinv_tensor_rows(&w->codes.there, 0, *count, &codes)) ||
        (status = equinv_project_forward(w->projection, &latents, w->mask_reader ? &mask : NULL,
                                         &codes, NULL, 0, NULL, 0)) ||
        (status = mirror_fetch(w->ctx, &w->codes, *count, &codes)))
        return status;
    if (w->flat)
        codes.ndim = 2;
    return equinv_writer_write(w->writer, &codes);
}

static int project(work *w)
{
    int64_t done = 0, count = 1;
    progress_start("rows");
    while (count > 0) {
        if (progress_step(NULL, done, w->array.shape[0]) || project_chunk(w, &count))
            return tool_refused();
        done += count;
    }
    if (progress_step(NULL, done, w->array.shape[0]))
        return tool_refused();
    equinv_writer *const writer = w->writer;
    w->writer = NULL; /* released by commit, whatever comes of it */
    if (equinv_writer_commit(writer))
        return tool_refused();
    progress_end();
    return TOOL_DONE;
}

static int run(int argc, char **argv)
{
    options o = {NULL, NULL, NULL, PROJECTION_OPTIONS_INIT, EQUINV_CONTEXT_DESC_INIT};
    work w = {0};
    int code = tool_parse(&argp, 0, argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.latents)
        return tool_misused("no file of latents was given");
    if (!o.output)
        return tool_misused("-o is missing, expected the file to write");
    code = projection_group(&o.projection);
    if (code >= 0)
        return code;
    if (o.mask && o.projection.desc.group.kind != EQUINV_GROUP_SYMMETRIC)
        return tool_misused("--mask is for --group S, where it says which rows are present");
    if (same_file(o.latents, o.output) || (o.mask && same_file(o.mask, o.output)))
        return tool_fail("%s is read and would be replaced, expected another file for the output",
                         o.output);

    tool_catch_signals();
    code = prepare(&w, &o);
    if (code < 0)
        code = project(&w);
    equinv_writer_abort(w.writer);
    if (w.ctx)
        equinv_context_synchronize(w.ctx); /* a refused chunk may have left its copies under way */
    mirror_destroy(w.ctx, &w.codes);
    mirror_destroy(w.ctx, &w.mask);
    mirror_destroy(w.ctx, &w.latents);
    equinv_projection_destroy(w.projection);
    equinv_reader_close(w.mask_reader);
    equinv_reader_close(w.reader);
    equinv_context_destroy(w.ctx);
    return code;
}

const command project_command = {"project", "invariant codes of a file of latents", run};
