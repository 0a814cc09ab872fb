/* A shared library that is no plugin. */
#include "equinv/equinv.h"

EQUINV_API int other_libraries_function(void);

int other_libraries_function(void)
{
    return 1;
}
