#include <string.h>

#include "bench/bench.h"

const word pass_words[] = {
    {"forward", PASS_FORWARD},
    {"backward-data", PASS_BACKWARD_DATA},
    {"backward-weights", PASS_BACKWARD_WEIGHTS},
    {NULL, 0},
};

static const operation *const operations[] = {
    &conv_operation,       &conv_lift_operation,   &conv_plane_operation, &project_operation,
    &rowsort_operation,    &templates_operation,   &bispectrum_operation, &orbit_distance_operation,
    &neighbours_operation, &extract_operation,     &train_step_operation, &act_operation,
    &relu_operation,       &batch_norm_operation,  &pool_operation,       &upsample_operation,
    &dense_operation,      &node_linear_operation, &node_norm_operation,  &filters_operation,
    &plans_operation,
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

void operations_print(FILE *out)
{
    for (size_t i = 0; i < OPERATIONS; i++)
        fprintf(out, "  %-16s %s\n", operations[i]->name, operations[i]->purpose);
}

const operation *operation_find(const char *name)
{
    char words[320];
    size_t used = 0;
    for (size_t i = 0; i < OPERATIONS; i++) {
        if (strcmp(name, operations[i]->name) == 0)
            return operations[i];
        if (used < sizeof words)
            used += (size_t)snprintf(words + used, sizeof words - used, "%s%s", i ? ", " : "",
                                     operations[i]->name);
    }
    tool_misused("--op is \"%s\", expected one of: %s", name, words);
    return NULL;
}
