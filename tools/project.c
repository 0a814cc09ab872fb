/* equinv project: invariant codes of a file of latents, row by row through chunks of bounded size. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/mirror.h"
#include "tools/tool.h"

typedef struct options {
    const char *latents, *output, *mask;
    const char *from, *save; /* files of projections */
    bool resume;
    projection_options projection;
    equinv_context_desc device;
} options;

enum { KEY_MASK = 1, KEY_FILL, KEY_RESUME, KEY_FROM, KEY_SAVE };

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
    case KEY_RESUME: o->resume = true; return 0;
    case KEY_FROM: o->from = argument; return 0;
    case KEY_SAVE: o->save = argument; return 0;
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
            {"resume", KEY_RESUME, NULL, 0,
             "keep what was written if the command ends early, and go on from there", 0},
            {"save-projection", KEY_SAVE, "FILE", 0,
             "write the projection with its templates, safetensors", 2},
            {"projection", KEY_FROM, "FILE", 0,
             "use such a file instead of --group, --kind and templates", 2},
            {0},
        },
    .parser = parse,
    .args_doc = "LATENTS -o OUT.npy --group GROUP\nLATENTS -o OUT.npy --projection FILE",
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
        "With --resume rows go to OUT.npy.part, beside OUT.npy.part.txt, which says what they are "
        "made "
        "from; both stay if the command is stopped or killed, or the disk is full, and the same "
        "command goes on behind the last whole row. The bits are those of one go. Another input or "
        "projection is refused until the two files are removed. Files that can be read again "
        "only.\n"
        "\n"
        "Rows with NaN or infinity are counted and told at the end; they do not touch other rows.\n"
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
    int64_t odd, first_odd;      /* rows with NaN or infinity, and the first one */
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

/* ---- what a continued file is made from ------------------------------------------------------- */

/* Fowler, Noll, Vo, 64 bits. */
static uint64_t hash_of(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *const b = bytes;
    for (size_t i = 0; b && i < size; i++)
        hash = (hash ^ b[i]) * UINT64_C(1099511628211);
    return hash;
}

/* A group given by a table has a name in this process alone, and its file may have changed: its products. */
static uint64_t hash_of_group(uint64_t hash, equinv_group group)
{
    int32_t order, product;
    if (group.kind != EQUINV_GROUP_TABLE || equinv_group_order(group, &order))
        return hash;
    for (int32_t a = 0; a < order; a++)
        for (int32_t b = 0; b < order; b++)
            if (equinv_group_product(group, a, b, &product) == EQUINV_OK)
                hash = hash_of(hash, &product, sizeof product);
    return hash;
}

/* A line on a file: size and when it was changed. -1, or the exit code. */
static int add_file(char *text, size_t size, const char *what, const char *path)
{
    struct stat is;
    const size_t used = strlen(text);
    if (!path)
        return -1;
    if (stat(path, &is) != 0 || !S_ISREG(is.st_mode))
        return tool_fail("%s is no regular file, expected one: --resume reads it again", path);
    snprintf(text + used, size - used, "%s: %lld bytes, changed %lld.%09ld\n", what,
             (long long)is.st_size, (long long)is.st_mtim.tv_sec, is.st_mtim.tv_nsec);
    return -1;
}

static int make_identity(const work *w, const options *o, char *text, size_t size)
{
    const equinv_projection_desc *const d = &o->projection.desc;
    char shape[200], group[16];
    text[0] = '\0';
    int code = add_file(text, size, "latents", o->latents);
    if (code < 0)
        code = add_file(text, size, "mask", o->mask);
    if (code < 0)
        code = add_file(text, size, "projection", o->from);
    if (code >= 0)
        return code;
    uint64_t hash = hash_of(UINT64_C(14695981039346656037), d->thresholds,
                            (size_t)d->threshold_count * sizeof *d->thresholds);
    hash = hash_of(hash, d->ranks, (size_t)d->rank_count * sizeof *d->ranks);
    hash = hash_of_group(hash, d->group);
    const size_t used = strlen(text);
    snprintf(text + used, size - used,
             "shape: %s\nkind: %s, group %s, k %" PRId64 ", %s templates, seed %" PRIu64
             ", density %.17g, scaled %d, fill %.17g, lists "
             "%016" PRIx64 "\nby: %s, equinv %s, %s\n",
             shape_text(w->array.ndim, w->array.shape, shape, sizeof shape), kind_name(d->kind),
             group_text(o->projection.group, d->group, group, sizeof group), d->k,
             templates_name(d->templates), d->seed, d->density, d->scaled, d->fill, hash,
             equinv_projection_impl_name(w->projection), equinv_version(),
             equinv_context_description(w->ctx));
    return -1;
}

/* ---- before the first row --------------------------------------------------------------------- */

/* Projection from its file; the latents must be what it takes. */
static int load_projection(work *w, options *o)
{
    equinv_projection_desc *const desc = &o->projection.desc, found = *desc;
    if (equinv_projection_load(w->ctx, o->from, desc->impl, &w->projection) ||
        equinv_projection_describe(w->projection, desc))
        return tool_refused();
    found.group = desc->group;
    const int code = projection_shape(o->latents, &w->array, &found);
    if (code >= 0)
        return code;
    const bool rows = desc->group.kind == EQUINV_GROUP_SYMMETRIC;
    const bool fits = found.dtype == desc->dtype &&
                      (rows ? found.rows == desc->rows && found.channels == desc->channels
                            : found.fields == desc->fields && found.height == desc->height &&
                                  found.width == desc->width);
    if (fits)
        return -1;
    return rows ? tool_fail("%s is for %s [B, %" PRId64 ", %" PRId64 "], which %s does not hold",
                            o->from, equinv_dtype_name(desc->dtype), desc->rows, desc->channels,
                            o->latents)
                : tool_fail("%s is for %s latents of %" PRId64 " fields and %" PRId64 " x %" PRId64
                            " pixels, which %s does not hold",
                            o->from, equinv_dtype_name(desc->dtype), desc->fields, desc->height,
                            desc->width, o->latents);
}

