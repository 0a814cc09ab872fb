#include "equinv/equinv.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *equinv_version(void)
{
    return TEXT(EQUINV_VERSION_MAJOR) "." TEXT(EQUINV_VERSION_MINOR) "." TEXT(EQUINV_VERSION_PATCH);
}

const char *equinv_build_info(void)
{
    return
#ifdef EQI_HAVE_OPENBLAS
        "openblas: yes\n"
#else
        "openblas: no, the built-in GEMM serves\n"
#endif
#ifdef EQI_HAVE_PTHREADPOOL
        "pthreadpool: yes\n"
#else
        "pthreadpool: no, a small pool of its own serves\n"
#endif
#ifdef EQI_HAVE_CJSON
        "cjson: yes\n"
#else
        "cjson: no, loading model files and checkpoints says UNSUPPORTED\n"
#endif
#ifdef EQI_HAVE_ZLIB
        "zlib: yes\n"
#else
        "zlib: no, .gz files say UNSUPPORTED\n"
#endif
        "cuda: yes, by the plugin libequinv-cuda.so, looked for at run time\n";
}
