/* Model files: what is saved is read back bit for bit, and everything else is refused. */
#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/model.h"
#include "tests/util/files.h"
#include "tests/util/locale.h"
#include "tests/util/network.h"

static temp_folder folder;
static char path[160], other[160];

static equinv_context *ctx;
static equinv_model *model, *loaded;

static void folder_new(void)
{
    folder = temp_folder_new();
    snprintf(path, sizeof path, "%s", temp_path(&folder, "good.safetensors"));
    snprintf(other, sizeof other, "%s", temp_path(&folder, "other.safetensors"));
    ctx = context_new();
    model = loaded = NULL;
}

/* Fails if anything but these two is there. */
static void folder_free(void)
{
    equinv_model_destroy(loaded);
    equinv_model_destroy(model);
    equinv_context_destroy(ctx);
    unlink(path);
    unlink(other);
    ck_assert_int_eq(temp_count(&folder), 0);
    temp_folder_free(&folder);
}

/* The folder with a small model, which is saved as `path`. */
static void folder_new_small(void)
{
    folder_new();
    model = network_small(ctx);
    OK(equinv_model_save(model, path));
}

#ifdef EQI_HAVE_CJSON

static void assert_same_models(const equinv_model *a, const equinv_model *b)
{
    ck_assert_int_eq(a->count, b->count);
    const equinv_model_desc *const d = &a->desc, *const e = &b->desc;
    ck_assert(d->group.kind == e->group.kind && d->group.n == e->group.n && d->dtype == e->dtype &&
              d->channels == e->channels && d->height == e->height && d->width == e->width &&
              d->scale == e->scale && d->shift == e->shift && d->seed == e->seed);
    for (int32_t i = 1; i < a->count; i++) {
        equinv_layer_desc s = a->nodes[i]->desc, t = b->nodes[i]->desc;
        ck_assert_str_eq(s.name, t.name);
        for (int k = 0; k < 2; k++)
            ck_assert(!s.from[k] == !t.from[k] && (!s.from[k] || !strcmp(s.from[k], t.from[k])));
        ck_assert(s.op == t.op && s.fields == t.fields && s.kernel == t.kernel &&
                  s.stride == t.stride && s.padding == t.padding && s.dilation == t.dilation &&
                  s.channel_groups == t.channel_groups && s.padding_mode == t.padding_mode &&
                  s.bias == t.bias && s.pool == t.pool && s.slope == t.slope && s.p == t.p &&
                  s.epsilon == t.epsilon && s.momentum == t.momentum && s.sigma == t.sigma &&
                  s.output_padding == t.output_padding && s.upsample == t.upsample &&
                  s.scale == t.scale);
        for (int which = 0; which < EQI_ARRAYS; which++) {
            const equinv_tensor *const x = &a->nodes[i]->array[which];
            const equinv_tensor *const y = &b->nodes[i]->array[which];
            ck_assert_int_eq(x->ndim, y->ndim);
            if (x->ndim)
                ASSERT_SAME(x, y);
        }
    }
    ck_assert_uint_eq(a->parameter_count, b->parameter_count);
}

START_TEST(what_is_saved_is_read_back)
{
    folder_new();
    for (uint64_t seed = 0; seed < 200; seed++) {
        rng r = {30000 + seed};
        const equinv_dtype dtype = seed % 2 ? EQUINV_F32 : EQUINV_F64;
        model = network_random(ctx, &r, (network_options){dtype, seed % 3 == 0});
        network_disturb(&r, model);
        model->desc.scale = rng_uniform(&r) / 3;
        model->desc.shift = rng_uniform(&r) * 1e-30;
        model->desc.seed = rng_next(&r);
        OK(equinv_model_save(model, path));
        OK(equinv_model_load(ctx, path, &loaded));
        assert_same_models(model, loaded);
        equinv_tensor images = network_images(ctx, &r, model, 2, EQUINV_U8), a, b;
        OK(equinv_model_forward(model, false, &images, &a));
        OK(equinv_model_forward(loaded, false, &images, &b));
        ASSERT_SAME(&a, &b);
        equinv_tensor_destroy(ctx, &images);
        equinv_model_destroy(loaded);
        equinv_model_destroy(model);
    }
    model = loaded = NULL;
    folder_free();
}
END_TEST