static int make_projection(work *w, options *o)
{
    equinv_projection_desc *const desc = &o->projection.desc;
    if (o->from)
        return load_projection(w, o);
    const int code = projection_shape(o->latents, &w->array, desc);
    if (code >= 0)
        return code;
    return equinv_projection_create(w->ctx, desc, &w->projection) ? tool_refused() : -1;
}

static int open_output(work *w, const options *o, int32_t ndim, const int64_t *shape, int64_t *done)
{
    const equinv_dtype dtype = o->projection.desc.dtype;
    char identity[4096];
    *done = 0;
    if (!o->resume)
        return equinv_writer_create(w->ctx, o->output, dtype, ndim, shape, &w->writer)
                   ? tool_refused()
                   : -1;
    const int code = make_identity(w, o, identity, sizeof identity);
    if (code >= 0)
        return code;
    return equinv_writer_resume(w->ctx, o->output, dtype, ndim, shape, identity, &w->writer, done)
               ? tool_refused()
               : -1;
}

/* Everything before the first row: -1, or the exit code. *done: rows that are written already. */
static int prepare(work *w, options *o, int64_t *done)
{
    equinv_projection_desc *const desc = &o->projection.desc;
    int32_t ndim;
    int64_t shape[3], chunk[EQUINV_MAX_DIMS];

    if (equinv_context_create(&o->device, &w->ctx) ||
        equinv_reader_open(w->ctx, o->latents, &w->reader) ||
        equinv_reader_describe(w->reader, &w->array))
        return tool_refused();
    int code = make_projection(w, o);
    if (code < 0)
        code = open_mask(w, o, desc);
    if (code >= 0)
        return code;
    if ((o->save && equinv_projection_save(w->projection, o->save)) ||
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
    if (mirror_create(w->ctx, desc->dtype, ndim, chunk, &w->codes))
        return tool_refused();
    return open_output(w, o, w->flat ? 2 : ndim, shape, done);
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* Counts what is not finite in `count` latents from number `first` on; absent rows do not count. */
static void count_odd_rows(work *w, int64_t first, int64_t count)
{
    const equinv_tensor *const z = &w->latents.here;
    const int64_t pieces = w->mask_reader ? z->shape[1] : 1;
    const int64_t length = equinv_tensor_count(z) / z->shape[0] / pieces;
    for (int64_t row = 0; row < count; row++) {
        bool odd = false;
        for (int64_t i = row * pieces; i < (row + 1) * pieces; i++)
            odd = odd || ((!w->mask_reader || ((const int32_t *)w->mask.here.data)[i]) &&
                          !is_finite(z, i * length, length));
        if (odd && w->odd++ == 0)
            w->first_odd = first + row;
    }
}

/* The next rows, at most `most`, and their mask. */
static equinv_status read_chunk(work *w, int64_t done, int64_t most, int64_t *count)
{
    equinv_tensor rows;
    int64_t masks;
    equinv_status status;
    if (most > w->latents.here.shape[0])
        most = w->latents.here.shape[0];
    if ((status = equinv_tensor_rows(&w->latents.here, 0, most, &rows)) ||
        (status = equinv_reader_read(w->reader, &rows, count)))
        return status;
    if (w->mask_reader && ((status = equinv_tensor_rows(&w->mask.here, 0, most, &rows)) ||
                           (status = equinv_reader_read(w->mask_reader, &rows, &masks))))
        return status;
    count_odd_rows(w, done, *count);
    return EQUINV_OK;
}

/* One chunk; *count is 0 at the end. */
static equinv_status project_chunk(work *w, int64_t done, int64_t *count)
{
    equinv_tensor latents, mask, codes;
    equinv_status status;
    if ((status = read_chunk(w, done, w->latents.here.shape[0], count)))
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

/* `written` rows are there from an earlier run: they are read, for what is counted, and no more. */
static int project(work *w, const options *o, int64_t written)
{
    int64_t done = 0, count = 1;
    progress_start("rows");
    while (count > 0) {
        if (progress_step(NULL, done, w->array.shape[0]) ||
            (done < written ? read_chunk(w, done, written - done, &count)
                            : project_chunk(w, done, &count)))
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
    tell_odd(o->latents, w->odd, done, w->first_odd, "other rows are not affected");
    return TOOL_DONE;
}

static int run(int argc, char **argv)
{
    options o = {.projection = PROJECTION_OPTIONS_INIT, .device = EQUINV_CONTEXT_DESC_INIT};
    work w = {0};
    int64_t written = 0;
    int code = tool_parse(&argp, 0, argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.latents)
        return tool_misused("no file of latents was given");
    if (!o.output)
        return tool_misused("-o is missing, expected the file to write");
    if (o.from && (o.projection.group || o.projection.kind_given))
        return tool_misused("--projection has group and kind, expected no --group and no --kind");
    code = o.from ? -1 : projection_group(&o.projection);
    if (code >= 0)
        return code;
    if (o.mask && !o.from && o.projection.desc.group.kind != EQUINV_GROUP_SYMMETRIC)
        return tool_misused("--mask is for --group S, where it says which rows are present");
    if (same_file(o.latents, o.output) || (o.mask && same_file(o.mask, o.output)))
        return tool_fail("%s is read and would be replaced, expected another file for the output",
                         o.output);

    tool_catch_signals();
    code = prepare(&w, &o, &written);
    if (code < 0)
        code = project(&w, &o, written);
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
