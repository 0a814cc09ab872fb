/* equinv extract: latents of a model's layer for a file of images, or their invariant codes. */
#include "tools/tool.h"

typedef struct options {
    const char *model, *images, *output;
    bool projected;
    equinv_extract_desc extract;
    projection_options projection;
    equinv_context_desc device;
} options;

enum { KEY_LAYER = 1, KEY_BATCH, KEY_PROJECT };

static bool take_argument(options *o, char *argument)
{
    if (!o->model)
        o->model = argument;
    else if (!o->images)
        o->images = argument;
    else
        tool_misused("unexpected argument \"%s\", expected a model and a file of images", argument);
    return o->model == argument || o->images == argument;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->projection;
        state->child_inputs[1] = &o->device;
        break;
    case 'o': o->output = argument; break;
    case KEY_LAYER: o->extract.layer = argument; break;
    case KEY_BATCH:
        good = option_integer("--batch", argument, 1, 1 << 20, &o->extract.batch);
        break;
    case KEY_PROJECT:
        good = option_kind("--project", argument, &o->projection.desc.kind);
        if (good && kind_of_rows(o->projection.desc.kind)) {
            tool_misused("--project is \"%s\", which sorts rows; layers of models have fields",
                         argument);
            good = false;
        }
        o->projected = true;
        break;
    case ARGP_KEY_ARG: good = take_argument(o, argument); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

static const struct argp argp = {
    .options =
        (const struct argp_option[]){
            {"output", 'o', "OUT.npy", 0, "the latents or codes, NPY", 0},
            {"layer", KEY_LAYER, "NAME", 0,
             "whose output is taken; default: the last layer with regular fields", 0},
            {"batch", KEY_BATCH, "N", 0,
             "images at a time; default: as the CPU's cache likes it, or a GPU", 0},
            {"project", KEY_PROJECT, "KIND", 0,
             "write invariant codes instead: linear, max, min, mean, mean-relu, mean-abs, "
             "mean-square, moment3, sorted or orbit",
             2},
            {0},
        },
    .parser = parse,
    .args_doc = "MODEL IMAGES -o OUT.npy",
    .doc =
        "Runs images through a model up to a layer and writes what comes out there: latents [N, "
        "fields, |G|, H, W], or their invariant codes.\v"
        "MODEL is a file that 'equinv train' wrote. IMAGES is IDX or NPY, plain or gzipped, [N, "
        "channels, H, W] or, for one channel, [N, H, W]. Images pass through in chunks, so both "
        "files may be larger than memory; a latent does not depend on its chunk. OUT.npy appears "
        "when it is complete.\n"
        "\n"
        "Examples:\n"
        "  equinv extract digits.safetensors t10k-images-idx3-ubyte.gz -o latents.npy\n"
        "  equinv extract digits.safetensors images.npy -o codes.npy --project max\n"
        "\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .children =
        (const struct argp_child[]){{&templates_argp, 0, NULL, 0}, {&device_argp, 0, NULL, 0}, {0}},
};

static int run(int argc, char **argv)
{
    options o = {.extract = EQUINV_EXTRACT_DESC_INIT,
                 .projection = PROJECTION_OPTIONS_INIT,
                 .device = EQUINV_CONTEXT_DESC_INIT};
    equinv_context *ctx = NULL;
    equinv_model *model = NULL;
    equinv_projection *projection = NULL;
    int code = tool_parse(&argp, 0, argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.images)
        return tool_misused("expected a model and a file of images, %s was given",
                            o.model ? "one file" : "nothing");
    if (!o.output)
        return tool_misused("-o is missing, expected the file to write");
    if (o.projection.templates_given && !o.projected)
        return tool_misused("--k, --seed, --templates, --scaled and --impl need --project KIND");
    if (same_file(o.model, o.output) || same_file(o.images, o.output))
        return tool_fail("%s is read and would be replaced, expected another file for the output",
                         o.output);

    tool_catch_signals();
    o.extract.progress = progress_step;
    if (equinv_context_create(&o.device, &ctx) || equinv_model_load(ctx, o.model, &model) ||
        (o.projected && equinv_projection_create_for_layer(model, o.extract.layer,
                                                           &o.projection.desc, &projection))) {
        code = tool_refused();
    } else {
        progress_start("images");
        if (equinv_extract_file(model, &o.extract, o.images, projection, o.output)) {
            code = tool_refused();
        } else {
            progress_end();
            code = TOOL_DONE;
        }
    }
    equinv_projection_destroy(projection);
    equinv_model_destroy(model);
    equinv_context_destroy(ctx);
    return code;
}

const command extract_command = {"extract", "latents of a model's layer, or their codes", run};
