/*
 * A permutation-equivariant graph autoencoder on molecules of QM9: a molecule's code is defined only up
 * to an order of its atoms, so that codes must be compared in the quotient. One number an atom makes
 * sorting an isometric cross section: nothing is lost, and straight lines between sorted codes are
 * shortest paths.
 *
 *     build/bin/equinv-molecules [--seed N] [--output FOLDER] [--resume] [--device cuda]
 *
 * Trains, then compares codes in a random order of the atoms with sorted ones. Writes
 * FOLDER/molecules.json, molecules-codes.png, molecules-lines.svg, molecules-steps.npy (what lies on the
 * lines), and a checkpoint after every pass.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/common/common.h"
#include "measure.h"
#include "picture.h"
#include "tools/tool.h"

const char program_name[] = "equinv-molecules";

enum { BATCH = 64, CHANNELS = 32, BLOCKS = 3, EPOCHS = 60, FEWEST_TESTED = 50 };
enum { OWN_MOLECULES = 2000, OWN_QUERIES = 500, LINES = 300, CHECKED = 512, SHORTCUT = 1000 };
static const double kl_weight = 0.03, peak_rate = 3e-3, most_gradient = 1;

#define REPORT_FILE "molecules.json"
#define CHECKPOINT "molecules.safetensors"

typedef struct options {
    const char *data, *folder;
    int64_t train, test, epochs;
    uint64_t seed;
    bool resume;
    equinv_context_desc device;
} options;

/* ---- messages -------------------------------------------------------------------------------- */

/* What went wrong beside the library: a file of molecules, or memory. */
static char own_sentence[512];

static int failed(equinv_status status)
{
    return tool_fail("%s: %s", equinv_status_name(status),
                     own_sentence[0] ? own_sentence : equinv_last_error());
}

/* ---- data ------------------------------------------------------------------------------------ */

typedef struct molecules {
    equinv_tensor train, table; /* graphs */
    int64_t train_count, table_count, fit;
    double *properties; /* [table_count, PROPERTIES] */
} molecules;

static void molecules_free(equinv_context *ctx, molecules *m)
{
    equinv_tensor_destroy(ctx, &m->train);
    equinv_tensor_destroy(ctx, &m->table);
    free(m->properties);
}

/* At least so many molecules: of those that are learned from a batch, of the others enough to judge. */
static equinv_status load_graphs(equinv_context *ctx, const char *folder, const char *name,
                                 int64_t fewest, equinv_tensor *graphs)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const equinv_status status = graphs_load(ctx, path, graphs, own_sentence, sizeof own_sentence);
    if (!status && graphs->shape[0] < fewest) {
        snprintf(own_sentence, sizeof own_sentence,
                 "%.300s has %" PRId64 " molecules, expected at least %" PRId64, path,
                 graphs->shape[0], fewest);
        return EQUINV_ERR_SHAPE;
    }
    return status;
}

/* The numbers of the table, and the number of heavy atoms. */
static equinv_status load_properties(equinv_context *ctx, const char *folder, molecules *m)
{
    enum { COLUMNS = PROPERTIES - 1 };
    char path[4096];
    equinv_tensor table = {0};
    equinv_status status;
    snprintf(path, sizeof path, "%s/qm9-table-properties.npy.gz", folder);
    TRY(equinv_tensor_load(ctx, path, &table));
    if (table.dtype != EQUINV_F32 || table.ndim != 2 || table.shape[0] != m->table.shape[0] ||
        table.shape[1] != COLUMNS) {
        snprintf(own_sentence, sizeof own_sentence,
                 "%.300s does not hold f32 [%" PRId64
                 ", %d], a row for every molecule of the table",
                 path, m->table.shape[0], COLUMNS);
        status = EQUINV_ERR_SHAPE;
        goto done;
    }
    m->properties = malloc(sizeof *m->properties * (size_t)(m->table_count * PROPERTIES));
    if (!m->properties) {
        status = EQUINV_ERR_NOMEM;
        goto done;
    }
    for (int64_t i = 0; i < m->table_count; i++) {
        for (int k = 0; k < COLUMNS; k++) {
            const double value = (double)((const float *)table.data)[i * COLUMNS + k];
            m->properties[i * PROPERTIES + k] = value;
            if (!isfinite(value)) {
                snprintf(own_sentence, sizeof own_sentence,
                         "%.300s: %s of molecule %" PRId64 " is %g, expected a finite number", path,
                         property_names[k], i, value);
                status = EQUINV_ERR_FORMAT;
                goto done;
            }
        }
        m->properties[i * PROPERTIES + COLUMNS] = graph_nodes(graph_at(&m->table, i));
    }
done:
    equinv_tensor_destroy(ctx, &table);
    return status;
}

