/* Commands over cases: their selection, the timing, the rows. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/run.h"

/* ---- one case at one batch -------------------------------------------------------------------------- */

/* The executed multiplications of the group Fourier form, against one core's peak for each thread. */
static double peak_share(const run *r, const bench_case *c, double seconds)
{
    if (!c->op->least)
        return (double)NAN;
    const double rate = r->machine.fma_peak * equinv_context_threads(r->cpu);
    double peak = c->dtype == EQUINV_F64 ? rate / 2 : rate;
    if (r->cuda)
        peak = c->dtype == EQUINV_F64 ? (double)NAN : r->machine.gpu_peak;
    return 2e-9 * c->op->least(c) / seconds / peak;
}

static void print_row(run *r, const bench_row *row)
{
    table_row(r->table, row);
    if (r->json)
        json_row(r->json, row);
}

static void print_head_once(run *r)
{
    if (!r->headed) {
        header_print(r->table, r->cpu, r->cuda, &r->machine);
        table_head(r->table);
    }
    r->headed = true;
}

/* What every peer's row has in common. */
static bench_row own_row(const run *r, const bench_case *c, const contest *k)
{
    return (bench_row){
        .what = c,
        .impl = k->own.impl_name,
        .device = r->cuda ? "cuda" : "cpu",
        .threads = equinv_context_threads(r->cpu),
        .batch = c->batch,
        .check_batch = k->check_batch,
        .clock = word_name(clock_words, r->options->clock),
        .copies_time = (double)NAN,
        .peer_time = (double)NAN,
        .peer_best = (double)NAN,
        .error = k->own_error,
        .peer_error = (double)NAN,
        .layers = (double)NAN,
        .peer_layers = (double)NAN,
    };
}

/* Everybody's convolutions behind the others in the list; count after them. */
static int add_layers(contest *k, racer *list, int count)
{
    for (int l = 0; l < k->layers; l++) {
        list[count++].problem = &k->own_layers[l];
        for (int i = 0; i < k->count; i++)
            if (k->other_layers[i][l].ctx)
                list[count++].problem = &k->other_layers[i][l];
    }
    return count;
}

/* The sum of the medians of these problems; NaN where one was not timed. */
static double layers_time(const contest *k, const racer *list, int count, const problem *layers)
{
    double sum = k->layers ? 0 : (double)NAN;
    for (int l = 0; l < k->layers; l++) {
        double one = (double)NAN;
        for (int i = 0; i < count; i++)
            if (list[i].problem == &layers[l])
                one = list[i].median;
        sum += one;
    }
    return sum;
}

/* Times everybody and prints a row for each peer, or one without. */
static bool time_case(run *r, const bench_case *c, contest *k, bench_row *first)
{
    const int peers = k->count;
    racer list[MOST_PEERS + 2 + (MOST_PEERS + 1) * MOST_CONVOLUTIONS] = {{.problem = &k->own}};
    int count = 1;
    for (int i = 0; i < peers; i++)
        list[count++].problem = &k->others[i];
    if (r->cuda)
        list[count++] = (racer){.problem = &k->own, .copies = true};
    count = add_layers(k, list, count);
    print_head_once(r);
    bench_row row = own_row(r, c, k);
    if (time_all(list, count, r->options->seconds, &row.samples)) {
        case_failed(r, c, "timing");
        return false;
    }
    row.time = list[0].median;
    row.best = list[0].best;
    row.layers = layers_time(k, list, count, k->own_layers);
    if (r->cuda)
        row.copies_time = list[count - 1].median;
    const double dense = c->op->dense ? c->op->dense(c) : 0;
    row.dense_gflops = dense > 0 ? 2e-9 * dense / row.time : (double)NAN;
    row.peak_share = peak_share(r, c, row.time);
    for (int i = 0; i == 0 || i < peers; i++) {
        if (peers > 0) {
            row.peer = k->peers[i]->name;
            row.peer_impl = k->others[i].impl_name;
            row.peer_time = list[1 + i].median;
            row.peer_best = list[1 + i].best;
            row.peer_error = k->errors[i];
            row.peer_layers = layers_time(k, list, count, k->other_layers[i]);
        }
        if (i == 0)
            *first = row;
        print_row(r, &row);
    }
    return true;
}

