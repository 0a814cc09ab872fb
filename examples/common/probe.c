#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { EPOCHS = 30, BATCH = 100 };
static const double learning_rate =
    3e-3; /* of Adam's first step; it falls to 0 along half a cosine */

typedef struct probe {
    equinv_context *cpu;
    equinv_model *model;
    equinv_optimizer *optimizer;
    int64_t width, classes;
    double *mean, *scale;       /* what standardises a number */
    equinv_tensor rows, labels; /* of a batch */
    equinv_tensor loss, gradient;
} probe;

/* Mean and 1 / standard deviation of every number over the rows. */
static void learn_scale(const probe *p, const equinv_tensor *rows)
{
    const int64_t count = rows->shape[0];
    const float *const x = rows->data;
    memset(p->mean, 0, sizeof *p->mean * (size_t)p->width);
    memset(p->scale, 0, sizeof *p->scale * (size_t)p->width);
    for (int64_t n = 0; n < count; n++)
        for (int64_t i = 0; i < p->width; i++)
            p->mean[i] += (double)x[n * p->width + i] / (double)count;
    for (int64_t n = 0; n < count; n++)
        for (int64_t i = 0; i < p->width; i++) {
            const double off = (double)x[n * p->width + i] - p->mean[i];
            p->scale[i] += off * off / (double)count;
        }
    for (int64_t i = 0; i < p->width; i++)
        p->scale[i] = p->scale[i] > 0 ? 1 / sqrt(p->scale[i]) : 0;
}

/* Rows order[0 .. count - 1] and their labels into the batch. */
static void gather(const probe *p, const probe_set *set, const int64_t *order, int64_t count)
{
    for (int64_t n = 0; n < count; n++) {
        const float *const from = (const float *)set->rows->data + order[n] * p->width;
        float *const to = (float *)p->rows.data + n * p->width;
        for (int64_t i = 0; i < p->width; i++)
            to[i] = (float)(((double)from[i] - p->mean[i]) * p->scale[i]);
        ((int32_t *)p->labels.data)[n] = ((const int32_t *)set->labels->data)[order[n]];
    }
}

static equinv_status create(probe *p, uint64_t seed)
{
    equinv_status status;
    const equinv_parameter *parameters;
    size_t count;
    equinv_model_desc m = EQUINV_MODEL_DESC_INIT;
    equinv_layer_desc dense = EQUINV_LAYER_DESC_INIT;
    equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    m.group = equinv_cyclic(1);
    m.channels = p->width;
    m.height = m.width = 1;
    m.seed = seed;
    dense.name = "classes";
    dense.op = EQUINV_LAYER_DENSE;
    dense.fields = p->classes;
    adam.learning_rate = learning_rate;
    p->mean = malloc(sizeof *p->mean * (size_t)p->width);
    p->scale = malloc(sizeof *p->scale * (size_t)p->width);
    if (!p->mean || !p->scale)
        return EQUINV_ERR_NOMEM;
    TRY(equinv_model_create(p->cpu, &m, &p->model));
    TRY(equinv_model_add(p->model, &dense));
    TRY(equinv_model_parameters(p->model, &parameters, &count));
    TRY(equinv_optimizer_create(p->cpu, &adam, parameters, count, &p->optimizer));
    TRY(equinv_tensor_create(p->cpu, EQUINV_F32, 4, (int64_t[]){BATCH, p->width, 1, 1}, &p->rows));
    TRY(equinv_tensor_create(p->cpu, EQUINV_I32, 1, (int64_t[]){BATCH}, &p->labels));
    TRY(equinv_tensor_create(p->cpu, EQUINV_F32, 1, (int64_t[]){1}, &p->loss));
    TRY(equinv_tensor_create(p->cpu, EQUINV_F32, 2, (int64_t[]){BATCH, p->classes}, &p->gradient));
done:
    return status;
}

static void destroy(probe *p)
{
    equinv_tensor_destroy(p->cpu, &p->gradient);
    equinv_tensor_destroy(p->cpu, &p->loss);
    equinv_tensor_destroy(p->cpu, &p->labels);
    equinv_tensor_destroy(p->cpu, &p->rows);
    equinv_optimizer_destroy(p->optimizer);
    equinv_model_destroy(p->model);
    free(p->mean);
    free(p->scale);
}