START_TEST(a_model_without_layers_is_a_model)
{
    folder_new();
    model = model_new(ctx, equinv_dihedral(2), EQUINV_F64, 3, 4, 5);
    OK(equinv_model_save(model, path));
    OK(equinv_model_load(ctx, path, &loaded));
    assert_same_models(model, loaded);
    folder_free();
}
END_TEST

START_TEST(numbers_do_not_depend_on_the_locale)
{
    if (!comma_begin(__func__))
        return;
    folder_new();
    model = network_small(ctx);
    model->desc.scale = 1.0 / 255;
    OK(equinv_model_save(model, path));
    OK(equinv_model_load(ctx, path, &loaded));
    assert_same_models(model, loaded);
    comma_end();
    equinv_model_destroy(loaded);
    OK(equinv_model_load(ctx, path, &loaded));
    assert_same_models(model, loaded);
    folder_free();
}
END_TEST

/* ---- hostile files: a good one with a piece of its header replaced */

typedef struct content {
    char *bytes;
    size_t size, header; /* of all, and of the header after its length */
} content;

static content read_content(const char *name)
{
    content c = {0};
    c.bytes = file_read(name, &c.size);
    for (int i = 7; i >= 0; i--)
        c.header = c.header << 8 | (unsigned char)c.bytes[i];
    return c;
}

/* In patterns ' stands for the quote of the description, \" inside the header's own string. */
static void unquote(const char *pattern, char *text)
{
    for (; *pattern; pattern++) {
        if (*pattern == '\'')
            *text++ = '\\';
        *text++ = *pattern == '\'' ? '"' : *pattern;
    }
    *text = '\0';
}

static content replaced(const content *good, const char *from, const char *to)
{
    char old[512], new[2048];
    unquote(from, old);
    unquote(to, new);
    char *const header = calloc(1, good->header + 1);
    memcpy(header, good->bytes + 8, good->header);
    const char *const at = strstr(header, old);
    ck_assert_msg(at != NULL, "no %s in %s", old, header);
    const size_t before = (size_t)(at - header), after = before + strlen(old);
    content c = {calloc(1, good->size + sizeof new), 0, 0};
    c.header = good->header - strlen(old) + strlen(new);
    c.size = 8 + c.header + (good->size - 8 - good->header);
    memcpy(c.bytes + 8, header, before);
    memcpy(c.bytes + 8 + before, new, strlen(new));
    memcpy(c.bytes + 8 + before + strlen(new), good->bytes + 8 + after, good->size - 8 - after);
    for (int i = 0; i < 8; i++)
        c.bytes[i] = (char)(c.header >> (8 * i));
    free(header);
    return c;
}

