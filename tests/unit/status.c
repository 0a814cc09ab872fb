/* Status names and numbers, the sentence of the last failure, text that ignores LC_NUMERIC. */
#include <math.h>
#include <pthread.h>

#include "internal/status.h"
#include "tests/util/locale.h"
#include "tests/util/test.h"

static const struct {
    equinv_status status;
    int number;
    const char *name;
} table[] = {
    {EQUINV_OK, 0, "EQUINV_OK"},
    {EQUINV_ERR_ARG, 10, "EQUINV_ERR_ARG"},
    {EQUINV_ERR_SHAPE, 11, "EQUINV_ERR_SHAPE"},
    {EQUINV_ERR_DTYPE, 12, "EQUINV_ERR_DTYPE"},
    {EQUINV_ERR_DEVICE, 13, "EQUINV_ERR_DEVICE"},
    {EQUINV_ERR_UNSUPPORTED, 20, "EQUINV_ERR_UNSUPPORTED"},
    {EQUINV_ERR_NO_BACKEND, 21, "EQUINV_ERR_NO_BACKEND"},
    {EQUINV_ERR_NOMEM, 30, "EQUINV_ERR_NOMEM"},
    {EQUINV_ERR_SCRATCH, 31, "EQUINV_ERR_SCRATCH"},
    {EQUINV_ERR_BACKEND, 40, "EQUINV_ERR_BACKEND"},
    {EQUINV_ERR_IO, 50, "EQUINV_ERR_IO"},
    {EQUINV_ERR_FORMAT, 51, "EQUINV_ERR_FORMAT"},
    {EQUINV_ERR_CANCELLED, 60, "EQUINV_ERR_CANCELLED"},
    {EQUINV_ERR_INTERNAL, 90, "EQUINV_ERR_INTERNAL"},
};
enum { STATUSES = sizeof table / sizeof *table };

START_TEST(numbers_are_pinned_and_named)
{
    ck_assert_int_eq(table[_i].status, table[_i].number);
    ck_assert_str_eq(equinv_status_name(table[_i].status), table[_i].name);
}
END_TEST

START_TEST(every_other_number_is_unknown)
{
    for (int number = -300; number <= 300; number++) {
        bool listed = false;
        for (int i = 0; i < STATUSES; i++)
            listed |= table[i].number == number;
        const char *const name = equinv_status_name((equinv_status)number);
        ck_assert_ptr_nonnull(name);
        ck_assert_int_eq(strcmp(name, "unknown status") == 0, !listed);
    }
}
END_TEST

/* The simplest call that fails with a value in its sentence. */
static equinv_status fail_with_order(int32_t n)
{
    int32_t order;
    return equinv_group_order(equinv_cyclic(n), &order);
}

START_TEST(a_success_keeps_the_sentence_and_a_failure_replaces_it)
{
    int32_t order;
    ck_assert_int_eq(fail_with_order(-5), EQUINV_ERR_ARG);
    ck_assert(strstr(equinv_last_error(), "C-5") != NULL);
    OK(equinv_group_order(equinv_cyclic(5), &order));
    ck_assert(strstr(equinv_last_error(), "C-5") != NULL);
    ck_assert_int_eq(fail_with_order(4321), EQUINV_ERR_ARG);
    ck_assert(strstr(equinv_last_error(), "C4321") != NULL);
    ck_assert(strstr(equinv_last_error(), "C-5") == NULL);
}
END_TEST

enum { THREADS = 8 };

typedef struct thread_case {
    int32_t n;
    char before[64], after[256];
    pthread_barrier_t *barrier;
} thread_case;

/* All threads fail at the same time, then each reads what it failed with. */
static void *fail_in_thread(void *arg)
{
    thread_case *const c = arg;
    snprintf(c->before, sizeof c->before, "%s", equinv_last_error());
    for (int i = 0; i < 1000; i++)
        fail_with_order(c->n);
    pthread_barrier_wait(c->barrier);
    snprintf(c->after, sizeof c->after, "%s", equinv_last_error());
    return NULL;
}