static equinv_status molecules_load(equinv_context *ctx, const options *o, molecules *m)
{
    equinv_status status;
    TRY(load_graphs(ctx, o->data, "qm9-train-graphs.npy.gz", BATCH, &m->train));
    TRY(load_graphs(ctx, o->data, "qm9-table-graphs.npy.gz", FEWEST_TESTED, &m->table));
    m->train_count = m->train.shape[0] < o->train ? m->train.shape[0] : o->train;
    m->table_count = m->table.shape[0] < o->test ? m->table.shape[0] : o->test;
    m->fit = m->table_count * 5000 / 7484;
    TRY(load_properties(ctx, o->data, m));
done:
    return status;
}

/* ---- training -------------------------------------------------------------------------------- */

typedef struct training {
    equinv_context *ctx;
    const options *options;
    const molecules *data;
    network *net;
    equinv_optimizer *adam;
    const equinv_parameter *parameters;
    size_t parameter_count;
    int64_t *order;              /* of the molecules in an epoch */
    double seconds, cpu_seconds; /* of the clock, of all threads */
    int64_t trained;             /* molecules in those seconds */
} training;

/* A permutation of all molecules, the same for the same epoch. */
static void order_molecules(const training *t, int64_t epoch)
{
    for (int64_t k = 0; k < t->data->train_count; k++) {
        const int64_t at =
            (int64_t)((uint64_t)random_word(t->options->seed, STREAM_EPOCH, epoch, k) *
                          (uint64_t)(k + 1) >>
                      32);
        t->order[k] = t->order[at];
        t->order[at] = k;
    }
}

static void show_step(const training *t, int64_t epoch, int64_t done, int64_t steps, double start)
{
    const double elapsed = seconds_now() - start;
    if (isatty(STDERR_FILENO) && done % 20 == 0)
        fprintf(stderr, "\rtraining: epoch %d of %d, %3.0f %%, %.0f molecules/s, %.0f s left ",
                (int)epoch + 1, (int)t->options->epochs, 100 * (double)done / (double)steps,
                (double)(done * BATCH) / elapsed,
                elapsed / (double)done *
                    (double)(steps - done + (t->options->epochs - epoch - 1) * steps));
}

/* Losses and gradients of a batch of molecules. */
static equinv_status learn_from(const training *t, const int64_t chosen[BATCH], int64_t step,
                                network_losses *losses)
{
    const graph *batch[BATCH];
    for (int i = 0; i < BATCH; i++)
        batch[i] = graph_at(&t->data->train, chosen[i]);
    const equinv_status status = network_load(t->net, batch, BATCH);
    return status ? status : network_gradients(t->net, (uint64_t)step, losses);
}

static equinv_status check_losses(const network_losses *l)
{
    if (isfinite(l->nodes + l->pairs + l->divergence))
        return EQUINV_OK;
    snprintf(own_sentence, sizeof own_sentence,
             "the loss is not finite: the training went wrong, or what was taken up again");
    return EQUINV_ERR_ARG;
}