static const struct hostile {
    const char *from, *to;
    equinv_status status;
    const char *word;
} hostile[] = {
    {"'format':1", "'format':2", EQUINV_ERR_FORMAT, "\"format\" is 2, expected 1"},
    {"'format':1", "'format':1.5", EQUINV_ERR_FORMAT, "\"format\" 1.5"},
    {"'format':1", "'format':'1'", EQUINV_ERR_FORMAT, "\"format\""},
    {"'format':1,", "", EQUINV_ERR_FORMAT, "lacks the key \"format\""},
    {"'group':'C4'", "'group':'C8'", EQUINV_ERR_UNSUPPORTED, "group is C8"},
    {"'group':'C4'", "'group':'X'", EQUINV_ERR_FORMAT, "expected C1"},
    {"'group':'C4'", "'group':4", EQUINV_ERR_FORMAT, "\"group\" 4, expected a string"},
    {"'group':'C4'", "'grop':'C4'", EQUINV_ERR_FORMAT, "\"grop\""},
    {"'group':'C4'", "'group':'C4','group':'C4'", EQUINV_ERR_FORMAT, "twice"},
    {"'group':'C4'", "'group':'D4'", EQUINV_ERR_FORMAT, "weights"},
    {"'dtype':'f32'", "'dtype':'f16'", EQUINV_ERR_FORMAT, "\"dtype\" \"f16\""},
    {"'dtype':'f32'", "'dtype':'f64'", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"'seed':'1'", "'seed':1", EQUINV_ERR_FORMAT, "\"seed\" 1, expected a string"},
    {"'seed':'1'", "'seed':'x'", EQUINV_ERR_FORMAT, "\"seed\" \"x\""},
    {"'seed':'1'", "'seed':''", EQUINV_ERR_FORMAT, "\"seed\""},
    {"'seed':'1'", "'seed':'18446744073709551616'", EQUINV_ERR_FORMAT, "below 2^64"},
    {"'shape':[1,8,8]", "'shape':[1,8]", EQUINV_ERR_FORMAT, "\"input\" has a \"shape\""},
    {"'shape':[1,8,8]", "'shape':[1,8,8.5]", EQUINV_ERR_FORMAT, "three whole numbers"},
    {"'shape':[1,8,8]", "'shape':[1,8,0]", EQUINV_ERR_FORMAT, "width is 0"},
    {"'shape':[1,8,8]", "'shape':[1,8,-8]", EQUINV_ERR_FORMAT, "three whole numbers"},
    {"'shape':[1,8,8]", "'shape':[1,8,1e30]", EQUINV_ERR_FORMAT, "three whole numbers"},
    {"'shape':[1,8,8]", "'shape':[1e11,8e11,8e11]", EQUINV_ERR_FORMAT, "2^63"},
    {"'shape':[1,8,8]", "'shape':[2,8,8]", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"'scale':1,", "", EQUINV_ERR_FORMAT, "\"input\" lacks the key \"scale\""},
    {"'scale':1", "'scale':null", EQUINV_ERR_FORMAT, "\"scale\""},
    {"'scale':1", "'scale':1e999", EQUINV_ERR_FORMAT, "\"scale\""},
    {"'shift':0", "'shift':0,'gain':1", EQUINV_ERR_FORMAT, "\"gain\", expected only shape"},
    {"'layers':[", "'layers':7,'more':[", EQUINV_ERR_FORMAT, "\"more\""},
    {"'layers':[", "'layers':[7,", EQUINV_ERR_FORMAT, "layer number 0"},
    {"'layers':[", "'layers':[{'op':'relu','from':['input'],'slope':0},", EQUINV_ERR_FORMAT,
     "layer number 0 has no \"name\""},
    {"'name':'norm1'", "'name':'conv1'", EQUINV_ERR_FORMAT, "taken"},
    {"'name':'norm1'", "'name':'no rm'", EQUINV_ERR_FORMAT, "no rm"},
    {"'name':'norm1'", "'name':''", EQUINV_ERR_FORMAT, "name is \"\""},
    {"'name':'norm1'", "'name':{}", EQUINV_ERR_FORMAT, "layer number 1"},
    {"'op':'relu'", "'op':'gelu'", EQUINV_ERR_FORMAT, "layer \"relu1\" has \"op\" \"gelu\""},
    {"'op':'relu',", "", EQUINV_ERR_FORMAT, "layer \"relu1\" lacks the key \"op\""},
    {"'op':'relu'", "'op':'dropout'", EQUINV_ERR_FORMAT, "layer \"relu1\" has the key \"slope\""},
    {"'from':['conv1']", "'from':['sum']", EQUINV_ERR_FORMAT, "layer \"norm1\": from[0]"},
    {"'from':['conv1']", "'from':['norm1']", EQUINV_ERR_FORMAT, "layer \"norm1\": from[0]"},
    {"'from':['conv1']", "'from':'conv1'", EQUINV_ERR_FORMAT, "layer \"norm1\" has \"from\""},
    {"'from':['conv1']", "'from':[['conv1']]", EQUINV_ERR_FORMAT, "layer \"norm1\" has a \"from\""},
    {"'from':['conv1']", "'from':[]", EQUINV_ERR_FORMAT, "one layer's name"},
    {"'from':['conv1']", "'from':['conv1','conv1']", EQUINV_ERR_FORMAT, "one layer's name"},
    {"'from':['pool1','conv2']", "'from':['pool1']", EQUINV_ERR_FORMAT, "two layers' names"},
    {"'from':['pool1','conv2']", "'from':['conv1','conv2']", EQUINV_ERR_FORMAT,
     "layer \"sum\": \"conv2\" has shape"},
    {"'kernel':3", "'kernel':5", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"'kernel':3", "'kernel':-3", EQUINV_ERR_FORMAT, "layer \"conv1\" has \"kernel\" -3"},
    {"'kernel':3", "'kernel':300", EQUINV_ERR_FORMAT, "layer \"conv1\": height"},
    {"'kernel':3", "'kernel':9007199254740992", EQUINV_ERR_FORMAT, "layer \"conv1\": kernel"},
    {"'kernel':3", "'kernel':true", EQUINV_ERR_FORMAT, "\"kernel\" of another kind"},
    {"'kernel':3,", "", EQUINV_ERR_FORMAT, "layer \"conv1\" lacks the key \"kernel\""},
    {"'fields':2", "'fields':1099511627776", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"'channel_groups':1", "'channel_groups':0", EQUINV_ERR_FORMAT, "channel_groups is 0"},
    {"'padding_mode':'zeros'", "'padding_mode':'mirror'", EQUINV_ERR_FORMAT,
     "one of \"zeros\" \"circular\""},
    {"'bias':true", "'bias':1", EQUINV_ERR_FORMAT, "\"bias\" 1, expected true or false"},
    {"'bias':true", "'bias':false", EQUINV_ERR_FORMAT, "conv1.bias"},
    {"'bias':false", "'bias':true", EQUINV_ERR_FORMAT, "conv2.bias"},
    {"'pool':'max'", "'pool':'maximum'", EQUINV_ERR_FORMAT, "layer \"pool1\" has \"pool\""},
    {"'pool':'max'", "'pool':'group-max'", EQUINV_ERR_FORMAT, "layer \"pool1\" has the key"},
    {"'pool':'max',", "", EQUINV_ERR_FORMAT, "layer \"pool1\" lacks the key \"pool\""},
    {"'pool':'global-average'", "'pool':'average'", EQUINV_ERR_FORMAT, "layer \"mean\" lacks"},
    {"'epsilon':", "'epsilon':-", EQUINV_ERR_FORMAT, "layer \"norm1\": epsilon"},
    {"'momentum':", "'momentum':9", EQUINV_ERR_FORMAT, "layer \"norm1\": momentum"},
    {"'slope':0", "'slope':2", EQUINV_ERR_FORMAT, "layer \"relu1\": slope is 2"},
    {"'p':0.5", "'p':1", EQUINV_ERR_FORMAT, "layer \"drop\": p is 1"},
    {"]}\"", "]}x\"", EQUINV_ERR_FORMAT, "other.safetensors"},
    {"]}\"", "]\"", EQUINV_ERR_FORMAT, "other.safetensors"},
    {"\"equinv\":", "\"equinw\":", EQUINV_ERR_FORMAT, "equinv"},
    {"\"__metadata__\"", "\"__metadatb__\"", EQUINV_ERR_FORMAT, "other.safetensors"},
    {"\"conv1.weights\"", "\"conv1.weight\"", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"\"norm1.running_var\"", "\"norm1.running_vas\"", EQUINV_ERR_FORMAT, "norm1.running_var"},
    {"[2,1,3,3]", "[1,2,3,3]", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"[2,1,3,3]", "[18]", EQUINV_ERR_FORMAT, "conv1.weights"},
    {"\"F32\"", "\"I32\"", EQUINV_ERR_FORMAT, "other.safetensors"},
};
enum { HOSTILE = sizeof hostile / sizeof *hostile };

