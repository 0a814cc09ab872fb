/* equinv neighbours: for every query the k nearest orbits of a data set. */
#include <math.h>
#include <string.h>

#include "tools/tool.h"

typedef struct options {
    const char *data, *queries, *output, *distances;
    int64_t k;
    const char *group;
    bool as_json;
    equinv_projection_desc shape; /* what projection_shape fills in: the group's latents */
    equinv_context_desc device;
} options;

enum { KEY_GROUP = 1, KEY_DISTANCES, KEY_JSON };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->device; break;
    case 'o': o->output = argument; break;
    case KEY_DISTANCES: o->distances = argument; break;
    case KEY_JSON: o->as_json = true; break;
    case 'k': good = option_integer("--k", argument, 1, INT32_MAX, &o->k); break;
    case KEY_GROUP:
        good = option_group(argument, &o->shape.group);
        o->group = argument;
        break;
    case ARGP_KEY_ARG:
        good = !o->queries;
        if (!good)
            tool_misused("unexpected argument \"%s\", expected two files", argument);
        else if (o->data)
            o->queries = argument;
        else
            o->data = argument;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

static const struct argp argp = {
    .options =
        (const struct argp_option[]){
            {"group", KEY_GROUP, "GROUP", 0, GROUP_HELP, 0},
            {"k", 'k', "K", 0, "neighbours of a query; default 5", 0},
            {"output", 'o', "INDEX.npy", 0, "rows of DATA, integers [queries, k], NPY", 0},
            {"distances", KEY_DISTANCES, "FILE.npy", 0, "the orbit distances, [queries, k], NPY",
             0},
            {"json", KEY_JSON, NULL, 0, "print a summary as one JSON object", 0},
            {0},
        },
    .parser = parse,
    .args_doc = "DATA QUERIES -o INDEX.npy --group GROUP",
    .doc = "Finds the k nearest latents of DATA for every latent of QUERIES in the quotient: by "
           "min_g |x "
           "- g y|, exactly, nearest first, equal ones by index.\v"
           "DATA and QUERIES are NPY or IDX, plain or gzipped, with rows of one shape: [B, fields, "
           "|G|], "
           "[B, fields, |G|, H, W], [B, fields * |G|, H, W], [B, D] with D a multiple of |G|; with "
           "--group S [B, rows, channels] or [B, rows], at most 512 rows. Both are held in memory; "
           "output files appear when they are complete.\n"
           "\n"
           "Examples:\n"
           "  equinv neighbours train.npy test.npy --group C4 --k 10 -o nearest.npy\n"
           "  equinv neighbours graphs.npy graphs.npy --group S -o nearest.npy --distances d.npy "
           "--json\n"
           "\n"
           "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .children = (const struct argp_child[]){{&device_argp, 0, NULL, 0}, {0}},
};

typedef struct work {
    equinv_context *ctx;
    equinv_tensor data, queries, index, distance; /* the last two of a chunk */
    equinv_writer *index_writer, *distance_writer;
    double nearest; /* sum of distances to the first neighbour */
} work;

enum { CHUNK = 64 };

/* Both files with rows of one shape and type. */
static int load(work *w, const options *o)
{
    char has[200], expected[200];
    if (load_real(w->ctx, o->data, &w->data) || load_real(w->ctx, o->queries, &w->queries))
        return tool_refused();
    equinv_projection_desc shape = o->shape;
    const int code = projection_shape(o->data, &w->data, &shape);
    if (code >= 0)
        return code;
    bool same = w->queries.ndim == w->data.ndim;
    for (int32_t axis = 1; axis < w->data.ndim && same; axis++)
        same = w->queries.shape[axis] == w->data.shape[axis];
    if (!same)
        return tool_fail("%s has shape %s, expected rows like those of %s, %s", o->queries,
                         shape_text(w->queries.ndim, w->queries.shape, has, sizeof has), o->data,
                         shape_text(w->data.ndim, w->data.shape, expected, sizeof expected));
    if (w->queries.dtype != w->data.dtype)
        return tool_fail("%s has element type %s, expected %s as %s has", o->queries,
                         equinv_dtype_name(w->queries.dtype), equinv_dtype_name(w->data.dtype),
                         o->data);
    if (o->k > w->data.shape[0])
        return tool_fail("--k is %" PRId64 ", expected at most the %" PRId64 " latents of %s", o->k,
                         w->data.shape[0], o->data);
    return -1;
}

