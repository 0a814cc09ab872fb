#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "examples/common/common.h"

/* ---- random numbers -------------------------------------------------------------------------- */

uint32_t random_word(uint64_t seed, stream s, int64_t i, int64_t j)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    equinv_philox((uint32_t[]){(uint32_t)j, (uint32_t)i, (uint32_t)((uint64_t)i >> 32), s}, key,
                  words);
    return words[0];
}

void random_order(uint64_t seed, stream s, int64_t i, int n, int *order)
{
    for (int k = 0; k < n; k++) {
        const int at = (int)((uint64_t)random_word(seed, s, i, k) * (uint64_t)(k + 1) >> 32);
        order[k] = order[at];
        order[at] = k;
    }
}

/* ---- codes ----------------------------------------------------------------------------------- */

static equinv_tensor rows_of(float *numbers, int64_t count)
{
    equinv_tensor t;
    if (equinv_tensor_init(numbers, EQUINV_F32, 2, (int64_t[]){count, NODES}, &t))
        abort(); /* a shape that fits */
    return t;
}

/* [N, 1, 1, 1, NODES] as a feature map without a group, for distances between rows as they are. */
static equinv_tensor points_of(const float *numbers, int64_t count, int64_t width)
{
    equinv_tensor t;
    const int64_t shape[5] = {count, width, 1, 1, 1};
    if (equinv_tensor_init((void *)numbers, EQUINV_F32, 5, shape, &t))
        abort();
    return t;
}

static equinv_status sort_rows(equinv_context *ctx, float *numbers, const uint8_t *there,
                               int64_t count, float *sorted)
{
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    equinv_projection *sort = NULL;
    equinv_tensor mask;
    equinv_status status;
    d.kind = EQUINV_PROJECT_SORT;
    d.group = equinv_symmetric();
    d.rows = NODES, d.channels = 1;
    d.fill = 0;
    TRY(equinv_projection_create(ctx, &d, &sort));
    if (there)
        TRY(equinv_tensor_init((void *)there, EQUINV_U8, 2, (int64_t[]){count, NODES}, &mask));
    const equinv_tensor src = rows_of(numbers, count), dst = rows_of(sorted, count);
    TRY(equinv_project_forward(sort, &src, there ? &mask : NULL, &dst, NULL, 0, NULL, 0));
done:
    equinv_projection_destroy(sort);
    return status;
}

static equinv_status sort_codes(equinv_context *ctx, coded *codes)
{
    equinv_status status = EQUINV_ERR_NOMEM;
    uint8_t *const there = malloc((size_t)codes->count * NODES);
    if (!there)
        return status;
    for (int64_t i = 0; i < codes->count * NODES; i++)
        there[i] = i % NODES < codes->nodes[i / NODES];
    TRY(sort_rows(ctx, codes->raw, there, codes->count, codes->sorted));
    TRY(sort_rows(ctx, codes->raw, NULL, codes->count, codes->unmasked));
done:
    free(there);
    return status;
}

void coded_free(coded *codes)
{
    free(codes->graphs);
    free(codes->nodes);
    free(codes->raw);
    free(codes->sorted);
    free(codes->unmasked);
    memset(codes, 0, sizeof *codes);
}

/* Codes of graphs as they are. */
static equinv_status encode_graphs(const codec *c, const graph *graphs, int64_t count, float *codes)
{
    equinv_status status = EQUINV_ERR_NOMEM;
    const graph **const list = malloc(sizeof *list * (size_t)c->batch);
    float *const means = malloc(sizeof *means * (size_t)(c->batch * NODES));
    if (!list || !means)
        goto done;
    for (int64_t at = 0; at < count; at += c->batch) {
        const int64_t now = count - at < c->batch ? count - at : c->batch;
        for (int64_t i = 0; i < now; i++)
            list[i] = &graphs[at + i];
        TRY(network_load(c->net, list, now));
        TRY(network_encode(c->net, means));
        memcpy(codes + at * NODES, means, sizeof *means * (size_t)(now * NODES));
    }
    status = EQUINV_OK;
done:
    free(list);
    free(means);
    return status;
}