START_TEST(hostile_files_are_refused)
{
    folder_new_small();
    const content good = read_content(path);
    for (int i = 0; i < HOSTILE; i++) {
        content bad = replaced(&good, hostile[i].from, hostile[i].to);
        file_write(other, bad.bytes, bad.size);
        free(bad.bytes);
        const equinv_status status = equinv_model_load(ctx, other, &loaded);
        ck_assert_msg(status == hostile[i].status, "%s -> %s gave %s: %s", hostile[i].from,
                      hostile[i].to, equinv_status_name(status), equinv_last_error());
        ck_assert_msg(strstr(equinv_last_error(), hostile[i].word) != NULL,
                      "%s -> %s says \"%s\", expected \"%s\" in it", hostile[i].from, hostile[i].to,
                      equinv_last_error(), hostile[i].word);
        ck_assert_msg(strstr(equinv_last_error(), "other.safetensors") != NULL, "%s",
                      equinv_last_error());
        ck_assert_ptr_null(loaded);
    }
    free(good.bytes);
    folder_free();
}
END_TEST

START_TEST(tensors_beyond_the_model_are_refused)
{
    folder_new();
    model = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 8, 8);
    model_add(model, conv_of("a", 2, 3));
    model_add(model, conv_of("b", 2, 3));
    OK(equinv_model_save(model, path));
    const content good = read_content(path);
    /* The description loses its last layer, the tensors stay. */
    char *const header = good.bytes + 8;
    char *const second = strstr(header, ",{\\\"name\\\":\\\"b\\\"");
    char *const end = strstr(header, "]}\"");
    ck_assert(second && end && second < end);
    memmove(second, end, 3);
    second[3] = ' ';
    memset(second + 3, ' ', (size_t)(end - second));
    file_write(other, good.bytes, good.size);
    FAILS(EQUINV_ERR_FORMAT, "b.", equinv_model_load(ctx, other, &loaded));
    free(good.bytes);
    folder_free();
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    folder_new_small();
    content good = read_content(path);
    const size_t size = good.size;
    for (size_t length = 0; length < size; length += length < 16 ? 1 : 37) {
        good.size = length;
        file_write(other, good.bytes, good.size);
        const equinv_status status = equinv_model_load(ctx, other, &loaded);
        ck_assert_msg(status == EQUINV_ERR_FORMAT, "%zu bytes gave %s", length,
                      equinv_status_name(status));
    }
    good.size = size + 1;
    file_write(other, good.bytes, good.size);
    FAILS(EQUINV_ERR_FORMAT, "other.safetensors", equinv_model_load(ctx, other, &loaded));
    free(good.bytes);
    folder_free();
}
END_TEST