static equinv_status step(const probe *p, int64_t count)
{
    equinv_tensor rows, labels, gradient, logits;
    equinv_status status;
    TRY(equinv_tensor_rows(&p->rows, 0, count, &rows));
    TRY(equinv_tensor_rows(&p->labels, 0, count, &labels));
    TRY(equinv_tensor_rows(&p->gradient, 0, count, &gradient));
    TRY(equinv_model_forward(p->model, true, &rows, &logits));
    TRY(equinv_cross_entropy(p->cpu, &logits, &labels, &p->loss, &gradient));
    TRY(equinv_model_backward(p->model, &gradient));
    TRY(equinv_optimizer_step(p->optimizer));
done:
    return status;
}

/* order: room for as many indices as the set has rows. */
static equinv_status fit(const probe *p, const probe_set *set, uint64_t seed, int64_t *order)
{
    const double pi = 3.14159265358979323846;
    const int64_t count = set->rows->shape[0];
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    equinv_status status = EQUINV_OK;
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        for (int64_t i = 0; i < count; i++)
            order[i] = i;
        for (int64_t i = count - 1; i > 0; i--) {
            uint32_t word[4];
            equinv_philox((uint32_t[]){(uint32_t)i, (uint32_t)epoch, 0, STREAM_PROBE}, key, word);
            const int64_t j = (int64_t)(word[0] % (uint64_t)(i + 1)), other = order[j];
            order[j] = order[i];
            order[i] = other;
        }
        for (int64_t at = 0; at < count; at += BATCH) {
            const int64_t now = count - at < BATCH ? count - at : BATCH;
            const double share = (double)(epoch * count + at) / (double)(EPOCHS * count);
            gather(p, set, order + at, now);
            TRY(equinv_optimizer_set_learning_rate(p->optimizer,
                                                   learning_rate * 0.5 * (1 + cos(pi * share))));
            TRY(step(p, now));
        }
    }
done:
    return status;
}

static equinv_status judge(const probe *p, const probe_set *set, double *accuracy)
{
    const int64_t count = set->rows->shape[0];
    int64_t right = 0;
    equinv_status status = EQUINV_OK;
    for (int64_t at = 0; at < count; at += BATCH) {
        int64_t order[BATCH];
        const int64_t now = count - at < BATCH ? count - at : BATCH;
        equinv_tensor rows, logits;
        for (int64_t i = 0; i < now; i++)
            order[i] = at + i;
        gather(p, set, order, now);
        TRY(equinv_tensor_rows(&p->rows, 0, now, &rows));
        TRY(equinv_model_forward(p->model, false, &rows, &logits));
        for (int64_t n = 0; n < now; n++) {
            const float *const row = (const float *)logits.data + n * p->classes;
            int64_t best = 0;
            for (int64_t c = 1; c < p->classes; c++)
                best = row[c] > row[best] ? c : best;
            right += best == ((const int32_t *)p->labels.data)[n];
        }
    }
    *accuracy = (double)right / (double)count;
done:
    return status;
}

equinv_status linear_probe(equinv_context *cpu, probe_set train, const probe_set *tests, int count,
                           uint64_t seed, double *accuracy)
{
    const int64_t rows = train.rows->shape[0];
    probe p = {.cpu = cpu, .width = equinv_tensor_count(train.rows) / rows, .classes = 1};
    int64_t *const order = malloc(sizeof *order * (size_t)rows);
    equinv_status status = EQUINV_ERR_NOMEM;
    if (!order)
        goto done;
    for (int64_t n = 0; n < rows; n++) {
        const int32_t label = ((const int32_t *)train.labels->data)[n];
        p.classes = label >= p.classes ? label + 1 : p.classes;
    }
    TRY(create(&p, seed));
    learn_scale(&p, train.rows);
    TRY(fit(&p, &train, seed, order));
    for (int i = 0; i < count; i++)
        TRY(judge(&p, &tests[i], &accuracy[i]));
done:
    destroy(&p);
    free(order);
    return status;
}