static bool run_batch(run *r, const bench_case *c, bench_row *row)
{
    contest k;
    if (!r->timing)
        return check_case(r, c);
    if (!contest_begin(r, c, &k))
        return false;
    const bool good = time_case(r, c, &k, row);
    contest_end(&k);
    return good;
}

/* ---- batches ------------------------------------------------------------------------------------------ */

/* The smallest batch from which on ratios are at least 1; 0: none. */
static int64_t overtakes(const bench_row *rows, int count, bool copies)
{
    int64_t from = 0;
    for (int i = 0; i < count; i++) {
        const double time = copies ? rows[i].copies_time : rows[i].time;
        if (!(rows[i].peer_time >= time))
            from = 0;
        else if (from == 0)
            from = rows[i].batch;
    }
    return from;
}

static void print_overtaking(const run *r, const char *name, const bench_row *rows, int count)
{
    fprintf(r->table, "%s: CUDA overtakes the CPU", name);
    for (int copies = 0; copies < 2; copies++) {
        const int64_t batch = overtakes(rows, count, copies);
        fputs(copies ? "; with copies" : "", r->table);
        if (batch)
            fprintf(r->table, " at batch %" PRId64, batch);
        else
            fputs(" at none of these batches", r->table);
    }
    fputc('\n', r->table);
}

static void run_case(run *r, bench_case *c)
{
    const int batches = c->op->batch_power > 0 ? c->batch_count : 0; /* else they are all alike */
    bench_row rows[MOST_BATCHES];
    int count = 0;
    for (int i = 0; i == 0 || i < batches; i++) {
        if (batches > 0)
            c->batch = c->batches[i];
        count += run_batch(r, c, &rows[count]);
    }
    if (r->timing && r->cuda && batches > 0 && count > 0 && r->peer_count > 0 &&
        strcmp(r->peers[0]->name, "cpu") == 0)
        print_overtaking(r, c->name, rows, count);
}

/* ---- selection ---------------------------------------------------------------------------------------- */

static bool is_selected(run *r, const char *name)
{
    const run_options *const o = r->options;
    bool selected = o->name_count == 0;
    for (int i = 0; i < o->name_count; i++)
        if (strcmp(o->names[i], name) == 0)
            selected = r->seen[i] = true;
    return selected;
}

/* Reads a named case and the program's own options over it. */
static int visit_case(void *user, const char *name, const char *line)
{
    run *const r = user;
    if (!is_selected(r, name))
        return -1;
    bench_case c;
    run_options again;
    case_defaults(&c);
    int code = case_read(line, &c);
    if (code < 0)
        code = options_parse(r->argc, r->argv, &c, &again);
    if (code < 0)
        code = case_complete(&c);
    if (code >= 0)
        return code;
    message_place("");
    run_case(r, &c);
    return -1;
}

static int count_case(void *user, const char *name, const char *line)
{
    run *const r = user;
    (void)line;
    r->found += is_selected(r, name);
    return -1;
}

/* -1 if every name that was given is one of a case. */
static int names_known(const run *r)
{
    const run_options *const o = r->options;
    const char *const where = o->cases ? o->cases : "this program";
    if (r->found == 0 && o->name_count == 0)
        return tool_fail("%s has no case", where);
    for (int i = 0; i < o->name_count; i++)
        if (!r->seen[i])
            return tool_misused("\"%s\" is no case of %s; `equinv-bench list` shows them",
                                o->names[i], where);
    return -1;
}

static int run_selected(run *r)
{
    const run_options *const o = r->options;
    if (o->op_given) {
        bench_case c;
        run_options again;
        case_defaults(&c);
        int code = options_parse(r->argc, r->argv, &c, &again);
        if (code < 0)
            code = case_complete(&c);
        if (code >= 0)
            return code;
        run_case(r, &c);
        return r->code;
    }
    int code = cases_walk(o->cases, count_case, r);
    if (code < 0)
        code = names_known(r);
    if (code < 0)
        code = cases_walk(o->cases, visit_case, r);
    return code < 0 ? r->code : code;
}