START_TEST(each_thread_has_its_own_sentence)
{
    pthread_t threads[THREADS];
    thread_case cases[THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, THREADS);
    ck_assert_int_eq(fail_with_order(-1000), EQUINV_ERR_ARG);
    for (int i = 0; i < THREADS; i++) {
        cases[i] = (thread_case){.n = -1 - i, .barrier = &barrier};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_in_thread, &cases[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    for (int i = 0; i < THREADS; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "C-%d,", 1 + i);
        ck_assert_str_eq(cases[i].before, "");
        ck_assert_msg(strstr(cases[i].after, expected), "thread %d reads \"%s\"", i,
                      cases[i].after);
    }
    ck_assert(strstr(equinv_last_error(), "C-1000,") != NULL);
}
END_TEST

START_TEST(long_sentences_end_within_the_buffer)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(eqi_fail(EQUINV_ERR_IO, "before %s after", text), EQUINV_ERR_IO);
    const size_t length = strlen(equinv_last_error());
    ck_assert(length > 500 && length < sizeof text);
    ck_assert_int_eq(strncmp(equinv_last_error(), "before xxx", 10), 0);
}
END_TEST

START_TEST(a_sentence_may_contain_the_one_before)
{
    eqi_fail(EQUINV_ERR_ARG, "inner");
    ck_assert_int_eq(eqi_fail(EQUINV_ERR_FORMAT, "outer: %s", equinv_last_error()),
                     EQUINV_ERR_FORMAT);
    ck_assert_str_eq(equinv_last_error(), "outer: inner");
}
END_TEST

START_TEST(numbers_are_written_with_a_point_in_every_locale)
{
    char text[64];
    const bool found = comma_begin("numbers_are_written_with_a_point_in_every_locale");
    eqi_format(text, sizeof text, "%g %.3f %d", 0.5, -1.25, 1234567);
    ck_assert_str_eq(text, "0.5 -1.250 1234567");
    eqi_fail(EQUINV_ERR_ARG, "%g", 2.5);
    ck_assert_str_eq(equinv_last_error(), "2.5");
    snprintf(text, sizeof text, "%.1f", 0.5); /* the process's own locale is as it was */
    ck_assert_str_eq(text, found ? "0,5" : "0.5");
    comma_end();
}
END_TEST

START_TEST(text_is_cut_to_its_buffer)
{
    char text[8] = "-------";
    ck_assert_int_eq(eqi_format(text, 4, "%s", "abcdef"), 6);
    ck_assert_str_eq(text, "abc");
    ck_assert_int_eq(text[4], '-');
    ck_assert_int_eq(eqi_format(NULL, 0, "%d", 12345), 5);
}
END_TEST

START_TEST(version_equals_the_header)
{
    char expected[32];
    snprintf(expected, sizeof expected, "%d.%d.%d", EQUINV_VERSION_MAJOR, EQUINV_VERSION_MINOR,
             EQUINV_VERSION_PATCH);
    ck_assert_str_eq(equinv_version(), expected);
}
END_TEST

START_TEST(build_info_has_a_line_for_each_optional_part)
{
    static const struct {
        const char *line;
        bool present;
    } parts[] = {
#ifdef EQI_HAVE_OPENBLAS
        {"openblas: ", true},
#else
        {"openblas: ", false},
#endif
#ifdef EQI_HAVE_PTHREADPOOL
        {"pthreadpool: ", true},
#else
        {"pthreadpool: ", false},
#endif
#ifdef EQI_HAVE_CJSON
        {"cjson: ", true},
#else
        {"cjson: ", false},
#endif
#ifdef EQI_HAVE_ZLIB
        {"zlib: ", true},
#else
        {"zlib: ", false},
#endif
        {"cuda: ", true},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *const line = strstr(equinv_build_info(), parts[i].line);
        ck_assert_msg(line, "build info has no line %s", parts[i].line);
        const char *const answer = line + strlen(parts[i].line);
        ck_assert_int_eq(strncmp(answer, "yes", 3) == 0, parts[i].present);
        ck_assert(parts[i].present || strncmp(answer, "no, ", 4) == 0);
    }
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {numbers_are_pinned_and_named, STATUSES},
        {every_other_number_is_unknown, 1},
        {a_success_keeps_the_sentence_and_a_failure_replaces_it, 1},
        {each_thread_has_its_own_sentence, 1},
        {long_sentences_end_within_the_buffer, 1},
        {a_sentence_may_contain_the_one_before, 1},
        {numbers_are_written_with_a_point_in_every_locale, 1},
        {text_is_cut_to_its_buffer, 1},
        {version_equals_the_header, 1},
        {build_info_has_a_line_for_each_optional_part, 1},
    };
    return run_tests("status", tests, sizeof tests / sizeof *tests);
}
