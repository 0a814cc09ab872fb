#define _XOPEN_SOURCE 700 /* nftw */
#include "tests/util/golden.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

equinv_context *golden_ctx;
temp_folder golden_root;

/* build/tests/golden/run lies beside build/tests/unit. */
static const char *runner(void)
{
    static char path[4096 + 32];
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert(length > 0);
    self[length] = '\0';
    for (int up = 0; up < 2; up++)
        *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/golden/run", self);
    return path;
}

golden_result golden_run_with(const char *arguments)
{
    char command[8192];
    golden_result r = {.status = -1};
    snprintf(command, sizeof command, "'%s' %s 2>/dev/null", runner(), arguments);
    FILE *const pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    r.text[fread(r.text, 1, sizeof r.text - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    if (WIFEXITED(status))
        r.status = WEXITSTATUS(status);
    return r;
}

golden_result golden_run(void)
{
    char quoted[256];
    snprintf(quoted, sizeof quoted, "'%s'", golden_root.path);
    return golden_run_with(quoted);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

void golden_check_line(const golden_result *r, const char *beginning, int line)
{
    const size_t length = strlen(beginning);
    for (const char *p = r->text; *p; p = strchr(p, '\n') + 1) {
        ck_assert_msg(strchr(p, '\n'), "line %d: no newline at the end of:\n%s", line, r->text);
        if (strncmp(p, beginning, length) == 0)
            return;
    }
    ck_abort_msg("line %d: no line begins \"%s\" in:\n%s", line, beginning, r->text);
}

const char *golden_in_case(const char *name, const char *file)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", name, file);
    return temp_path(&golden_root, path);
}

void golden_save(const char *name, const char *file, equinv_dtype dtype, int32_t ndim,
                 const int64_t *shape, const double *values)
{
    equinv_tensor t;
    OK(equinv_tensor_create(golden_ctx, dtype, ndim, shape, &t));
    for (int64_t i = 0; i < equinv_tensor_count(&t); i++)
        tensor_set(&t, i, values[i]);
    OK(equinv_tensor_save(golden_ctx, golden_in_case(name, file), &t));
    equinv_tensor_destroy(golden_ctx, &t);
}

void golden_save_json(const char *name, const char *text)
{
    mkdir(temp_path(&golden_root, name), 0777);
    file_write(golden_in_case(name, "case.json"), text, strlen(text));
}

void golden_save_manifest(const char *text)
{
    file_write(temp_path(&golden_root, "manifest.json"), text, strlen(text));
}

static const int64_t matrices[3] = {2, 2, 2};
static const double plane[8] = {1, 0, 0, 1, -1, 0, 0, -1};

void golden_group(const char *name, const char *stated)
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2, \"irreps\": [[0], [1]],\n"
             "\"tolerance\": {\"rel\": %s}, \"arrays\": {\n"
             "\"mul\": {\"shape\": [2, 2], \"dtype\": \"int32\"},\n"
             "\"plane\": {\"shape\": [2, 2, 2], \"dtype\": \"float64\"},\n"
             "\"irrep_0\": {\"shape\": [2, 1, 1], \"dtype\": \"float64\"},\n"
             "\"irrep_1\": {\"shape\": [2, 1, 1], \"dtype\": \"float64\"},\n"
             "\"grid_channels\": {\"shape\": [1, 2], \"dtype\": \"int32\"}}}",
             stated);
    golden_save_json(name, json);
    golden_save(name, "mul.npy", EQUINV_I32, 2, (int64_t[]){2, 2}, (double[]){0, 1, 1, 0});
    golden_save(name, "plane.npy", EQUINV_F64, 3, matrices, plane);
    golden_save(name, "irrep_0.npy", EQUINV_F64, 3, (int64_t[]){2, 1, 1}, (double[]){1, 1});
    golden_save(name, "irrep_1.npy", EQUINV_F64, 3, (int64_t[]){2, 1, 1}, (double[]){1, -1});
    golden_save(name, "grid_channels.npy", EQUINV_I32, 2, (int64_t[]){1, 2}, (double[]){0, 1});
}

void golden_group_with(const char *name, const char *stated, double value)
{
    double changed[8];
    memcpy(changed, plane, sizeof changed);
    changed[7] = value;
    golden_group(name, stated);
    golden_save(name, "plane.npy", EQUINV_F64, 3, matrices, changed);
}

void golden_pool(const char *name, const char *more, const double src[6], const double dst[3])
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": [[\"regular\", 1]], %s\n"
             "\"arrays\": {\"src\": {\"shape\": [1, 2, 1, 3], \"dtype\": \"float64\"},\n"
             "\"dst\": {\"shape\": [1, 1, 1, 3], \"dtype\": \"float64\"}}}",
             more);
    golden_save_json(name, json);
    golden_save(name, "src.npy", EQUINV_F64, 4, (int64_t[]){1, 2, 1, 3}, src);
    golden_save(name, "dst.npy", EQUINV_F64, 4, (int64_t[]){1, 1, 1, 3}, dst);
}

void golden_conv(const char *name, const char *more, const char *arrays, const double dst[2])
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"kind\": \"conv\", \"group\": \"C1\", \"batch\": 1, \"height\": 1, \"width\": 2,\n"
             "\"k\": 1, \"stride\": 1, \"padding\": 0, \"dilation\": 1, %s, \"arrays\": {\n"
             "\"src\": {\"shape\": [1, 1, 1, 2]}, \"dst\": {\"shape\": [1, 1, 1, 2]}%s}}",
             more, arrays);
    golden_save_json(name, json);
    golden_save(name, "src.npy", EQUINV_F32, 4, (int64_t[]){1, 1, 1, 2}, (double[]){1, 2});
    golden_save(name, "psi.npy", EQUINV_F64, 5, (int64_t[]){1, 1, 1, 1, 1}, (double[]){3});
    golden_save(name, "dst.npy", EQUINV_F64, 4, (int64_t[]){1, 1, 1, 2}, dst);
    golden_save(name, "bias.npy", EQUINV_F64, 1, (int64_t[]){1}, (double[]){0.5});
    golden_save(name, "expanded_bias.npy", EQUINV_F64, 1, (int64_t[]){1}, (double[]){0.25});
}

bool golden_set_up(void)
{
#ifdef EQI_HAVE_CJSON
    golden_ctx = context_new();
    golden_root = temp_folder_new();
    return true;
#else
    SKIP("this build has no cJSON");
    return false;
#endif
}

void golden_remove(const char *path)
{
    nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void golden_tear_down(void)
{
    golden_remove(golden_root.path);
    equinv_context_destroy(golden_ctx);
}
