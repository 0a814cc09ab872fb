/* The boundary to the plugin: files that are none, plugins of other builds, machines without a GPU. */
#define _GNU_SOURCE /* realpath */
#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/cuda_stream.h"
#include "tests/util/files.h"

#define PLUGIN_FILE "libequinv-cuda.so"

/* What every test starts from, in one process or in many. */
static char given_path[PATH_MAX];

static void forget_environment(void)
{
    unsetenv("EQUINV_BACKEND");
    unsetenv("EQUINV_VERBOSE");
    unsetenv("EQI_CUDA_HOST_DEVICES");
    setenv("EQUINV_BACKEND_PATH", given_path, 1);
}

/* build/tests/cuda/plugin and "../../bin/equinv" -> build/tests/cuda/../../bin/equinv */
static const char *beside_program(const char *name)
{
    static char path[PATH_MAX + 64];
    const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    ck_assert(length > 0);
    path[length] = '\0';
    char *const end = strrchr(path, '/') + 1;
    snprintf(end, sizeof path - (size_t)(end - path), "%s", name);
    return path;
}

static equinv_status create(equinv_device_kind kind, int32_t index, equinv_context **ctx)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.device = kind;
    desc.device_index = index;
    desc.threads = 1;
    return equinv_context_create(&desc, ctx);
}

static void check_works(equinv_context *ctx)
{
    rng r = {1};
    equinv_tensor x = tensor_random(ctx, &r, EQUINV_F32, 2, 3, 5), y = tensor_like(ctx, &x);
    OK(equinv_relu_forward(ctx, 0.0, &x, &y));
    for (int64_t i = 0; i < equinv_tensor_count(&x); i++)
        ck_assert(tensor_get(&y, i) == (tensor_get(&x, i) > 0 ? tensor_get(&x, i) : 0));
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &y);
}

/* The program's answer to `equinv info`. */
static void run_info(char *text, size_t size)
{
    char line[PATH_MAX + 128];
    snprintf(line, sizeof line, "'%s' info 2>&1", beside_program("../../bin/equinv"));
    FILE *const pipe = popen(line, "r");
    ck_assert_ptr_nonnull(pipe);
    const size_t length = fread(text, 1, size - 1, pipe);
    text[length] = '\0';
    ck_assert_msg(pclose(pipe) == 0, "%s: %s", line, text);
}

static void check_info(const char *word)
{
    char text[4096];
    run_info(text, sizeof text);
    int lines = 0;
    const char *cuda = NULL;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "cuda: ", 6) == 0) {
            lines++;
            cuda = line;
        }
    }
    ck_assert_msg(lines == 1 && strncmp(cuda, "cuda: unavailable: ", 19) == 0, "info says\n%s",
                  text);
    ck_assert_msg(strstr(cuda, word), "\"%s\" is not in info's\n%s", word, text);
    ck_assert_ptr_nonnull(strstr(text, "device: cpu, "));
}

/* CUDA is refused with the word wherever it is asked for, and AUTO goes on with the CPU. */
static void check_refused(const char *word)
{
    int here;
    equinv_context *ctx = (equinv_context *)&here;
    FAILS(EQUINV_ERR_NO_BACKEND, word, create(EQUINV_DEVICE_CUDA, 0, &ctx));
    ck_assert_ptr_nonnull(
        strstr(equinv_last_error(), "device asks for cuda, which is unavailable: "));
    ck_assert(ctx == (equinv_context *)&here);
    setenv("EQUINV_BACKEND", "cuda", 1);
    FAILS(EQUINV_ERR_NO_BACKEND, word, create(EQUINV_DEVICE_AUTO, 0, &ctx));
    ck_assert_ptr_nonnull(
        strstr(equinv_last_error(), "EQUINV_BACKEND asks for cuda, which is unavailable: "));
    check_info(word);
    unsetenv("EQUINV_BACKEND");
    check_info(word);

    OK(create(EQUINV_DEVICE_AUTO, 0, &ctx));
    ck_assert_int_eq(equinv_context_device(ctx).kind, EQUINV_DEVICE_CPU);
    const char *const why = strstr(equinv_context_description(ctx), "; cuda: unavailable: ");
    ck_assert_msg(why && strstr(why, word), "the description is \"%s\", expected \"%s\"",
                  equinv_context_description(ctx), word);
    check_works(ctx);
    equinv_context_destroy(ctx);
    OK(create(EQUINV_DEVICE_CPU, 0, &ctx));
    check_works(ctx);
    equinv_context_destroy(ctx);
}