static equinv_status train_epoch(training *t, int64_t epoch)
{
    const int64_t steps = t->data->train_count / BATCH;
    const equinv_schedule rates = {sizeof rates,
                                   EQUINV_SCHEDULE_ONE_CYCLE,
                                   t->options->epochs * steps,
                                   peak_rate / 25,
                                   peak_rate,
                                   peak_rate / 1e4,
                                   0.15};
    network_losses sum = {0};
    equinv_status status = EQUINV_OK;
    const double start = seconds_now();
    const clock_t cpu_start = clock();
    order_molecules(t, epoch);
    for (int64_t s = 0; s < steps; s++) {
        const int64_t step = epoch * steps + s;
        network_losses losses;
        double rate;
        TRY(learn_from(t, t->order + s * BATCH, step, &losses));
        TRY(equinv_clip_gradients(t->ctx, t->parameters, t->parameter_count, most_gradient, NULL));
        TRY(equinv_schedule_rate(&rates, step, &rate));
        TRY(equinv_optimizer_set_learning_rate(t->adam, rate));
        TRY(equinv_optimizer_step(t->adam));
        sum.nodes += losses.nodes / (double)steps;
        sum.pairs += losses.pairs / (double)steps;
        sum.divergence += losses.divergence / (double)steps;
        show_step(t, epoch, s + 1, steps, start);
    }
    t->seconds += seconds_now() - start;
    t->cpu_seconds += (double)(clock() - cpu_start) / CLOCKS_PER_SEC;
    t->trained += steps * BATCH;
    TRY(check_losses(&sum));
    fprintf(stderr, "%sepoch %d: atoms %.4f, pairs %.4f, divergence %.3f%s\n",
            isatty(STDERR_FILENO) ? "\r" : "", (int)epoch + 1, sum.nodes, sum.pairs, sum.divergence,
            isatty(STDERR_FILENO) ? "\033[K" : "");
done:
    return status;
}

/* A checkpoint is left after whole passes: other numbers of steps are of other molecules. */
static equinv_status resume(training *t, const char *path, int64_t steps)
{
    equinv_status status;
    TRY(equinv_optimizer_load(t->adam, path));
    const int64_t done = equinv_optimizer_steps(t->adam);
    if (done % steps != 0 || done > t->options->epochs * steps) {
        snprintf(own_sentence, sizeof own_sentence,
                 "%.300s was left after %" PRId64 " steps, expected whole passes of %" PRId64
                 " steps and at most %" PRId64 " of them: it is of another training",
                 path, done, steps, t->options->epochs);
        status = EQUINV_ERR_ARG;
    }
done:
    return status;
}

