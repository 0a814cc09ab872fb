/*
 * kind checkpoint: a model built from the case's list of layers, filled from an escnn checkpoint in
 * evaluation form. Layers are texts such as
 *     "R2Conv trivial->2 regular k3 p1"   "InnerBatchNorm"   "ReLU"
 * with options k, p, s, d, g after the fields; a layer's name is its number.
 */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static const char checkpoint_file[] = "eval.safetensors";

static void destroy_model(void *model)
{
    equinv_model_destroy(model);
}

typedef struct side {
    int64_t count;
    bool regular;
} side;

/* "regular", "2 regular"; several kinds of fields are SKIPPED. */
static side want_side(golden_case *c, const char *layer, char *const *words, int count)
{
    side s = {1, false};
    if (count > 2)
        stop_case(c, SKIPPED, "layer \"%s\": mixed field lists are not built", layer);
    if (count == 2) {
        char *end;
        s.count = strtoll(words[0], &end, 10);
        if (*end || s.count < 1 || s.count > 1 << 20)
            MALFORMED(c, "layer \"%s\" has \"%s\" where a number of fields is expected", layer,
                      words[0]);
    }
    if (count == 0)
        MALFORMED(c, "layer \"%s\" has no fields on one side", layer);
    const char *const word = words[count - 1];
    s.regular = strcmp(word, "regular") == 0;
    if (!s.regular && strcmp(word, "trivial") != 0)
        stop_case(c, SKIPPED, "layer \"%s\": fields \"%s\" are not built", layer, word);
    return s;
}

/* "k3": an option of one letter; false if the word is none. */
static bool read_option(const char *word, equinv_layer_desc *desc)
{
    const struct {
        char letter;
        int64_t *value;
    } options[] = {{'k', &desc->kernel},
                   {'p', &desc->padding},
                   {'s', &desc->stride},
                   {'d', &desc->dilation},
                   {'g', &desc->channel_groups}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const size_t digits = strspn(word + 1, "0123456789");
        if (word[0] == options[i].letter && digits > 0 && digits < 10 && !word[1 + digits]) {
            *options[i].value = strtoll(word + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

/* Whether the checkpoint has a bias for this layer; a case that lists no keys has one. */
static bool layer_has_bias(const golden_case *c, int number)
{
    const cJSON *const keys = cJSON_GetObjectItemCaseSensitive(c->json, "keys_eval");
    char key[48];
    snprintf(key, sizeof key, "%d.expanded_bias", number);
    return !keys || cJSON_GetObjectItemCaseSensitive(keys, key) != NULL;
}

static void read_conv(golden_case *c, const char *layer, char **words, int count,
                      equinv_layer_desc *desc)
{
    int arrow = 0, options = count;
    while (arrow < count && strcmp(words[arrow], "->") != 0)
        arrow++;
    if (arrow == count)
        MALFORMED(c, "layer \"%s\" has no \"->\"", layer);
    desc->kernel = 0;
    while (options > arrow + 1 && read_option(words[options - 1], desc))
        options--;
    const side in = want_side(c, layer, words, arrow);
    const side out = want_side(c, layer, words + arrow + 1, options - arrow - 1);
    if (desc->kernel < 1)
        MALFORMED(c, "layer \"%s\" has no kernel size", layer);
    if (!in.regular && !out.regular)
        stop_case(c, SKIPPED, "layer \"%s\": trivial to trivial fields is not built", layer);
    desc->op = out.regular ? EQUINV_LAYER_CONV : EQUINV_LAYER_CONV_PLANE;
    desc->fields = out.count;
}

/* Splits at spaces, and around "->". */
static int split(char *text, size_t size, const char *layer, char **words, int limit)
{
    size_t used = 0;
    for (const char *p = layer; *p && used + 5 < size; p++) {
        const bool arrow = p[0] == '-' && p[1] == '>';
        used += (size_t)snprintf(text + used, size - used, arrow ? " -> " : "%c", *p);
        p += arrow;
    }
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word && count < limit;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    return count;
}

static void add_layer(golden_case *c, equinv_model *model, const char *layer, int number)
{
    char text[512] = "", name[16];
    char *words[32];
    const int count = split(text, sizeof text, layer, words, 32);
    equinv_layer_desc desc = EQUINV_LAYER_DESC_INIT;
    snprintf(name, sizeof name, "%d", number);
    desc.name = name;
    if (count == 0)
        MALFORMED(c, "layer %d is empty", number);
    if (strcmp(words[0], "R2Conv") == 0) {
        desc.bias = layer_has_bias(c, number);
        read_conv(c, layer, words + 1, count - 1, &desc);
    } else if (strcmp(words[0], "InnerBatchNorm") == 0 && count == 1) {
        desc.op = EQUINV_LAYER_BATCH_NORM;
    } else if (strcmp(words[0], "ReLU") == 0 && count == 1) {
        desc.op = EQUINV_LAYER_RELU;
    } else {
        stop_case(c, SKIPPED, "layer \"%s\" is not built", layer);
    }
    TRY(c, equinv_model_add(model, &desc));
}

static equinv_model *build_model(golden_case *c, equinv_group g, equinv_dtype dtype)
{
    const equinv_tensor src = want_axes(c, "src", 4);
    const cJSON *const layers = want_item(c, "layers"), *layer;
    equinv_model_desc desc = EQUINV_MODEL_DESC_INIT;
    equinv_model *model = NULL;
    int number = 0;
    desc.group = g;
    desc.dtype = dtype;
    desc.channels = src.shape[1];
    desc.height = src.shape[2], desc.width = src.shape[3];
    TRY(c, equinv_model_create(c->ctx, &desc, &model));
    own_object(c, model, destroy_model);
    if (!cJSON_IsArray(layers) || cJSON_GetArraySize(layers) == 0)
        MALFORMED(c, "\"layers\" of case.json is no list");
    cJSON_ArrayForEach(layer, layers)
    {
        if (!cJSON_IsString(layer))
            MALFORMED(c, "\"layers\" of case.json has an entry that is no text");
        add_layer(c, model, layer->valuestring, number++);
    }
    return model;
}

void run_checkpoint(golden_case *c)
{
    const equinv_group g = want_group(c, "group");
    want_grid_group(c, g);
    const cJSON *const files = cJSON_GetObjectItemCaseSensitive(c->json, "files");
    if (files && !cJSON_GetObjectItemCaseSensitive(files, checkpoint_file))
        stop_case(c, SKIPPED, "there is no evaluation form (%s)", checkpoint_file);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", c->folder, checkpoint_file);
    for (int d = 0; d < 2; d++) {
        set_how(c, golden_dtypes[d], NULL, NULL);
        equinv_model *const model = build_model(c, g, golden_dtypes[d]);
        TRY(c, equinv_model_load_escnn(model, path));
        const equinv_tensor src = want_array(c, "src");
        equinv_tensor dst;
        TRY(c, equinv_model_forward(model, false, &src, &dst));
        compare_array(c, "dst", &dst, golden_dtypes[d]);
    }
}
#endif