START_TEST(no_plugin_there)
{
    forget_environment();
    temp_folder folder = temp_folder_new();
    const char *const text = temp_path(&folder, "text.so"), *const inner = temp_path(&folder, "in");
    file_write(text, "no library\n", 11);
    file_write(temp_path(&folder, "empty.so"), "", 0);
    ck_assert_int_eq(mkdir(inner, 0700), 0);
    ck_assert_int_eq(mkdir(temp_path(&folder, "in/" PLUGIN_FILE), 0700), 0);
    const struct {
        const char *path, *word;
    } cases[] = {
        {"/no/such/place", "expected a plugin file or a folder with " PLUGIN_FILE},
        {"./no-such-file.so", "expected a plugin file or a folder with " PLUGIN_FILE},
        {folder.path, "expected a plugin file or a folder with " PLUGIN_FILE},
        {inner, "expected a plugin file or a folder with " PLUGIN_FILE},
        {"/dev/null", "expected a plugin file or a folder with " PLUGIN_FILE},
        {text, "the plugin cannot be loaded: "},
        {temp_path(&folder, "empty.so"), "the plugin cannot be loaded: "},
        {PLUGIN_FILE, "expected a path with a slash"},
        {"..", "expected a path with a slash"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("EQUINV_BACKEND_PATH", cases[i].path, 1);
        check_refused(cases[i].word);
    }
    forget_environment();
    rmdir(temp_path(&folder, "in/" PLUGIN_FILE));
    rmdir(inner);
    temp_folder_free(&folder);
}
END_TEST

static const char other_sources[] = ": it was built from other sources than this library";

START_TEST(plugins_of_other_builds)
{
    static const struct {
        const char *file, *word;
    } cases[] = {
        {"no_entry", "it has no symbol equinv_backend_cuda_1"},
        {"no_plugin", "gives no backend"},
        {"other_abi", other_sources},
        {"other_structs", " was built with other options than this library"},
    };
    forget_environment();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        snprintf(name, sizeof name, "plugins/%s.so", cases[i].file);
        ck_assert_msg(access(beside_program(name), R_OK) == 0, "%s was not built", name);
        setenv("EQUINV_BACKEND_PATH", beside_program(name), 1);
        check_refused(cases[i].word);
    }
    forget_environment();
}
END_TEST

START_TEST(cpu_asked_for)
{
    forget_environment();
    setenv("EQUINV_BACKEND_PATH", "/no/such/place", 1);
    setenv("EQUINV_BACKEND", "cpu", 1);
    equinv_context *ctx = NULL;
    OK(create(EQUINV_DEVICE_AUTO, 0, &ctx));
    ck_assert_ptr_nonnull(strstr(equinv_context_description(ctx), "; cuda: not asked for"));
    check_works(ctx);
    equinv_context_destroy(ctx);
    check_info("expected a plugin file or a folder with");
    forget_environment();
}
END_TEST

/* Whether the plugin of another interface in the current folder is met. */
static bool finds_it_here(void)
{
    equinv_context *ctx = NULL;
    char text[4096];
    const bool refused = create(EQUINV_DEVICE_CUDA, 0, &ctx) != EQUINV_OK;
    const bool by_library = refused && strstr(equinv_last_error(), other_sources);
    equinv_context_destroy(ctx);
    run_info(text, sizeof text);
    ck_assert_int_eq(by_library, strstr(text, other_sources) != NULL);
    return by_library;
}