/* Trains from the start, or from where the checkpoint was left; afterwards a checkpoint is there. */
static equinv_status train(training *t)
{
    char path[4096];
    const int64_t steps = t->data->train_count / BATCH;
    network_losses losses;
    equinv_status status = EQUINV_OK;
    snprintf(path, sizeof path, "%s/%s", t->options->folder, CHECKPOINT);
    if (t->options->resume && access(path, F_OK) == 0)
        TRY(resume(t, path, steps));
    for (int64_t epoch = equinv_optimizer_steps(t->adam) / steps; epoch < t->options->epochs;
         epoch++) {
        TRY(train_epoch(t, epoch));
        TRY(equinv_optimizer_save(t->adam, path));
    }
    order_molecules(t, 0);
    TRY(learn_from(t, t->order, 0, &losses));
    TRY(check_losses(&losses));
done:
    return status;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static int64_t at_most(int64_t limit, int64_t count)
{
    return count < limit ? count : limit;
}

enum { RAW, SORTED, UNMASKED, CODES };
static const char *const code_names[CODES] = {"raw", "sorted", "unmasked"};
static const char *const code_titles[CODES] = {"in the order of the atoms", "sorted",
                                               "sorted without a mask"};

typedef struct figures {
    reconstruction back;
    prediction neighbours[CODES], ridge[CODES];
    own_copies own[2];
    lines lines;
    permutation_errors errors;
    shortcut shortcut;
    double encoded_per_s;
    double shares[2][2];
} figures;

/* Codes of the picture, raw and sorted: molecules, then copies of the first MARKED. */
static equinv_status picture_codes(const codec *c, const molecules *m, const coded *codes,
                                   int64_t n, float *rows[2])
{
    equinv_status status = EQUINV_OK;
    memcpy(rows[0], codes->raw, sizeof(float) * (size_t)(n * NODES));
    memcpy(rows[1], codes->sorted, sizeof(float) * (size_t)(n * NODES));
    for (int copy = 0; copy < COPIES; copy++) {
        const int64_t at = (n + copy * MARKED) * NODES;
        coded some;
        TRY(code_molecules(c, graph_at(&m->table, 0), MARKED, STREAM_COPIES, 2000 + copy, &some));
        memcpy(rows[0] + at, some.raw, sizeof(float) * MARKED * NODES);
        memcpy(rows[1] + at, some.sorted, sizeof(float) * MARKED * NODES);
        coded_free(&some);
    }
done:
    return status;
}

/* A picture that cannot be drawn (no gnuplot) has said why; the figures are there without it. */
static equinv_status draw(const codec *c, const options *o, const molecules *m, const coded *codes,
                          figures *f)
{
    const int64_t n = at_most(POINTS, m->table_count);
    const int64_t all = n + MARKED * COPIES;
    double *const memory = malloc(sizeof *memory * (size_t)(n + 4 * all));
    float *const numbers = malloc(sizeof *numbers * (size_t)(2 * all * NODES));
    float *rows[2] = {numbers, numbers + all * NODES};
    code_picture picture = {.points = n, .titles = {"in the order of the atoms", "sorted"}};
    equinv_status status = EQUINV_ERR_NOMEM;
    if (!memory || !numbers)
        goto done;
    TRY(picture_codes(c, m, codes, n, rows));
    for (int p = 0; p < 2; p++) {
        equinv_tensor view;
        double *const coordinates = memory + n + 2 * p * all;
        TRY(equinv_tensor_init(rows[p], EQUINV_F32, 2, (int64_t[]){all, NODES}, &view));
        TRY(principal_components(&view, 5, coordinates, f->shares[p]));
        picture.coordinates[p] = coordinates;
        memcpy(picture.shares[p], f->shares[p], sizeof f->shares[p]);
    }
    for (int64_t i = 0; i < n; i++)
        memory[i] = m->properties[i * PROPERTIES + 2];
    picture.value = memory;
    draw_codes(&picture, o->folder);
    const graph *const example = f->lines.steps + f->lines.example * STEPS;
    if (f->lines.pairs > 0)
        draw_lines(example, example + f->lines.pairs * STEPS, STEPS, o->folder);
done:
    free(memory);
    free(numbers);
    return status;
}

/* All steps of all lines, for a judge of molecules other than ours (check_molecules.py). */
static equinv_status save_steps(equinv_context *ctx, const options *o, const lines *l)
{
    char path[4096];
    equinv_tensor steps;
    equinv_status status;
    snprintf(path, sizeof path, "%s/molecules-steps.npy", o->folder);
    TRY(equinv_tensor_init(l->steps, EQUINV_U8, 5, (int64_t[]){2, l->pairs, STEPS, NODES, NODES},
                           &steps));
    TRY(equinv_tensor_save(ctx, path, &steps));
done:
    return status;
}

static equinv_status measure(const codec *c, const options *o, const molecules *m, figures *f)
{
    coded codes = {0};
    equinv_status status;
    const int64_t n = m->table_count;
    const double start = seconds_now();
    TRY(code_molecules(c, graph_at(&m->table, 0), n, STREAM_ATOMS, 0, &codes));
    f->encoded_per_s = (double)n / (seconds_now() - start);
    TRY(measure_reconstruction(c, &codes, &f->back));
    const float *const rows[CODES] = {codes.raw, codes.sorted, codes.unmasked};
    for (int k = 0; k < CODES; k++) {
        TRY(predict_by_neighbours(c->ctx, rows[k], m->properties, m->fit, n, &f->neighbours[k]));
        TRY(predict_by_ridge(rows[k], m->properties, m->fit, n, &f->ridge[k]));
    }
    TRY(measure_own_copies(c, graph_at(&m->table, 0), at_most(OWN_MOLECULES, n),
                           at_most(OWN_QUERIES, n), &f->own[RAW], &f->own[SORTED]));
    TRY(measure_lines(c, &codes, f->back.exact, LINES, &f->lines));
    TRY(measure_permutations(c, graph_at(&m->table, 0), at_most(CHECKED, n), &f->errors));
    TRY(measure_shortcut(c->ctx, &codes, at_most(SHORTCUT, n), &f->shortcut));
    TRY(draw(c, o, m, &codes, f));
    TRY(save_steps(c->ctx, o, &f->lines));
done:
    free(f->lines.steps);
    free(f->back.exact);
    coded_free(&codes);
    return status;
}

/* ---- the report ------------------------------------------------------------------------------ */

static void report_prediction(json *j, const char *code, const char *how, const prediction *p)
{
    char key[64];
    for (int k = 0; k < PROPERTIES; k++) {
        snprintf(key, sizeof key, "r2_%s_%s_%s", property_names[k], code, how);
        json_number(j, key, p->r2[k]);
        snprintf(key, sizeof key, "mae_%s_%s_%s", property_names[k], code, how);
        json_number(j, key, p->error[k]);
    }
}

static bool report(const options *o, const training *t, const figures *f, double seconds)
{
    output file;
    int64_t numbers = 0;
    if (!output_open(&file, o->folder, REPORT_FILE))
        return false;
    json j = {.file = file.file};
    for (size_t i = 0; i < t->parameter_count; i++)
        numbers += equinv_tensor_count(&t->parameters[i].value);
    json_open(&j, NULL, '{');
    json_unsigned(&j, "seed", o->seed);
    json_text(&j, "device", equinv_context_description(t->ctx));
    json_integer(&j, "train_molecules", t->data->train_count);
    json_integer(&j, "test_molecules", t->data->table_count);
    json_integer(&j, "fit_molecules", t->data->fit);
    json_integer(&j, "judged_molecules", t->data->table_count - t->data->fit);
    json_integer(&j, "epochs", o->epochs);
    json_integer(&j, "parameters", numbers);
    json_number(&j, "seconds", seconds);
    json_number(&j, "train_seconds", t->seconds);
    json_number(&j, "train_cpu_seconds", t->cpu_seconds);
    json_number(&j, "molecules_per_s", t->trained ? (double)t->trained / t->seconds : (double)NAN);
    json_number(&j, "encoded_per_s", f->encoded_per_s);
    json_number(&j, "node_accuracy", f->back.nodes);
    json_number(&j, "pair_accuracy", f->back.pairs);
    json_number(&j, "bond_accuracy", f->back.bonds);
    json_number(&j, "molecule_accuracy", f->back.molecules);
    for (int k = 0; k < CODES; k++) {
        report_prediction(&j, code_names[k], "10nn", &f->neighbours[k]);
        report_prediction(&j, code_names[k], "ridge", &f->ridge[k]);
    }
    json_integer(&j, "own_molecules", at_most(OWN_MOLECULES, t->data->table_count));
    json_integer(&j, "own_orders", OWN_COPIES);
    json_integer(&j, "own_queries", at_most(OWN_QUERIES, t->data->table_count));
    json_number(&j, "own_raw", f->own[RAW].share);
    json_number(&j, "own_sorted", f->own[SORTED].share);
    json_number(&j, "own_distance_raw", f->own[RAW].own);
    json_number(&j, "own_distance_sorted", f->own[SORTED].own);
    json_number(&j, "other_distance_raw", f->own[RAW].other);
    json_number(&j, "other_distance_sorted", f->own[SORTED].other);
    json_integer(&j, "line_pairs", f->lines.pairs);
    json_integer(&j, "line_candidates", f->lines.candidates);
    json_integer(&j, "line_steps", STEPS);
    json_integer(&j, "line_inner_steps", STEPS - 2);
    json_number(&j, "valid_raw", f->lines.raw.valid);
    json_number(&j, "valid_sorted", f->lines.sorted.valid);
    json_number(&j, "distinct_raw", f->lines.raw.distinct);
    json_number(&j, "distinct_sorted", f->lines.sorted.distinct);
    json_number(&j, "line_length_raw", f->lines.raw.length);
    json_number(&j, "line_length_sorted", f->lines.sorted.length);
    json_number(&j, "equivariance_error", f->errors.codes);
    json_number(&j, "decoded_otherwise", f->errors.decoded);
    json_number(&j, "invariance_error", f->errors.sorted);
    json_number(&j, "invariance_error_raw", f->errors.raw);
    json_number(&j, "variance_2_raw", f->shares[RAW][0] + f->shares[RAW][1]);
    json_number(&j, "variance_2_sorted", f->shares[SORTED][0] + f->shares[SORTED][1]);
    json_integer(&j, "shortcut_molecules", f->shortcut.molecules);
    json_number(&j, "shortcut_sorted_seconds", f->shortcut.sorted_seconds);
    json_number(&j, "shortcut_assignment_seconds", f->shortcut.assignment_seconds);
    json_number(&j, "shortcut_assignment_error", f->shortcut.assignment_error);
    json_number(&j, "shortcut_unmasked_error", f->shortcut.unmasked_error);
    json_number(&j, "shortcut_unmasked_neighbours", f->shortcut.unmasked_neighbours);
    json_close(&j);
    return output_close(&file, true);
}

static void print_table(const training *t, const figures *f)
{
    printf("%d training molecules, %d epochs, %.0f molecules/s; %d molecules held out\n",
           (int)t->data->train_count, (int)t->options->epochs,
           t->trained ? (double)t->trained / t->seconds : 0, (int)t->data->table_count);
    printf("reconstructed: atoms %.3f, pairs %.3f, bonds %.3f, whole molecules %.3f\n",
           f->back.nodes, f->back.pairs, f->back.bonds, f->back.molecules);
    printf("\n%-28s", "R2 of 10 nearest neighbours");
    for (int k = 0; k < PROPERTIES; k++)
        printf(" %11s", property_names[k]);
    for (int c = 0; c < CODES; c++) {
        printf("\n%-28s", code_titles[c]);
        for (int k = 0; k < PROPERTIES; k++)
            printf(" %11.3f", f->neighbours[c].r2[k]);
    }
    printf("\n%-28s", "R2 of ridge regression");
    for (int c = 0; c < CODES; c++) {
        printf("\n%-28s", code_titles[c]);
        for (int k = 0; k < PROPERTIES; k++)
            printf(" %11.3f", f->ridge[c].r2[k]);
    }
    printf("\n\n%-44s %10s %10s\n", "", "raw", "sorted");
    printf("%-44s %10.3f %10.3f\n", "own copies among the 5 nearest", f->own[RAW].share,
           f->own[SORTED].share);
    printf("%-44s %10.3f %10.3f\n", "molecules inside straight lines", f->lines.raw.valid,
           f->lines.sorted.valid);
    printf("%-44s %10.2f %10.2f\n", "different ones a line", f->lines.raw.distinct,
           f->lines.sorted.distinct);
    printf("%-44s %10.3f %10.3f\n", "mean length of a line", f->lines.raw.length,
           f->lines.sorted.length);
    printf("%-44s %10.2g %10.2g\n", "largest change when atoms are permuted", f->errors.raw,
           f->errors.sorted);
    printf("%-44s %9.0f%% %9.0f%%\n", "variance in the first two components",
           100 * (f->shares[RAW][0] + f->shares[RAW][1]),
           100 * (f->shares[SORTED][0] + f->shares[SORTED][1]));
    printf("\nequivariance error of codes %.2g; %.2g of atoms and pairs decoded otherwise\n",
           f->errors.codes, f->errors.decoded);
    printf(
        "sorted distance against the exact assignment: error %.2g, %.0f times as fast\n"
        "sorting without a mask is off by up to %.2g of the largest distance and gives %.0f %% of "
        "the molecules\nanother nearest one\n",
        f->shortcut.assignment_error, f->shortcut.assignment_seconds / f->shortcut.sorted_seconds,
        f->shortcut.unmasked_error, 100 * f->shortcut.unmasked_neighbours);
}

/* ---- main ------------------------------------------------------------------------------------ */

static equinv_status run(const place *p, const options *o, bool *written)
{
    const network_desc net_desc = {EQUINV_F32, BATCH, CHANNELS, BLOCKS, kl_weight, o->seed};
    const equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    const double start = seconds_now();
    molecules data = {0};
    training t = {.ctx = p->net, .options = o, .data = &data};
    static figures f;
    equinv_status status;
    TRY(molecules_load(p->cpu, o, &data));
    t.order = malloc(sizeof *t.order * (size_t)data.train_count);
    if (!t.order || !make_folder(o->folder)) {
        status = t.order ? EQUINV_ERR_IO : EQUINV_ERR_NOMEM;
        snprintf(own_sentence, sizeof own_sentence,
                 "%.300s cannot be created or there is no memory", o->folder);
        goto done;
    }
    TRY(network_create(p->net, &net_desc, &t.net));
    t.parameters = network_parameters(t.net, &t.parameter_count);
    TRY(equinv_optimizer_create(p->net, &adam, t.parameters, t.parameter_count, &t.adam));
    TRY(train(&t));
    const codec c = {p->cpu, t.net, BATCH, o->seed};
    TRY(measure(&c, o, &data, &f));
    print_table(&t, &f);
    *written = report(o, &t, &f, seconds_now() - start);
done:
    equinv_optimizer_destroy(t.adam);
    network_destroy(t.net);
    free(t.order);
    molecules_free(p->cpu, &data);
    return status;
}

enum { KEY_DATA = 1, KEY_TRAIN, KEY_TEST, KEY_EPOCHS, KEY_SEED, KEY_RESUME };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->device; break;
    case 'o': o->folder = argument; break;
    case KEY_DATA: o->data = argument; break;
    case KEY_TRAIN: good = option_integer("--train", argument, BATCH, INT32_MAX, &o->train); break;
    case KEY_TEST:
        good = option_integer("--test", argument, FEWEST_TESTED, INT32_MAX, &o->test);
        break;
    case KEY_EPOCHS: good = option_integer("--epochs", argument, 1, 10000, &o->epochs); break;
    case KEY_SEED: good = option_seed("--seed", argument, &o->seed); break;
    case KEY_RESUME: o->resume = true; break;
    case ARGP_KEY_ARG:
        tool_misused("unexpected argument \"%s\"", argument);
        good = false;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

static int read_options(options *o, int argc, char **argv)
{
    const struct argp argp = {
        .options =
            (const struct argp_option[]){
                {"output", 'o', "FOLDER", 0, "where report and pictures go; default build/paper",
                 0},
                {"data", KEY_DATA, "FOLDER", 0, "the three files of QM9; default examples/data", 0},
                {"train", KEY_TRAIN, "N", 0, "training molecules used at most; default all", 0},
                {"test", KEY_TEST, "N", 0, "molecules of the table used at most; default all", 0},
                {"epochs", KEY_EPOCHS, "N", 0, "passes over the training molecules", 0},
                {"seed", KEY_SEED, "SEED", 0, "of weights, noise and orders; default 1", 0},
                {"resume", KEY_RESUME, NULL, 0,
                 "go on from the checkpoint in the output's folder, if it is there", 0},
                {0},
            },
        .parser = parse,
        .doc = "A graph autoencoder of molecules whose codes are defined up to an order of the "
               "atoms, and what sorting them is good for.",
        .children = (const struct argp_child[]){{&device_argp, 0, NULL, 0}, {0}},
    };
    argp_err_exit_status = TOOL_USAGE;
    return argp_parse(&argp, argc, argv, 0, NULL, o) == 0 ? -1 : TOOL_USAGE;
}

int main(int argc, char **argv)
{
    options o = {"examples/data", "build/paper",           INT32_MAX, INT32_MAX, EPOCHS, 1,
                 false,           EQUINV_CONTEXT_DESC_INIT};
    place p;
    bool written = false;
    o.device.device = EQUINV_DEVICE_CPU; /* the same figures on every machine that computes alike */
    output_signals();
    const int code = read_options(&o, argc, argv);
    if (code >= 0)
        return code;
    equinv_status status = place_create(&o.device, &p);
    if (!status) {
        fprintf(stderr, "%s: molecules from %s; %s\n", program_name, o.data,
                equinv_context_description(p.net));
        status = run(&p, &o, &written);
    }
    const int exit_code = status ? failed(status) : written ? TOOL_DONE : TOOL_FAILED;
    place_destroy(&p);
    return exit_code;
}
