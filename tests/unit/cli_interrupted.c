/* Programs that are stopped, what they leave, and how they go on; the progress that a terminal shows. */
#define _GNU_SOURCE /* pseudo-terminals */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/util/command.h"

/* A pseudo-terminal: *terminal is for the program, the other end is returned; -1 if there is none. */
static int open_terminal(int *terminal)
{
    const int end = posix_openpt(O_RDWR | O_NOCTTY);
    if (end < 0 || grantpt(end) != 0 || unlockpt(end) != 0)
        return -1;
    const char *const name = ptsname(end);
    *terminal = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    return *terminal < 0 ? -1 : end;
}

static void read_terminal(int end, char *text, size_t size)
{
    size_t length = 0;
    for (ssize_t n; length < size - 1 && (n = read(end, text + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
}

/* ---- interruption --------------------------------------------------------------------------- */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { SIGNALS = sizeof signals / sizeof *signals };

/* Latents of 64 GB that take no room: zeros behind a header. */
static void save_sparse(const char *folder)
{
    const char *const text =
        "{'descr': '<f4', 'fortran_order': False, 'shape': (16777216, 256, 4), }";
    unsigned char header[128];
    FILE *const file = fopen(at(folder, "z.npy"), "wb");
    ck_assert(file != NULL);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(header + 10, text, strlen(text));
    header[127] = '\n';
    ck_assert(fwrite(header, 1, sizeof header, file) == sizeof header && fclose(file) == 0);
    ck_assert(truncate(at(folder, "z.npy"), 128 + (INT64_C(16777216) << 12)) == 0);
}

START_TEST(project_interrupted)
{
    const char *const folder = folder_new();
    char text[64];
    save_sparse(folder);
    for (int existing = 0; existing < 2; existing++) {
        if (existing)
            write_text(folder, "c.npy", "what was there");
        const pid_t child = start(folder, &(setup){.in = NULL},
                                  ARGUMENTS("project", "z.npy", "-o", "c.npy", "--group", "C4"));
        wait_for_files(folder, 2 + existing);
        ck_assert(kill(child, signals[_i]) == 0);
        FAILS_WITH(finish(child, folder), INTERRUPTED, "equinv: project: interrupted\n");
        ck_assert_int_eq(files_in(folder), 1 + existing);
    }
    read_text(folder, "c.npy", text, sizeof text);
    ck_assert_str_eq(text, "what was there");
    folder_remove(folder);
}
END_TEST

START_TEST(project_interrupted_while_its_input_stalls)
{
    const char *const folder = folder_new();
    unsigned char header[1000];
    int ends[2];
    save_sparse(folder);
    FILE *const file = fopen(at(folder, "z.npy"), "rb");
    ck_assert(file && fread(header, 1, sizeof header, file) == sizeof header);
    fclose(file);
    ck_assert(pipe(ends) == 0);
    ck_assert(write(ends[1], header, sizeof header) == sizeof header);
    const pid_t child = start(folder, &(setup){.in_fd = ends[0]},
                              ARGUMENTS("project", "/dev/stdin", "-o", "c.npy", "--group", "C4"));
    wait_for_files(folder, 2);
    ck_assert(kill(child, SIGINT) == 0);
    FAILS_WITH(finish(child, folder), INTERRUPTED, "equinv: project: interrupted\n");
    ck_assert_int_eq(files_in(folder), 1);
    close(ends[0]), close(ends[1]);
    folder_remove(folder);
}
END_TEST

START_TEST(report_interrupted)
{
    const char *const folder = folder_new();
    char text[16384];
    int terminal;
    const int end = open_terminal(&terminal);
    if (end < 0) {
        SKIP("no pseudo-terminal could be opened");
        folder_remove(folder);
        return;
    }
    equinv_context *const ctx = context_new();
    rng r = {41};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 3000, 64, 4);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    const pid_t child = start(folder, &(setup){.err_fd = terminal},
                              ARGUMENTS("report", "z.npy", "--group", "C4", "--sample", "3000"));
    close(terminal);
    ck_assert(read(end, text, 1) == 1); /* it works on the figures now */
    ck_assert(kill(child, SIGINT) == 0);
    read_terminal(end, text, sizeof text);
    const outcome *const o = finish(child, folder);
    GIVES(*o, INTERRUPTED);
    ck_assert_str_eq(o->out, "");
    SAYS(text, "equinv: report: interrupted");
    close(end);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* ---- project --resume ----------------------------------------------------------------------- */

enum { RESUMED_ROWS = 6000, RESUMED_NUMBERS = 1200 };

/* Latents that ref needs some tenths of a second for, in four chunks; row 7 has NaN, row 300 an infinity. */
static void save_slow(equinv_context *ctx, const char *folder)
{
    rng r = {55};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, RESUMED_ROWS, 150, 8);
    tensor_set(&z, 7 * RESUMED_NUMBERS + 3, (double)NAN);
    tensor_set(&z, 300 * RESUMED_NUMBERS, (double)INFINITY);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_tensor_destroy(ctx, &z);
}

/* Codes are [6000, 4, 8] f32: 128 bytes a row behind a header of 128. */
#define SLOW(output, ...)                                                                          \
    ARGUMENTS("project", "z.npy", "-o", output, "--group", "D4", "--kind", "sorted", "-k", "4",    \
              "--impl", "ref", "--threads", "1", __VA_ARGS__)
enum { ROW_BYTES = 128, HEADER_BYTES = 128 };

static off_t size_of_file(const char *folder, const char *name)
{
    struct stat is;
    return stat(at(folder, name), &is) == 0 ? is.st_size : -1;
}

static void assert_same_bytes(const char *folder, const char *a, const char *b)
{
    static char content[2][HEADER_BYTES + RESUMED_ROWS * ROW_BYTES + 2];
    const char *const names[2] = {a, b};
    size_t length[2];
    for (int i = 0; i < 2; i++) {
        FILE *const file = fopen(at(folder, names[i]), "rb");
        ck_assert(file != NULL);
        length[i] = fread(content[i], 1, sizeof content[i], file);
        fclose(file);
    }
    ck_assert(length[0] == HEADER_BYTES + RESUMED_ROWS * ROW_BYTES && length[0] == length[1]);
    ck_assert(memcmp(content[0], content[1], length[0]) == 0);
}

#define ODD_ROWS "2 of 6000 rows of z.npy have NaN or infinity, the first is row 7 (from 0)"

START_TEST(project_resumes_after_it_was_killed)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    save_slow(ctx, folder);
    const outcome *o =
        finish(start(folder, &(setup){.in = NULL}, SLOW("whole.npy", "--device", "cpu")), folder);
    GIVES(*o, DONE);
    SAYS(o->err, ODD_ROWS);
    write_text(folder, "c.npy", "what was there");
    int killed = 0;
    off_t before = 0;
    for (int round = 0; round < 4; round++) {
        const pid_t child = start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume"));
        int status;
        /* Until a few more rows are there, or it is done. */
        for (int i = 0; i < 30000 && size_of_file(folder, "c.npy") == 14 &&
                        size_of_file(folder, "c.npy.part") < before + 3 * ROW_BYTES;
             i++)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        kill(child, SIGKILL);
        ck_assert(waitpid(child, &status, 0) == child);
        if (!WIFSIGNALED(status) || size_of_file(folder, "c.npy") != 14) /* it was done already */
            break;
        killed++;
        before = size_of_file(folder, "c.npy.part");
        ck_assert(before >= HEADER_BYTES + 3 * ROW_BYTES);
        if (round == 1) /* in the middle of a row */
            ck_assert(truncate(at(folder, "c.npy.part"), before - ROW_BYTES / 3) == 0);
    }
    ck_assert_msg(killed >= 1, "it was never killed in time");
    o = finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder);
    GIVES(*o, DONE);
    SAYS(o->err, ODD_ROWS);
    assert_same_bytes(folder, "c.npy", "whole.npy");
    ck_assert_int_eq(files_in(folder), 3);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_resumes_after_the_disk_was_full)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup full = {.largest_file = HEADER_BYTES + 2500 * ROW_BYTES + 70};
    const setup fuller = {.largest_file = HEADER_BYTES / 2};
    save_slow(ctx, folder);
    GIVES(
        *finish(start(folder, &(setup){.in = NULL}, SLOW("whole.npy", "--device", "cpu")), folder),
        DONE);
    const setup *const disks[] = {&fuller, &full};
    for (int i = 0; i < 2; i++) {
        FAILS_WITH(finish(start(folder, disks[i], SLOW("c.npy", "--resume")), folder), REFUSED,
                   i ? "File too large" : "the text beside its"); /* so short is stderr, too */
        ck_assert(size_of_file(folder, "c.npy") < 0);
    }
    ck_assert(size_of_file(folder, "c.npy.part") > HEADER_BYTES + 2000 * ROW_BYTES);
    ck_assert_int_eq(files_in(folder), 4);
    GIVES(*finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder), DONE);
    assert_same_bytes(folder, "c.npy", "whole.npy");
    ck_assert_int_eq(files_in(folder), 3);
    /* Without --resume nothing stays. */
    FAILS_WITH(finish(start(folder, &full, SLOW("d.npy", "--device", "cpu")), folder), REFUSED,
               "File too large");
    ck_assert_int_eq(files_in(folder), 3);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_resumes_its_own_files_alone)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup full = {.largest_file = HEADER_BYTES + 2500 * ROW_BYTES};
    save_slow(ctx, folder);
    GIVES(*finish(start(folder, &full, SLOW("c.npy", "--resume")), folder), REFUSED);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume", "--seed", "1")),
                      folder),
               REFUSED, "c.npy.part was made from something else: \"kind: sorted, group D4, k 4");
    FAILS_WITH(
        finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume", "--ranks", "0")),
               folder),
        REFUSED, "c.npy.part was made from something else");
    ck_assert(unlink(at(folder, "c.npy.part")) == 0 && unlink(at(folder, "c.npy.part.txt")) == 0);
    /* Groups given by tables: all of them are the first one of their process. */
    GIVES(*finish(start(folder, &full, SLOW("c.npy", "--resume", "--group", "C4xC2")), folder),
          REFUSED);
    FAILS_WITH(
        finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume", "--group", "D2xC2")),
               folder),
        REFUSED, "c.npy.part was made from something else: \"kind: sorted, group C4xC2, k 4");
    ck_assert(unlink(at(folder, "c.npy.part")) == 0 && unlink(at(folder, "c.npy.part.txt")) == 0);
    GIVES(*finish(start(folder, &full, SLOW("c.npy", "--resume")), folder), REFUSED);
    ck_assert(utimensat(AT_FDCWD, at(folder, "z.npy"), (struct timespec[2]){{9, 0}, {9, 0}}, 0) ==
              0);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder),
               REFUSED, "c.npy.part was made from something else: \"latents: ");
    ck_assert(unlink(at(folder, "c.npy.part.txt")) == 0);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder),
               REFUSED, "c.npy.part has no c.npy.part.txt");
    ck_assert(size_of_file(folder, "c.npy.part") > HEADER_BYTES);
    ck_assert(unlink(at(folder, "c.npy.part")) == 0);
    GIVES(*finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder), DONE);
    ck_assert_int_eq(files_in(folder), 2);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("/dev/full", "--resume")), folder),
               REFUSED, "/dev/full is written through");
    FAILS_WITH(RUN(folder, "project", "/dev/null", "-o", "d.npy", "--group", "C4", "--resume"),
               REFUSED, "/dev/null");
    ck_assert_int_eq(files_in(folder), 2);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* ---- progress ------------------------------------------------------------------------------- */