equinv_status decode_codes(const codec *c, const float *codes, const int *nodes, int64_t count,
                           graph *graphs)
{
    equinv_status status = EQUINV_OK;
    for (int64_t at = 0; at < count && !status; at += c->batch)
        status = network_decode(c->net, codes + at * NODES, nodes + at,
                                count - at < c->batch ? count - at : c->batch, graphs + at);
    return status;
}

equinv_status code_molecules(const codec *c, const graph *graphs, int64_t count, stream s,
                             int64_t copy, coded *codes)
{
    const size_t n = (size_t)count;
    equinv_status status = EQUINV_ERR_NOMEM;
    *codes = (coded){count,
                     malloc(sizeof *codes->graphs * n),
                     malloc(sizeof *codes->nodes * n),
                     malloc(sizeof *codes->raw * n * NODES),
                     malloc(sizeof *codes->sorted * n * NODES),
                     malloc(sizeof *codes->unmasked * n * NODES)};
    if (!codes->graphs || !codes->nodes || !codes->raw || !codes->sorted || !codes->unmasked)
        goto done;
    for (int64_t i = 0; i < count; i++) {
        int order[NODES];
        codes->nodes[i] = graph_nodes(&graphs[i]);
        random_order(c->seed, s, copy * count + i, codes->nodes[i], order);
        graph_permute(&graphs[i], order, &codes->graphs[i]);
    }
    TRY(encode_graphs(c, codes->graphs, count, codes->raw));
    TRY(sort_codes(c->ctx, codes));
done:
    if (status)
        coded_free(codes);
    return status;
}

/* ---- reconstruction -------------------------------------------------------------------------- */

equinv_status measure_reconstruction(const codec *c, const coded *codes, reconstruction *r)
{
    int64_t nodes = 0, pairs = 0, bonds = 0, right[4] = {0};
    equinv_status status = EQUINV_ERR_NOMEM;
    graph *const back = malloc(sizeof *back * (size_t)codes->count);
    r->exact = malloc(sizeof *r->exact * (size_t)codes->count);
    if (!back || !r->exact)
        goto done;
    TRY(decode_codes(c, codes->raw, codes->nodes, codes->count, back));
    for (int64_t m = 0; m < codes->count; m++) {
        const graph *const was = &codes->graphs[m], *const is = &back[m];
        for (int i = 0; i < codes->nodes[m]; i++) {
            nodes++;
            right[0] += was->cell[i][i] == is->cell[i][i];
            for (int j = 0; j < i; j++) {
                const bool same = was->cell[i][j] == is->cell[i][j];
                pairs++;
                right[1] += same;
                bonds += was->cell[i][j] != NO_BOND;
                right[2] += was->cell[i][j] != NO_BOND && same;
            }
        }
        r->exact[m] = memcmp(was, is, sizeof *was) == 0;
        right[3] += r->exact[m];
    }
    r->nodes = (double)right[0] / (double)nodes;
    r->pairs = (double)right[1] / (double)pairs;
    r->bonds = (double)right[2] / (double)bonds;
    r->molecules = (double)right[3] / (double)codes->count;
done:
    free(back);
    return status;
}

/* ---- permutations ---------------------------------------------------------------------------- */

