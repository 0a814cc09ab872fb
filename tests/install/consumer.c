/* A consumer of the installed library; compiled as C11 and as C++17. */
#include <equinv/equinv.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    char version[32];
    equinv_context *ctx = NULL;
    snprintf(version, sizeof version, "%d.%d.%d", EQUINV_VERSION_MAJOR, EQUINV_VERSION_MINOR,
             EQUINV_VERSION_PATCH);
    if (strcmp(version, equinv_version()) != 0 || equinv_context_create(NULL, &ctx)) {
        fprintf(stderr, "consumer: %s\n", equinv_last_error());
        return 1;
    }
    printf("%s\n", equinv_context_description(ctx));
    /* r turns the one-hot field by one place. */
    float from[4] = {1, 0, 0, 0}, to[4] = {0, 0, 0, 0};
    const int64_t shape[5] = {1, 1, 4, 1, 1};
    equinv_tensor src, dst;
    const int failed = equinv_tensor_init(from, EQUINV_F32, 5, shape, &src) ||
                       equinv_tensor_init(to, EQUINV_F32, 5, shape, &dst) ||
                       equinv_act(ctx, equinv_cyclic(4), 1, &src, &dst) || to[1] != 1.0f;
    equinv_context_destroy(ctx);
    return failed;
}