static int prepare(work *w, const options *o)
{
    if (equinv_context_create(&o->device, &w->ctx))
        return tool_refused();
    const int code = load(w, o);
    if (code >= 0)
        return code;
    const int64_t shape[2] = {w->queries.shape[0], o->k}, chunk[2] = {CHUNK, o->k};
    if (equinv_tensor_create(w->ctx, EQUINV_I32, 2, chunk, &w->index) ||
        equinv_tensor_create(w->ctx, w->data.dtype, 2, chunk, &w->distance) ||
        equinv_writer_create(w->ctx, o->output, EQUINV_I32, 2, shape, &w->index_writer) ||
        (o->distances &&
         equinv_writer_create(w->ctx, o->distances, w->data.dtype, 2, shape, &w->distance_writer)))
        return tool_refused();
    return -1;
}

static equinv_status find_chunk(work *w, const options *o, int64_t first, int64_t count)
{
    equinv_tensor queries, index, distance;
    equinv_status status;
    if ((status = equinv_tensor_rows(&w->queries, first, count, &queries)) ||
        (status = equinv_tensor_rows(&w->index, 0, count, &index)) ||
        (status = equinv_tensor_rows(&w->distance, 0, count, &distance)) ||
        (status = equinv_neighbours(w->ctx, o->shape.group, &w->data, &queries, o->k, &distance,
                                    &index)) ||
        (status = equinv_writer_write(w->index_writer, &index)))
        return status;
    for (int64_t i = 0; i < count; i++)
        w->nearest += distance.dtype == EQUINV_F32
                          ? (double)((const float *)distance.data)[i * o->k]
                          : ((const double *)distance.data)[i * o->k];
    return w->distance_writer ? equinv_writer_write(w->distance_writer, &distance) : EQUINV_OK;
}

static equinv_status commit(equinv_writer **writer)
{
    equinv_writer *const complete = *writer;
    *writer = NULL; /* released by commit, whatever comes of it */
    return complete ? equinv_writer_commit(complete) : EQUINV_OK;
}

static int find(work *w, const options *o)
{
    const int64_t all = w->queries.shape[0];
    progress_start("queries");
    for (int64_t first = 0; first < all; first += CHUNK) {
        const int64_t left = all - first;
        if (progress_step(NULL, first, all) || find_chunk(w, o, first, left < CHUNK ? left : CHUNK))
            return tool_refused();
    }
    if (progress_step(NULL, all, all) || commit(&w->index_writer) || commit(&w->distance_writer))
        return tool_refused();
    progress_end();
    count_odd(o->data, &w->data, "they are neighbours after all others");
    if (!same_file(o->data, o->queries))
        count_odd(o->queries, &w->queries, "other rows are not affected");
    return -1;
}

static void print_json(const work *w, const options *o)
{
    json j = {.file = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "group", o->group);
    json_integer(&j, "data", w->data.shape[0]);
    json_integer(&j, "queries", w->queries.shape[0]);
    json_integer(&j, "k", o->k);
    json_number(&j, "mean_nearest_distance", w->nearest / (double)w->queries.shape[0]);
    json_close(&j);
}

/* Whether the output would replace what is read. */
static bool replaces_input(const options *o, const char *output)
{
    return same_file(o->data, output) || same_file(o->queries, output);
}

static int run(int argc, char **argv)
{
    options o = {.k = 5, .shape = EQUINV_PROJECTION_DESC_INIT, .device = EQUINV_CONTEXT_DESC_INIT};
    work w = {0};
    int code = tool_parse(&argp, 0, argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.queries)
        return tool_misused("two files were expected, data and queries");
    if (!o.output)
        return tool_misused("-o is missing, expected the file to write");
    if (!o.group)
        return tool_misused("--group is missing, expected the group that acts, e.g. C4, D4 or S");
    if (o.device.device == EQUINV_DEVICE_CUDA)
        return tool_fail(
            "--device is cuda, but neighbours are looked for on the CPU; expected auto or cpu");
    o.device.device = EQUINV_DEVICE_CPU;
    if (replaces_input(&o, o.output) || (o.distances && replaces_input(&o, o.distances)))
        return tool_fail("%s is read and would be replaced, expected another file for the output",
                         replaces_input(&o, o.output) ? o.output : o.distances);
    if (o.distances && strcmp(o.distances, o.output) == 0)
        return tool_misused("--distances and -o are both %s, expected two files", o.output);

    tool_catch_signals();
    code = prepare(&w, &o);
    if (code < 0)
        code = find(&w, &o);
    if (code < 0) {
        if (o.as_json)
            print_json(&w, &o);
        code = TOOL_DONE;
    }
    equinv_writer_abort(w.distance_writer);
    equinv_writer_abort(w.index_writer);
    equinv_tensor_destroy(w.ctx, &w.distance);
    equinv_tensor_destroy(w.ctx, &w.index);
    equinv_tensor_destroy(w.ctx, &w.queries);
    equinv_tensor_destroy(w.ctx, &w.data);
    equinv_context_destroy(w.ctx);
    return code;
}

const command neighbours_command = {"neighbours", "the nearest orbits of a data set", run};