equinv_status measure_permutations(const codec *c, const graph *graphs, int64_t count,
                                   permutation_errors *errors)
{
    coded a = {0}, b = {0};
    graph *const back = malloc(sizeof *back * (size_t)(2 * count));
    double size = 0, off = 0, raw = 0, sorted = 0;
    int64_t cells = 0, unlike = 0;
    equinv_status status = back ? EQUINV_OK : EQUINV_ERR_NOMEM;
    if (status)
        goto done;
    TRY(code_molecules(c, graphs, count, STREAM_COPIES, 1000, &a));
    TRY(code_molecules(c, graphs, count, STREAM_COPIES, 1001, &b));
    TRY(decode_codes(c, a.raw, a.nodes, count, back));
    TRY(decode_codes(c, b.raw, b.nodes, count, back + count));
    for (int64_t m = 0; m < count; m++) {
        int to_a[NODES], to_b[NODES];
        const int n = a.nodes[m];
        random_order(c->seed, STREAM_COPIES, 1000 * count + m, n, to_a);
        random_order(c->seed, STREAM_COPIES, 1001 * count + m, n, to_b);
        for (int i = 0; i < n; i++) {
            const double x = (double)a.raw[m * NODES + to_a[i]];
            size = fmax(size, fabs(x));
            off = fmax(off, fabs(x - (double)b.raw[m * NODES + to_b[i]]));
            raw = fmax(raw, fabs((double)a.raw[m * NODES + i] - (double)b.raw[m * NODES + i]));
            sorted = fmax(sorted,
                          fabs((double)a.sorted[m * NODES + i] - (double)b.sorted[m * NODES + i]));
            for (int j = 0; j <= i; j++, cells++)
                unlike += back[m].cell[to_a[i]][to_a[j]] != back[count + m].cell[to_b[i]][to_b[j]];
        }
    }
    *errors =
        (permutation_errors){off / size, (double)unlike / (double)cells, raw / size, sorted / size};
done:
    free(back);
    coded_free(&a);
    coded_free(&b);
    return status;
}

/* ---- properties ------------------------------------------------------------------------------ */

const char *const property_names[PROPERTIES] = {"homo",  "lumo", "gap",        "mu",
                                                "alpha", "cv",   "heavy_atoms"};

/* Figures of predictions [count - fit, PROPERTIES] for the rows behind the first `fit`. */
static void judge(const double *predicted, const double *properties, int64_t fit, int64_t count,
                  prediction *p)
{
    const double asked = (double)(count - fit);
    for (int k = 0; k < PROPERTIES; k++) {
        double mean = 0, rest = 0, all = 0, off = 0;
        for (int64_t i = fit; i < count; i++)
            mean += properties[i * PROPERTIES + k] / asked;
        for (int64_t i = fit; i < count; i++) {
            const double y = properties[i * PROPERTIES + k];
            const double d = y - predicted[(i - fit) * PROPERTIES + k];
            rest += d * d;
            off += fabs(d);
            all += (y - mean) * (y - mean);
        }
        p->r2[k] = 1 - rest / all;
        p->error[k] = off / asked;
    }
}

/* Distances and rows of the k nearest of `gallery` for every query, in the order of the numbers. */
static equinv_status nearest(equinv_context *ctx, const float *gallery, int64_t count,
                             const float *queries, int64_t asked, int64_t k, float *distance,
                             int32_t *index)
{
    const equinv_tensor x = points_of(gallery, count, NODES), y = points_of(queries, asked, NODES);
    equinv_tensor d, i;
    equinv_status status;
    TRY(equinv_tensor_init(distance, EQUINV_F32, 2, (int64_t[]){asked, k}, &d));
    TRY(equinv_tensor_init(index, EQUINV_I32, 2, (int64_t[]){asked, k}, &i));
    TRY(equinv_neighbours(ctx, equinv_cyclic(1), &x, &y, k, &d, &i));
done:
    return status;
}

equinv_status predict_by_neighbours(equinv_context *ctx, const float *codes,
                                    const double *properties, int64_t fit, int64_t count,
                                    prediction *p)
{
    const int64_t asked = count - fit;
    float *const distance = malloc(sizeof *distance * (size_t)(asked * NEAREST));
    int32_t *const index = malloc(sizeof *index * (size_t)(asked * NEAREST));
    double *const predicted = calloc((size_t)(asked * PROPERTIES), sizeof *predicted);
    equinv_status status = EQUINV_ERR_NOMEM;
    if (!distance || !index || !predicted)
        goto done;
    TRY(nearest(ctx, codes, fit, codes + fit * NODES, asked, NEAREST, distance, index));
    for (int64_t i = 0; i < asked; i++)
        for (int n = 0; n < NEAREST; n++)
            for (int k = 0; k < PROPERTIES; k++)
                predicted[i * PROPERTIES + k] +=
                    properties[index[i * NEAREST + n] * PROPERTIES + k] / NEAREST;
    judge(predicted, properties, fit, count, p);
done:
    free(distance);
    free(index);
    free(predicted);
    return status;
}

