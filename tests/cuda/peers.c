/*
 * Peers of equinv-bench on the GPU. On the host's plugin they meet tests/fake_gpu in place of the libraries
 * (the calls, not the speed); on a GPU the real ones, where those are found.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include <limits.h>
#include <unistd.h>

#include "tests/util/cuda.h"
#include "tests/util/program.h"

#define QUICK " --device cuda --seconds 0.001 --check-seconds 0.2 --threads 1"

static bool on_host(void)
{
    equinv_context *const ctx = cuda_context_new();
    const bool host = strstr(equinv_context_description(ctx), "on the host") != NULL;
    equinv_context_destroy(ctx);
    return host;
}

/* "LD_LIBRARY_PATH=.." for the stand-ins, behind another folder if there is one; on a GPU nothing. */
static const char *libraries(const char *before)
{
    static char text[2 * PATH_MAX];
    char path[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    ck_assert(length > 0);
    path[length] = '\0';
    for (int up = 0; up < 2; up++)
        *strrchr(path, '/') = '\0';
    snprintf(text, sizeof text, "LD_LIBRARY_PATH='%s%s%s/fake_gpu'", before, *before ? ":" : "",
             path);
    return on_host() ? text : "";
}

static bool is_built(const temp_folder *folder, const char *peer)
{
    char line[64];
    snprintf(line, sizeof line, "perf --op conv --peer %s", peer);
    const outcome o = program_run(folder, "equinv-bench", "", line);
    if (o.code == 1)
        SAYS(o.err, "built without it");
    else
        SAYS(o.err, "needs --device cuda");
    return o.code == 2;
}

/* In this program, and its library found: on the host it must be. */
static bool is_there(const temp_folder *folder, const char *peer)
{
    char line[128];
    if (!is_built(folder, peer))
        return false;
    snprintf(line, sizeof line, "perf --op relu --batch 1 --size 2x2 --peer %s" QUICK, peer);
    const outcome o = program_run(folder, "equinv-bench", libraries(""), line);
    GIVES(o, 1);
    if (strstr(o.err, "has nothing for --op relu"))
        return true;
    SAYS(o.err, "which is missing: ");
    ck_assert_msg(!on_host(), "%s", o.err);
    return false;
}

/* ---- results ----------------------------------------------------------------------------------------- */

static const char *const convolutions[] = {
    "--op conv --group D4 --fields-in 2 --fields-out 3 --size 5x7",
    "--op conv --group C4 --fields-in 3 --fields-out 2 --size 7x6 --kernel 4 --stride 2",
    "--op conv --group D1 --fields-in 3 --fields-out 2 --size 8x8 --dilation 2 --padding 3",
    "--op conv --group C1 --fields-in 4 --fields-out 5 --size 7x7 --stride 3 --padding 0",
    "--op conv-lift --group D2 --fields-in 2 --fields-out 3 --size 6x5 --kernel 5",
    "--op conv-plane --group D4 --fields-in 2 --fields-out 3 --size 6x5 --kernel 1",
    "--op conv-plane --group C4 --fields-in 2 --fields-out 3 --size 5x5",
};
static const char *const products[] = {
    "--op dense --fields-in 13 --fields-out 7",
    "--op project --kind linear --group D4 --fields-in 3 --size 3x3 --k 5",
    "--op project --kind mean --group C8 --fields-in 3 --k 5",
};

static void compare(const char *peer, const char *const *cases, int count, bool weights)
{
    static const char *const passes[] = {"forward", "backward-data", "backward-weights"};
    temp_folder folder = temp_folder_new();
    bytes text = {0};
    char line[256];
    int lines = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < (weights || strstr(cases[i], "dense") ? 3 : 2); j++, lines++) {
            snprintf(line, sizeof line, "case-%d %s --batch 3 --pass %s\n", lines, cases[i],
                     passes[j]);
            bytes_add(&text, line, strlen(line));
        }
    file_write(temp_path(&folder, "cases"), text.at, text.size);
    if (is_there(&folder, peer)) {
        snprintf(line, sizeof line, "perf --cases cases --json - --peer %s" QUICK, peer);
        const outcome o = program_run(&folder, "equinv-bench", libraries(""), line);
        ck_assert_msg(o.code == 0, "exit code %d, stderr \"%.500s\"", o.code, o.err);
        ck_assert_int_eq(count_of(o.out, "\n"), lines);
        snprintf(line, sizeof line, "\"peer\": \"%s\"", peer);
        ck_assert_int_eq(count_of(o.out, line), lines);
        for (const char *row = strchr(o.out, '{'); row; row = strchr(row + 1, '{')) {
            const double error = json_value(row, "peer_max_err"), time = json_value(row, "ratio");
            ck_assert_msg(error < 1e-5 && time > 0, "%.400s", row);
        }
    }
    temp_folder_free(&folder);
}

START_TEST(cudnn_convolves_like_the_reference)
{
    compare("cudnn", convolutions, sizeof convolutions / sizeof *convolutions, true);
}
END_TEST