/* ---- commands ----------------------------------------------------------------------------------------- */

static int open_peers(run *r)
{
    const run_options *const o = r->options;
    r->every_peer = o->peer_count == 1 && strcmp(o->peers[0], "all") == 0;
    for (; !r->every_peer && r->peer_count < o->peer_count; r->peer_count++) {
        const char *const name = o->peers[r->peer_count];
        int code = TOOL_FAILED;
        if (!(r->peers[r->peer_count] = peer_find(name, &code)))
            return code;
        if (r->peers[r->peer_count]->beside_cuda && o->context.device == EQUINV_DEVICE_CPU)
            return tool_misused("--peer is \"%s\", which needs --device cuda", name);
    }
    return -1;
}

/* After the contexts: what the plugin has loaded is then found in any folder. */
static int load_peers(run *r)
{
    int code = -1;
    if (r->every_peer)
        r->peer_count = peers_all(r->peers, MOST_PEERS, r->cuda != NULL);
    for (int i = 0; code < 0 && i < r->peer_count; i++)
        code = peer_load(r->peers[i]);
    return code;
}

static int open_run(run *r)
{
    const run_options *const o = r->options;
    if (o->op_given && (o->name_count > 0 || o->cases))
        return tool_misused("--op describes a case, and \"%s\" names another",
                            o->cases ? o->cases : o->names[0]);
    if (!o->op_given && o->name_count == 0 && !o->cases)
        return tool_misused("nothing to run: expected --op, a case's name or --cases");
    int code = open_peers(r);
    if (code >= 0)
        return code;
    equinv_context_desc desc = o->context;
    desc.device = EQUINV_DEVICE_CPU;
    if (equinv_context_create(&desc, &r->cpu))
        return tool_refused();
    for (int i = 0; i < r->peer_count; i++) {
        const equinv_context_desc all = desc;
        desc.threads = 1;
        if (r->peers[i]->one_thread && !r->one && equinv_context_create(&desc, &r->one))
            return tool_refused();
        desc = all;
    }
    desc.device = EQUINV_DEVICE_CUDA;
    if (o->context.device == EQUINV_DEVICE_CUDA && equinv_context_create(&desc, &r->cuda))
        return tool_refused();
    if (o->clock == CLOCK_CPU && (r->cuda || equinv_context_threads(r->cpu) > 1))
        return tool_misused("--clock is \"cpu\", which needs --threads 1 and --device cpu");
    sample_clock_choose((sample_clock)o->clock);
    if ((code = load_peers(r)) >= 0)
        return code;
    peers_begin(equinv_context_threads(r->cpu));
    r->table = stdout;
    if (o->json && strcmp(o->json, "-") == 0) {
        r->table = stderr;
        r->json = stdout;
    } else if (o->json && !(r->json = fopen(o->json, "a"))) {
        return tool_fail("--json %s: %s", o->json, strerror(errno));
    }
    return -1;
}

static int close_run(run *r, int code)
{
    if (r->json && r->json != stdout) {
        const bool bad = ferror(r->json);
        if ((fclose(r->json) != 0 || bad) && code == TOOL_DONE)
            code = tool_fail("--json %s: %s", r->options->json, strerror(errno));
    }
    equinv_context_destroy(r->cuda);
    equinv_context_destroy(r->one);
    equinv_context_destroy(r->cpu);
    return code;
}

int run_cases(const run_options *options, int argc, char **argv, bool timing)
{
    run r = {.options = options, .timing = timing, .argc = argc, .argv = argv};
    int code = open_run(&r);
    if (code < 0)
        code = run_selected(&r);
    return close_run(&r, code);
}

static int print_line(void *user, const char *name, const char *line)
{
    (void)user;
    const char *const flags = line + strlen(name);
    printf("%-28s %s\n", name, flags + strspn(flags, " \t"));
    return -1;
}

int run_list(const run_options *options)
{
    const int code = cases_walk(options->cases, print_line, NULL);
    return code < 0 ? TOOL_DONE : code;
}