enum { UNKNOWNS = NODES + 1 };

/* Gaussian elimination of a positive definite system for several right-hand sides. */
static void solve(double a[UNKNOWNS][UNKNOWNS], double b[UNKNOWNS][PROPERTIES])
{
    for (int i = 0; i < UNKNOWNS; i++)
        for (int r = 0; r < UNKNOWNS; r++) {
            if (r == i)
                continue;
            const double f = a[r][i] / a[i][i];
            for (int k = 0; k < UNKNOWNS; k++)
                a[r][k] -= f * a[i][k];
            for (int k = 0; k < PROPERTIES; k++)
                b[r][k] -= f * b[i][k];
        }
    for (int i = 0; i < UNKNOWNS; i++)
        for (int k = 0; k < PROPERTIES; k++)
            b[i][k] /= a[i][i];
}

equinv_status predict_by_ridge(const float *codes, const double *properties, int64_t fit,
                               int64_t count, prediction *p)
{
    double a[UNKNOWNS][UNKNOWNS] = {{0}}, b[UNKNOWNS][PROPERTIES] = {{0}};
    double *const predicted = calloc((size_t)((count - fit) * PROPERTIES), sizeof *predicted);
    if (!predicted)
        return EQUINV_ERR_NOMEM;
    for (int64_t i = 0; i < count; i++) {
        double x[UNKNOWNS] = {[NODES] = 1};
        for (int k = 0; k < NODES; k++)
            x[k] = (double)codes[i * NODES + k];
        if (i == fit) {
            for (int k = 0; k < NODES; k++)
                a[k][k] += 1; /* the penalty; none on the constant */
            solve(a, b);
        }
        for (int r = 0; i < fit && r < UNKNOWNS; r++) {
            for (int k = 0; k < UNKNOWNS; k++)
                a[r][k] += x[r] * x[k];
            for (int k = 0; k < PROPERTIES; k++)
                b[r][k] += x[r] * properties[i * PROPERTIES + k];
        }
        for (int r = 0; i >= fit && r < UNKNOWNS; r++)
            for (int k = 0; k < PROPERTIES; k++)
                predicted[(i - fit) * PROPERTIES + k] += x[r] * b[r][k];
    }
    judge(predicted, properties, fit, count, p);
    free(predicted);
    return EQUINV_OK;
}

/* ---- own copies ------------------------------------------------------------------------------ */