START_TEST(progress_is_shown_on_a_terminal)
{
    const char *const folder = folder_new();
    char text[16384];
    int terminal;
    const int end = open_terminal(&terminal);
    if (end < 0) {
        SKIP("no pseudo-terminal could be opened");
        folder_remove(folder);
        return;
    }
    equinv_context *const ctx = context_new();
    equinv_tensor z = save_large(ctx, folder);
    const pid_t child =
        start(folder, &(setup){.err_fd = terminal},
              ARGUMENTS("project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"));
    close(terminal);
    read_terminal(end, text, sizeof text);
    const outcome *const o = finish(child, folder);
    GIVES(*o, DONE);
    ck_assert_str_eq(o->out, "");
    SAYS(text, "0 of 4801 rows (0 %)");
    SAYS(text, "4801 rows in ");
    SAYS(text, " rows/s");
    close(end);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {project_resumes_after_it_was_killed, 1},
        {project_resumes_after_the_disk_was_full, 1},
        {project_resumes_its_own_files_alone, 1},
        {project_interrupted, SIGNALS},
        {project_interrupted_while_its_input_stalls, 1},
        {progress_is_shown_on_a_terminal, 1},
        {report_interrupted, 1},
    };
    return run_tests("cli_interrupted", tests, sizeof tests / sizeof *tests);
}
