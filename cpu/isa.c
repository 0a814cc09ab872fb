/* Which instruction set may be used: processor and operating system (XCR0), capped by EQUINV_ISA. */
#include <stdlib.h>
#include <string.h>

#include "internal/context.h"

static const char *const names[] = {"scalar", "avx2", "avx512"};

const char *eqi_isa_name(eqi_isa isa)
{
    return names[isa];
}

static eqi_isa detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init(); /* looks at XCR0 too: a feature the system does not save is reported absent */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return EQI_ISA_SCALAR;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw"))
        return EQI_ISA_AVX2;
    return EQI_ISA_AVX512;
#else
    return EQI_ISA_SCALAR;
#endif
}

equinv_status eqi_isa_detect(eqi_isa *isa)
{
    const eqi_isa present = detect();
    const char *const cap = getenv("EQUINV_ISA");
    *isa = present;
    if (!cap || !*cap)
        return EQUINV_OK;
    for (eqi_isa level = EQI_ISA_SCALAR; level <= EQI_ISA_AVX512; level++)
        if (strcmp(cap, names[level]) == 0) {
            *isa = level < present ? level : present;
            return EQUINV_OK;
        }
    return eqi_fail(EQUINV_ERR_ARG, "EQUINV_ISA is \"%s\", expected scalar, avx2 or avx512", cap);
}
