#define _GNU_SOURCE /* newlocale, uselocale */
#include "internal/status.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_error[1024];

const char *equinv_last_error(void)
{
    return last_error;
}

const char *equinv_status_name(equinv_status status)
{
    switch (status) {
    case EQUINV_OK: return "EQUINV_OK";
    case EQUINV_ERR_ARG: return "EQUINV_ERR_ARG";
    case EQUINV_ERR_SHAPE: return "EQUINV_ERR_SHAPE";
    case EQUINV_ERR_DTYPE: return "EQUINV_ERR_DTYPE";
    case EQUINV_ERR_DEVICE: return "EQUINV_ERR_DEVICE";
    case EQUINV_ERR_UNSUPPORTED: return "EQUINV_ERR_UNSUPPORTED";
    case EQUINV_ERR_NO_BACKEND: return "EQUINV_ERR_NO_BACKEND";
    case EQUINV_ERR_NOMEM: return "EQUINV_ERR_NOMEM";
    case EQUINV_ERR_SCRATCH: return "EQUINV_ERR_SCRATCH";
    case EQUINV_ERR_BACKEND: return "EQUINV_ERR_BACKEND";
    case EQUINV_ERR_IO: return "EQUINV_ERR_IO";
    case EQUINV_ERR_FORMAT: return "EQUINV_ERR_FORMAT";
    case EQUINV_ERR_CANCELLED: return "EQUINV_ERR_CANCELLED";
    case EQUINV_ERR_INTERNAL: return "EQUINV_ERR_INTERNAL";
    }
    return "unknown status";
}

/* glibc returns its static "C" locale here: nothing is allocated and nothing needs freeing. */
int eqi_format_list(char *text, size_t size, const char *format, va_list arguments)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const locale_t before = c ? uselocale(c) : (locale_t)0;
    const int length = vsnprintf(text, size, format, arguments);
    if (c)
        uselocale(before);
    return length;
}

int eqi_format(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = eqi_format_list(text, size, format, arguments);
    va_end(arguments);
    return length;
}

equinv_status eqi_fail(equinv_status status, const char *format, ...)
{
    /* Formatted aside first: an argument may be the last error itself. */
    char text[sizeof last_error];
    va_list arguments;
    va_start(arguments, format);
    eqi_format_list(text, sizeof text, format, arguments);
    va_end(arguments);
    __builtin_memcpy(last_error, text, sizeof text);
    return status;
}