static double distance_of(const float *x, const float *y)
{
    double sum = 0;
    for (int i = 0; i < NODES; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sqrt(sum);
}

/* gallery [OWN_COPIES, count, NODES] */
static equinv_status count_own(equinv_context *ctx, const float *gallery, int64_t count,
                               const float *queries, int64_t asked, own_copies *o)
{
    float *const distance = malloc(sizeof *distance * (size_t)(asked * OWN_COPIES));
    int32_t *const index = malloc(sizeof *index * (size_t)(asked * OWN_COPIES));
    equinv_status status = EQUINV_ERR_NOMEM;
    double own = 0, other = 0;
    int64_t found = 0;
    if (!distance || !index)
        goto done;
    TRY(nearest(ctx, gallery, OWN_COPIES * count, queries, asked, OWN_COPIES, distance, index));
    for (int64_t i = 0; i < asked; i++)
        for (int k = 0; k < OWN_COPIES; k++) {
            const float *const row = gallery + k * count * NODES;
            found += index[i * OWN_COPIES + k] % count == i;
            own += distance_of(queries + i * NODES, row + i * NODES);
            other += distance_of(queries + i * NODES, row + (i + count / 2) % count * NODES);
        }
    const double all = (double)(asked * OWN_COPIES);
    *o = (own_copies){(double)found / all, own / all, other / all};
done:
    free(distance);
    free(index);
    return status;
}

equinv_status measure_own_copies(const codec *c, const graph *graphs, int64_t count,
                                 int64_t queries, own_copies *raw, own_copies *sorted)
{
    const size_t each = (size_t)(count * NODES);
    float *const galleries = malloc(sizeof *galleries * 2 * OWN_COPIES * each);
    float *const raw_gallery = galleries, *const sorted_gallery = galleries + OWN_COPIES * each;
    coded asked = {0};
    equinv_status status = galleries ? EQUINV_OK : EQUINV_ERR_NOMEM;
    for (int copy = 0; copy < OWN_COPIES && !status; copy++) {
        coded codes;
        status = code_molecules(c, graphs, count, STREAM_COPIES, copy, &codes);
        if (status)
            break;
        memcpy(raw_gallery + (size_t)copy * each, codes.raw, sizeof *galleries * each);
        memcpy(sorted_gallery + (size_t)copy * each, codes.sorted, sizeof *galleries * each);
        coded_free(&codes);
    }
    if (status)
        goto done;
    TRY(code_molecules(c, graphs, queries, STREAM_COPIES, 100, &asked));
    TRY(count_own(c->ctx, raw_gallery, count, asked.raw, queries, raw));
    TRY(count_own(c->ctx, sorted_gallery, count, asked.sorted, queries, sorted));
done:
    free(galleries);
    coded_free(&asked);
    return status;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static equinv_status walk_line(const codec *c, const float *from, const float *to,
                               graph steps[STEPS])
{
    float codes[STEPS * NODES];
    int nodes[STEPS];
    for (int s = 0; s < STEPS; s++) {
        const float t = (float)s / (STEPS - 1);
        nodes[s] = NODES;
        for (int i = 0; i < NODES; i++)
            codes[s * NODES + i] = (1 - t) * from[i] + t * to[i];
    }
    return decode_codes(c, codes, nodes, STEPS, steps);
}

static void add_line(const graph steps[STEPS], double length, int64_t pairs, line_figures *f)
{
    int valid = 0, distinct = 0;
    for (int s = 1; s < STEPS - 1; s++) {
        bool seen = false;
        const bool molecule = graph_is_molecule(&steps[s]);
        valid += molecule;
        for (int other = 0; other < STEPS; other++)
            if (other < s || other == STEPS - 1)
                seen |= memcmp(&steps[s], &steps[other], sizeof *steps) == 0;
        distinct += molecule && !seen;
    }
    f->valid += (double)valid / (double)(pairs * (STEPS - 2));
    f->distinct += (double)distinct / (double)pairs;
    f->length += length / (double)pairs;
}

equinv_status measure_lines(const codec *c, const coded *codes, const bool *exact, int64_t pairs,
                            lines *l)
{
    int64_t *const candidates = malloc(sizeof *candidates * (size_t)codes->count);
    equinv_status status = EQUINV_OK;
    double most = -1;
    memset(l, 0, sizeof *l);
    l->steps = calloc((size_t)(2 * pairs), sizeof(graph[STEPS]));
    if (!candidates || !l->steps) {
        status = EQUINV_ERR_NOMEM;
        goto done;
    }
    for (int64_t m = 0; m < codes->count; m++)
        if (codes->nodes[m] == NODES && exact[m])
            candidates[l->candidates++] = m;
    l->pairs = l->candidates > 1 ? pairs : 0;
    for (int64_t p = 0; p < l->pairs; p++) {
        const uint64_t n = (uint64_t)l->candidates;
        const int64_t a = (int64_t)(random_word(c->seed, STREAM_PAIRS, p, 0) % n);
        const int64_t step = (int64_t)(random_word(c->seed, STREAM_PAIRS, p, 1) % (n - 1));
        const int64_t i = candidates[a] * NODES;
        const int64_t j = candidates[(a + 1 + step) % l->candidates] * NODES;
        graph *const raw = l->steps + p * STEPS, *const sorted = raw + l->pairs * STEPS;
        TRY(walk_line(c, codes->raw + i, codes->raw + j, raw));
        TRY(walk_line(c, codes->sorted + i, codes->sorted + j, sorted));
        const double before = l->sorted.distinct;
        add_line(raw, distance_of(codes->raw + i, codes->raw + j), l->pairs, &l->raw);
        add_line(sorted, distance_of(codes->sorted + i, codes->sorted + j), l->pairs, &l->sorted);
        if (l->sorted.distinct - before > most + 1e-9) {
            most = l->sorted.distinct - before;
            l->example = p;
        }
    }
done:
    free(candidates);
    return status;
}

/* ---- the sort as a shortcut ------------------------------------------------------------------ */

/* Distances [n, n] between orbits: rows [n, NODES, channels] under S, or as they are without a group. */
static equinv_status distances(equinv_context *ctx, equinv_group group, const float *codes,
                               int64_t n, int64_t channels, float *to)
{
    equinv_tensor x, d;
    equinv_status status;
    if (group.kind == EQUINV_GROUP_SYMMETRIC)
        TRY(equinv_tensor_init((void *)codes, EQUINV_F32, 3, (int64_t[]){n, NODES, channels}, &x));
    else
        x = points_of(codes, n, NODES);
    TRY(equinv_tensor_init(to, EQUINV_F32, 2, (int64_t[]){n, n}, &d));
    TRY(equinv_orbit_distance(ctx, group, &x, &x, &d, NULL));
done:
    return status;
}

static int64_t nearest_other(const float *row, int64_t n, int64_t i)
{
    int64_t best = i == 0 ? 1 : 0;
    for (int64_t j = 0; j < n; j++)
        if (j != i && row[j] < row[best])
            best = j;
    return best;
}

/* The assignment sees rows (z, 0), two channels, so that no shortcut is taken. */
equinv_status measure_shortcut(equinv_context *ctx, const coded *codes, int64_t count, shortcut *s)
{
    const size_t n = (size_t)count;
    float *const memory = malloc(sizeof *memory * (n * n * 3 + n * NODES * 2));
    float *const sorted = memory, *const unmasked = memory + n * n,
                 *const exact = memory + 2 * n * n;
    float *const rows = memory + 3 * n * n;
    double largest = 0, assignment = 0, without = 0;
    int64_t other = 0;
    equinv_status status = memory ? EQUINV_OK : EQUINV_ERR_NOMEM;
    if (status)
        goto done;
    for (int64_t i = 0; i < count * NODES; i++) {
        rows[2 * i] = codes->raw[i];
        rows[2 * i + 1] = 0;
    }
    double start = seconds_now();
    TRY(distances(ctx, equinv_cyclic(1), codes->sorted, count, 1, sorted));
    s->sorted_seconds = seconds_now() - start;
    TRY(distances(ctx, equinv_cyclic(1), codes->unmasked, count, 1, unmasked));
    start = seconds_now();
    TRY(distances(ctx, equinv_symmetric(), rows, count, 2, exact));
    s->assignment_seconds = seconds_now() - start;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < count; j++) {
            const double d = (double)sorted[i * count + j];
            largest = fmax(largest, d);
            if (codes->nodes[i] == NODES && codes->nodes[j] == NODES)
                assignment = fmax(assignment, fabs(d - (double)exact[i * count + j]));
            if (codes->nodes[i] != codes->nodes[j])
                without = fmax(without, fabs(d - (double)unmasked[i * count + j]));
        }
        other += nearest_other(sorted + i * count, count, i) !=
                 nearest_other(unmasked + i * count, count, i);
    }
    s->molecules = count;
    s->assignment_error = assignment / largest;
    s->unmasked_error = without / largest;
    s->unmasked_neighbours = (double)other / (double)count;
done:
    free(memory);
    return status;
}