/* Every byte of the header wrong once: refused or read, never worse. */
START_TEST(damaged_headers_do_no_harm)
{
    folder_new_small();
    content good = read_content(path);
    rng r = {1};
    for (size_t i = 8; i < 8 + good.header; i += 3) {
        const char before = good.bytes[i];
        good.bytes[i] = (char)(before ^ (1 << rng_range(&r, 0, 6)));
        file_write(other, good.bytes, good.size);
        const equinv_status status = equinv_model_load(ctx, other, &loaded);
        ck_assert_msg(status == EQUINV_OK || status == EQUINV_ERR_FORMAT ||
                          status == EQUINV_ERR_UNSUPPORTED,
                      "byte %zu gave %s: %s", i, equinv_status_name(status), equinv_last_error());
        equinv_model_destroy(loaded);
        loaded = NULL;
        good.bytes[i] = before;
    }
    free(good.bytes);
    folder_free();
}
END_TEST

START_TEST(loading_with_any_allocation_failing)
{
    folder_new_small();
    int failures = 0;
    bool complete = false;
    for (int64_t allowed = 0; !complete; allowed++) {
        fault_allocator f = {.until = -1};
        equinv_context *const poor = context_of_faults(&f);
        equinv_model *some = NULL;
        f.until = f.count + allowed;
        equinv_status status = equinv_model_load(poor, path, &some);
        ck_assert(!some == (status != EQUINV_OK));
        if (status == EQUINV_OK)
            status = equinv_model_save(some, other);
        if (status != EQUINV_OK) {
            failures++;
            ck_assert_msg(status == EQUINV_ERR_NOMEM, "%s", equinv_last_error());
            ck_assert_int_eq(access(other, F_OK), -1);
        }
        complete = status == EQUINV_OK;
        equinv_model_destroy(some);
        equinv_context_destroy(poor);
        ck_assert_int_eq(f.live, 0);
        ck_assert_int_eq(f.wrong_size, 0);
    }
    ck_assert(failures > 20);
    folder_free();
}
END_TEST

