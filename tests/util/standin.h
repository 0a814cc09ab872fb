/*
 * A stand-in for the few parts of Check that the tests use, for builds with libc alone: no fork, a
 * failed assertion jumps out of its test. Prints the same closing line.
 */
#ifndef TESTS_UTIL_STANDIN_H
#define TESTS_UTIL_STANDIN_H

#include <setjmp.h>
#include <stdio.h>

typedef struct TTest {
    const char *name;
    void (*run)(int _i);
} TTest;

extern jmp_buf standin_failed;
void standin_fail(const char *file, int line, const char *expression) __attribute__((noreturn));

#define START_TEST(test)                                                                           \
    static void test##_body(int _i);                                                               \
    static const TTest test##_entry = {#test, test##_body};                                        \
    static const TTest *const test = &test##_entry;                                                \
    static void test##_body(int _i __attribute__((unused)))
#define END_TEST

#define ck_assert(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            standin_fail(__FILE__, __LINE__, #condition);                                          \
    } while (0)
#define ck_assert_msg(condition, ...)                                                              \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            standin_fail(__FILE__, __LINE__, #condition);                                          \
        }                                                                                          \
    } while (0)
#define ck_abort_msg(...) ck_assert_msg(0, __VA_ARGS__)
#define STANDIN_COMPARE(type, format, a, is, b)                                                    \
    ck_assert_msg((type)(a)is(type)(b), "%s is " format ", expected " #is " " format, #a,          \
                  (type)(a), (type)(b))
#define ck_assert_int_eq(a, b) STANDIN_COMPARE(long long, "%lld", a, ==, b)
#define ck_assert_int_ne(a, b) STANDIN_COMPARE(long long, "%lld", a, !=, b)
#define ck_assert_int_lt(a, b) STANDIN_COMPARE(long long, "%lld", a, <, b)
#define ck_assert_int_le(a, b) STANDIN_COMPARE(long long, "%lld", a, <=, b)
#define ck_assert_int_gt(a, b) STANDIN_COMPARE(long long, "%lld", a, >, b)
#define ck_assert_int_ge(a, b) STANDIN_COMPARE(long long, "%lld", a, >=, b)
#define ck_assert_uint_eq(a, b) STANDIN_COMPARE(unsigned long long, "%llu", a, ==, b)
#define ck_assert_uint_ne(a, b) STANDIN_COMPARE(unsigned long long, "%llu", a, !=, b)
#define ck_assert_uint_lt(a, b) STANDIN_COMPARE(unsigned long long, "%llu", a, <, b)
#define ck_assert_uint_le(a, b) STANDIN_COMPARE(unsigned long long, "%llu", a, <=, b)
#define ck_assert_uint_gt(a, b) STANDIN_COMPARE(unsigned long long, "%llu", a, >, b)
#define ck_assert_uint_ge(a, b) STANDIN_COMPARE(unsigned long long, "%llu", a, >=, b)
#define ck_assert_double_eq(a, b) STANDIN_COMPARE(double, "%g", a, ==, b)
#define ck_assert_double_lt(a, b) STANDIN_COMPARE(double, "%g", a, <, b)
#define ck_assert_double_le(a, b) STANDIN_COMPARE(double, "%g", a, <=, b)
#define ck_assert_double_gt(a, b) STANDIN_COMPARE(double, "%g", a, >, b)
#define ck_assert_double_ge(a, b) STANDIN_COMPARE(double, "%g", a, >=, b)
#define ck_assert_str_eq(a, b)                                                                     \
    ck_assert_msg(strcmp((a), (b)) == 0, "%s is \"%s\", expected \"%s\"", #a, (a), (b))
#define ck_assert_ptr_nonnull(a) ck_assert((a) != NULL)
#define ck_assert_ptr_null(a) ck_assert((a) == NULL)

#endif
