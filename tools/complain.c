#include "tool.h"

int tool_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tool_say(format, arguments);
    va_end(arguments);
    return TOOL_FAILED;
}

int tool_misused(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tool_say(format, arguments);
    va_end(arguments);
    return TOOL_USAGE;
}