#else

START_TEST(without_cjson_loading_is_unsupported)
{
    folder_new_small();
    FAILS(EQUINV_ERR_UNSUPPORTED, "cJSON", equinv_model_load(ctx, path, &loaded));
    FAILS(EQUINV_ERR_UNSUPPORTED, "cJSON", equinv_model_load_escnn(model, path));
    folder_free();
}
END_TEST

#endif

START_TEST(wrong_arguments)
{
    folder_new_small();
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_save(NULL, path));
    FAILS(EQUINV_ERR_ARG, "path", equinv_model_save(model, NULL));
    FAILS(EQUINV_ERR_ARG, "path", equinv_model_save(model, ""));
    FAILS(EQUINV_ERR_IO, folder.path, equinv_model_save(model, folder.path));
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_model_load(NULL, path, &loaded));
    FAILS(EQUINV_ERR_ARG, "path", equinv_model_load(ctx, NULL, &loaded));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_load(ctx, path, NULL));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_load_escnn(NULL, path));
    FAILS(EQUINV_ERR_ARG, "path", equinv_model_load_escnn(model, NULL));
#ifdef EQI_HAVE_CJSON
    FAILS(EQUINV_ERR_IO, "other.safetensors", equinv_model_load(ctx, other, &loaded));
    FAILS(EQUINV_ERR_IO, "other.safetensors", equinv_model_load_escnn(model, other));
#endif
    ck_assert_ptr_null(loaded);
    folder_free();
}
END_TEST

/* A limit on file sizes stands for a full disk: what was there before stays. */
START_TEST(a_full_disk_leaves_the_old_file)
{
    folder_new();
    model = network_small(ctx);
    struct rlimit before, low;
    file_write(path, "old", 3);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = 1000;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    const equinv_status status = equinv_model_save(model, path);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_msg(status == EQUINV_ERR_IO, "%s: %s", equinv_status_name(status),
                  equinv_last_error());
    struct stat information;
    ck_assert_int_eq(stat(path, &information), 0);
    ck_assert_int_eq(information.st_size, 3);
    folder_free();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
#ifdef EQI_HAVE_CJSON
        {what_is_saved_is_read_back, 1},
        {a_model_without_layers_is_a_model, 1},
        {numbers_do_not_depend_on_the_locale, 1},
        {hostile_files_are_refused, 1},
        {tensors_beyond_the_model_are_refused, 1},
        {every_truncation_is_refused, 1},
        {damaged_headers_do_no_harm, 1},
        {loading_with_any_allocation_failing, 1},
#else
        {without_cjson_loading_is_unsupported, 1},
#endif
        {wrong_arguments, 1},
        {a_full_disk_leaves_the_old_file, 1},
    };
    return run_tests("model_file", tests, sizeof tests / sizeof *tests);
}
