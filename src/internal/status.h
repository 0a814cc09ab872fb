/* Failing with one sentence, and passing failures on. */
#ifndef EQI_STATUS_H
#define EQI_STATUS_H

#include <inttypes.h>
#include <stdarg.h>

#include "equinv/equinv.h"

/* Stores the thread's error text (numbers always with a decimal point) and returns status. */
equinv_status eqi_fail(equinv_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* snprintf that ignores the process's LC_NUMERIC: the one way numbers become text in this library. */
int eqi_format(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int eqi_format_list(char *text, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

#define EQI_CHECK(condition, code, ...)                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return eqi_fail(EQUINV_ERR_##code, __VA_ARGS__);                                       \
    } while (0)

#define EQI_TRY(call)                                                                              \
    do {                                                                                           \
        const equinv_status eqi_status_ = (call);                                                  \
        if (eqi_status_ != EQUINV_OK)                                                              \
            return eqi_status_;                                                                    \
    } while (0)

/* The same inside a function that owns something and has one exit. */
#define EQI_TRY_GOTO(status, label, call)                                                          \
    do {                                                                                           \
        (status) = (call);                                                                         \
        if ((status) != EQUINV_OK)                                                                 \
            goto label;                                                                            \
    } while (0)

#endif