START_TEST(never_the_current_folder)
{
    forget_environment();
    char before[PATH_MAX];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    temp_folder folder = temp_folder_new();
    size_t size;
    char *const content = file_read(beside_program("plugins/other_abi.so"), &size);
    file_write(temp_path(&folder, PLUGIN_FILE), content, size);
    free(content);
    ck_assert_int_eq(chdir(folder.path), 0);
    setenv("EQUINV_BACKEND_PATH", "./", 1);
    ck_assert(finds_it_here());
    setenv("EQUINV_BACKEND_PATH", "./" PLUGIN_FILE, 1);
    ck_assert(finds_it_here());
    unsetenv("EQUINV_BACKEND_PATH");
    ck_assert(!finds_it_here());
    static const char *const elsewhere[] = {"", PLUGIN_FILE, ".", "/no/such/place"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        setenv("EQUINV_BACKEND_PATH", elsewhere[i], 1);
        ck_assert_msg(!finds_it_here(), "found with \"%s\"", elsewhere[i]);
    }
    ck_assert_int_eq(chdir(before), 0);
    forget_environment();
    temp_folder_free(&folder);
}
END_TEST

/* ---- with a plugin that works ----------------------------------------------------------------- */

START_TEST(no_gpu)
{
    forget_environment();
    if (!cuda_host()) {
        SKIP("this is not the host's plugin");
        return;
    }
    setenv("EQI_CUDA_HOST_DEVICES", "0", 1);
    check_refused("no GPU was found");
    forget_environment();
}
END_TEST

START_TEST(device_index)
{
    forget_environment();
    equinv_context *ctx = NULL;
    if (create(EQUINV_DEVICE_CUDA, 0, &ctx) != EQUINV_OK) {
        SKIP("%s", equinv_last_error());
        return;
    }
    ck_assert_int_eq(strncmp(equinv_context_description(ctx), "cuda:0, ", 8), 0);
    equinv_context_destroy(ctx);
    equinv_context *const untouched = ctx;
    FAILS(EQUINV_ERR_NO_BACKEND, "device_index is 1000, expected 0 to ",
          create(EQUINV_DEVICE_CUDA, 1000, &ctx));
    FAILS(EQUINV_ERR_ARG, "device_index is -1", create(EQUINV_DEVICE_CUDA, -1, &ctx));
    ck_assert(ctx == untouched);
}
END_TEST

START_TEST(two_devices)
{
    forget_environment();
    if (!cuda_host()) {
        SKIP("this is not the host's plugin");
        return;
    }
    setenv("EQI_CUDA_HOST_DEVICES", "2", 1);
    equinv_context *ctx[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        char start[32];
        snprintf(start, sizeof start, "cuda:%d, ", i);
        OK(create(EQUINV_DEVICE_CUDA, i, &ctx[i]));
        ck_assert_int_eq(equinv_context_device(ctx[i]).kind, EQUINV_DEVICE_CUDA);
        ck_assert_int_eq(equinv_context_device(ctx[i]).index, i);
        ck_assert_int_eq(strncmp(equinv_context_description(ctx[i]), start, strlen(start)), 0);
    }
    equinv_context *more = NULL;
    FAILS(EQUINV_ERR_NO_BACKEND, "device_index is 2, expected 0 to 1",
          create(EQUINV_DEVICE_CUDA, 2, &more));
    for (int i = 0; i < 2; i++)
        equinv_context_destroy(ctx[i]);
    forget_environment();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {no_plugin_there, 1}, {plugins_of_other_builds, 1},
        {cpu_asked_for, 1},   {never_the_current_folder, 1},
        {no_gpu, 1},          {device_index, 1},
        {two_devices, 1},
    };
    const char *const path = getenv("EQUINV_BACKEND_PATH");
    if (!path || !realpath(path, given_path))
        snprintf(given_path, sizeof given_path, "%s", "./no-plugin");
    return run_tests("cuda/plugin", tests, sizeof tests / sizeof *tests);
}