START_TEST(cublas_multiplies_like_the_reference)
{
    compare("cublas", products, sizeof products / sizeof *products, false);
}
END_TEST

/* ---- what they are, what they leave ------------------------------------------------------------------------ */

START_TEST(they_run_beside_others_in_fp32)
{
    temp_folder folder = temp_folder_new();
    if (is_there(&folder, "cudnn")) {
        outcome o = program_run(&folder, "equinv-bench", libraries(""),
                                "perf --op conv --fields-in 2 --size 4x4 --batch 2 --json - "
                                "--peer cpu,cudnn,ref" QUICK);
        GIVES(o, 0);
        SAYS(o.err, "\ncuDNN ");
        ck_assert_int_eq(count_of(o.out, "\n"), 3);
        if (on_host())
            SAYS(o.out, "\"peer_impl\": \"implicit-precomp-gemm\"");
        o = program_run(&folder, "equinv-bench", libraries(""),
                        "perf --op conv --dtype f64 --size 4x4 --peer cudnn" QUICK);
        GIVES(o, 1);
        SAYS(o.err, "peer \"cudnn\" has nothing for --op conv");
    }
    temp_folder_free(&folder);
}
END_TEST

START_TEST(all_has_them_where_they_are)
{
    static const char line[] = "perf --op dense --fields-in 8 --fields-out 8 --json - --peer all";
    temp_folder folder = temp_folder_new();
    char both[256];
    const bool there = is_there(&folder, "cublas");
    outcome o = program_run(&folder, "equinv-bench", "", line);
    GIVES(o, 0);
    ck_assert(strstr(o.out, "cublas") == NULL);
    snprintf(both, sizeof both, "%s" QUICK, line);
    o = program_run(&folder, "equinv-bench", libraries(""), both);
    GIVES(o, 0);
    ck_assert((strstr(o.out, "\"peer\": \"cublas\"") != NULL) == there);
    temp_folder_free(&folder);
}
END_TEST

/* ---- failures: on the host, where the stand-ins can be broken -------------------------------------------------- */

static const struct {
    const char *peer, *broken, *op;
} broken[] = {
    {"cudnn", "libcuda.so.", "conv"},
    {"cublas", "libcuda.so.", "dense"},
    {"cudnn", "libcudnn.so.", "conv"},
    {"cublas", "libcublas.so.", "dense"},
};

START_TEST(a_library_that_cannot_be_loaded_is_named)
{
    temp_folder folder = temp_folder_new();
    char line[128];
    if (on_host() && is_there(&folder, broken[_i].peer)) {
        for (int version = 1; version < 15; version++) { /* whichever this program opens */
            snprintf(line, sizeof line, "%s%d", broken[_i].broken, version);
            file_write(temp_path(&folder, line), "none", 4);
        }
        snprintf(line, sizeof line, "perf --op %s --size 4x4 --peer %s" QUICK, broken[_i].op,
                 broken[_i].peer);
        outcome o = program_run(&folder, "equinv-bench", libraries(folder.path), line);
        GIVES(o, 1);
        SAYS(o.err, "which is missing: it cannot be loaded: ");
        SAYS(o.err, broken[_i].broken);
        ck_assert_str_eq(o.out, "");
        snprintf(line, sizeof line, "perf --op relu --size 4x4 --peer all" QUICK);
        o = program_run(&folder, "equinv-bench", libraries(folder.path), line);
        GIVES(o, 0); /* without it */
    }
    temp_folder_free(&folder);
}
END_TEST

START_TEST(a_call_that_fails_fails_the_case)
{
    static const char *const peers[] = {"cudnn", "cublas"}, *const ops[] = {"conv", "dense"},
                             *const names[] = {"cuDNN: CUDNN_STATUS_BAD_PARAM",
                                               "cuBLAS: CUBLAS_STATUS_INVALID_VALUE"};
    temp_folder folder = temp_folder_new();
    char line[128], variables[3 * PATH_MAX];
    if (on_host() && is_there(&folder, peers[_i])) {
        snprintf(variables, sizeof variables, "FAKE_GPU_REFUSES=1 %s", libraries(""));
        snprintf(line, sizeof line, "perf --op %s --size 4x4 --peer %s" QUICK, ops[_i], peers[_i]);
        const outcome o = program_run(&folder, "equinv-bench", variables, line);
        GIVES(o, 1);
        SAYS(o.err, names[_i]);
    }
    temp_folder_free(&folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {cudnn_convolves_like_the_reference, 1},
        {cublas_multiplies_like_the_reference, 1},
        {they_run_beside_others_in_fp32, 1},
        {all_has_them_where_they_are, 1},
        {a_library_that_cannot_be_loaded_is_named, sizeof broken / sizeof *broken},
        {a_call_that_fails_fails_the_case, 2},
    };
    return run_cuda_tests("peers", tests, sizeof tests / sizeof *tests);
}
