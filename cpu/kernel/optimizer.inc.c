/* Rows of one update; REAL is the element type, NAME makes a function's name for it. */

static void NAME(sgd)(void *arg, const int64_t *at, int64_t count)
{
    const job *const j = arg;
    REAL *const value = (REAL *)j->state->value.data + at[0];
    const REAL *const gradient = (const REAL *)j->state->gradient.data + at[1];
    const REAL rate = (REAL)j->update->desc.learning_rate;
    const REAL decay = (REAL)j->update->desc.weight_decay;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        value[i] -= rate * (gradient[i] + decay * value[i]);
}

static void NAME(momentum)(void *arg, const int64_t *at, int64_t count)
{
    const job *const j = arg;
    REAL *const value = (REAL *)j->state->value.data + at[0];
    const REAL *const gradient = (const REAL *)j->state->gradient.data + at[1];
    REAL *const velocity = (REAL *)j->state->first.data + at[2];
    const REAL rate = (REAL)j->update->desc.learning_rate;
    const REAL decay = (REAL)j->update->desc.weight_decay;
    const REAL momentum = (REAL)j->update->desc.momentum;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        velocity[i] = momentum * velocity[i] + (gradient[i] + decay * value[i]);
        value[i] -= rate * velocity[i];
    }
}

static void NAME(adam)(void *arg, const int64_t *at, int64_t count)
{
    const job *const j = arg;
    const equinv_optimizer_desc *const d = &j->update->desc;
    REAL *const value = (REAL *)j->state->value.data + at[0];
    const REAL *const gradient = (const REAL *)j->state->gradient.data + at[1];
    REAL *const first = (REAL *)j->state->first.data + at[2];
    REAL *const second = (REAL *)j->state->second.data + at[3];
    const REAL beta1 = (REAL)d->beta1, rest1 = (REAL)(1 - d->beta1);
    const REAL beta2 = (REAL)d->beta2, rest2 = (REAL)(1 - d->beta2);
    const REAL rate = (REAL)(d->learning_rate / j->update->correction1);
    const REAL inverse = (REAL)(1 / j->update->correction2);
    const REAL epsilon = (REAL)d->epsilon, decay = (REAL)d->weight_decay;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const REAL g = gradient[i] + decay * value[i];
        const REAL m = beta1 * first[i] + rest1 * g;
        const REAL v = beta2 * second[i] + rest2 * g * g;
        first[i] = m;
        second[i] = v;
        value[i] -= rate * m / (SQRT(v * inverse) + epsilon);
    }
}
