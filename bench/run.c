/* Commands over cases: the reference, the check, the timing, the rows. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/bench.h"

typedef struct run {
    const run_options *options;
    bool timing;
    equinv_context *cpu, *cuda; /* cuda NULL: rows are for the CPU */
    const peer *peers[MOST_PEERS];
    FILE *table, *json;
    machine machine;
    int argc;
    char **argv;
    bool headed;
    int code, found;
    bool seen[MOST_NAMES]; /* which of the named cases there are */
} run;

static equinv_context *device_of(const run *r)
{
    return r->cuda ? r->cuda : r->cpu;
}

/* Rows go on after a case that fails; the exit code remembers it. */
static void case_failed(run *r, const bench_case *c, const char *what)
{
    r->code =
        tool_fail("%s, batch %" PRId64 ": %s: %s", c->name, c->batch, what, equinv_last_error());
}

/* ---- reference -------------------------------------------------------------------------------------- */

/*
 * The reference at the case's batch, or at a smaller one where that would take longer than
 * --check-seconds, judged by one sample. Operations without a list of implementations run as they are in
 * double precision.
 */
static equinv_status reference_run(const run *r, const bench_case *c, problem *reference)
{
    bench_case small = *c;
    const int power = c->op->batch_power;
    if (power > 0 && c->batch > 1)
        small.batch = 1;
    for (;;) {
        equinv_status status =
            problem_create(&small, &c->op->runner, r->cpu, EQUINV_F64, "ref", reference);
        if (status)
            return status;
        const double start = bench_seconds();
        status = problem_run(reference);
        const double seconds = bench_seconds() - start;
        if (status) {
            problem_destroy(reference);
            return status;
        }
        if (small.batch == c->batch || small.batch > 1)
            return EQUINV_OK;
        const double fit = r->options->check_seconds / fmax(seconds, 1e-7);
        const double batch = fmin(floor(power == 2 ? sqrt(fit) : fit), (double)c->batch);
        if (batch < 2)
            return EQUINV_OK;
        problem_destroy(reference);
        small.batch = (int64_t)batch;
    }
}

/* ---- check ------------------------------------------------------------------------------------------ */

/* Runs the timed problem, or a smaller one of its kind, and compares. */
static equinv_status check(problem *timed, const problem *reference, double *error)
{
    problem small = {.ctx = NULL}, *p = timed;
    equinv_status status = EQUINV_OK;
    if (reference->what.batch != timed->what.batch) {
        status = problem_create(&reference->what, timed->runner, timed->ctx, timed->dtype,
                                timed->impl, &small);
        p = &small;
    }
    if (!status)
        status = problem_run(p);
    if (!status)
        status = problem_error(p, reference, error);
    if (p == &small && small.ctx)
        problem_destroy(&small);
    return status;
}

static double limit_of(const bench_case *c)
{
    return c->dtype == EQUINV_F64 ? fmin(c->op->limit, 1e-11) : c->op->limit;
}

/* ---- one case at one batch ---------------------------------------------------------------------------- */

typedef struct contest {
    problem own, others[MOST_PEERS];
    double own_error, errors[MOST_PEERS];
    int64_t check_batch;
} contest;

static void contest_end(contest *k)
{
    problem_destroy(&k->own);
    for (int i = 0; i < MOST_PEERS; i++)
        if (k->others[i].ctx)
            problem_destroy(&k->others[i]);
}

/* Problems of all sides, each checked. */
static bool contest_begin(run *r, const bench_case *c, contest *k)
{
    problem reference;
    *k = (contest){.check_batch = 0};
    if (problem_create(c, &c->op->runner, device_of(r), c->dtype, *c->impl ? c->impl : NULL,
                       &k->own)) {
        case_failed(r, c, "refused");
        return false;
    }
    bool good = true;
    if (reference_run(r, c, &reference)) {
        case_failed(r, c, "reference");
        contest_end(k);
        return false;
    }
    k->check_batch = reference.what.batch;
    if (check(&k->own, &reference, &k->own_error)) {
        case_failed(r, c, "check");
        good = false;
    }
    for (int i = 0; good && r->timing && i < r->options->peer_count; i++) {
        const peer *const p = r->peers[i];
        const bench_runner *const runner = p->find(c);
        if (!runner) {
            r->code = tool_fail("%s: peer \"%s\" has nothing for --op %s with this pass and kind",
                                c->name, p->name, c->op->name);
            good = false;
        } else if (problem_create(c, runner, r->cpu, c->dtype, p->impl, &k->others[i]) ||
                   check(&k->others[i], &reference, &k->errors[i])) {
            case_failed(r, c, p->name);
            good = false;
        }
    }
    problem_destroy(&reference);
    if (good && !(k->own_error <= limit_of(c))) {
        r->code = tool_fail("%s, batch %" PRId64 ": max_err is %.1e, expected at most %.1e",
                            c->name, c->batch, k->own_error, limit_of(c));
        good = false;
    }
    if (!good)
        contest_end(k);
    return good;
}

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
        .copies_time = (double)NAN,
        .peer_time = (double)NAN,
        .error = k->own_error,
        .peer_error = (double)NAN,
    };
}

/* Times everybody and prints a row for each peer, or one without. */
static bool time_case(run *r, const bench_case *c, contest *k, bench_row *first)
{
    const int peers = r->options->peer_count;
    racer list[MOST_PEERS + 2] = {{.problem = &k->own}};
    int count = 1;
    for (int i = 0; i < peers; i++)
        list[count++].problem = &k->others[i];
    if (r->cuda)
        list[count++] = (racer){.problem = &k->own, .copies = true};
    print_head_once(r);
    bench_row row = own_row(r, c, k);
    if (time_all(list, count, r->options->seconds, &row.samples)) {
        case_failed(r, c, "timing");
        return false;
    }
    row.time = list[0].median;
    if (r->cuda)
        row.copies_time = list[count - 1].median;
    const double dense = c->op->dense ? c->op->dense(c) : 0;
    row.dense_gflops = dense > 0 ? 2e-9 * dense / row.time : (double)NAN;
    row.peak_share = peak_share(r, c, row.time);
    for (int i = 0; i == 0 || i < peers; i++) {
        if (peers > 0) {
            row.peer = r->peers[i]->name;
            row.peer_time = list[1 + i].median;
            row.peer_error = k->errors[i];
        }
        if (i == 0)
            *first = row;
        print_row(r, &row);
    }
    return true;
}

static void print_checked(run *r, const bench_case *c, const contest *k)
{
    if (!r->headed)
        fprintf(r->table, "%-34s %7s %-20s %9s %9s\n", "case", "batch", "impl", "max_err",
                "allowed");
    r->headed = true;
    fprintf(r->table, "%-34s %7" PRId64 " %-20s %9.1e %9.1e\n", c->name, k->check_batch,
            k->own.impl_name ? k->own.impl_name : "-", k->own_error, limit_of(c));
}

static bool run_batch(run *r, const bench_case *c, bench_row *row)
{
    contest k;
    if (!contest_begin(r, c, &k))
        return false;
    bool good = true;
    if (r->timing)
        good = time_case(r, c, &k, row);
    else
        print_checked(r, c, &k);
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
    if (r->timing && r->cuda && batches > 0 && count > 0 && r->options->peer_count > 0 &&
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

static int open_run(run *r)
{
    const run_options *const o = r->options;
    if (o->op_given && (o->name_count > 0 || o->cases))
        return tool_misused("--op describes a case, and \"%s\" names another",
                            o->cases ? o->cases : o->names[0]);
    if (!o->op_given && o->name_count == 0 && !o->cases)
        return tool_misused("nothing to run: expected --op, a case's name or --cases");
    for (int i = 0; i < o->peer_count; i++) {
        int code = TOOL_FAILED;
        if (!(r->peers[i] = peer_find(o->peers[i], &code)))
            return code;
        if (strcmp(o->peers[i], "cpu") == 0 && o->context.device == EQUINV_DEVICE_CPU)
            return tool_misused("--peer is \"cpu\", which needs --device cuda");
    }
    equinv_context_desc desc = o->context;
    desc.device = EQUINV_DEVICE_CPU;
    if (equinv_context_create(&desc, &r->cpu))
        return tool_refused();
    desc.device = EQUINV_DEVICE_CUDA;
    if (o->context.device == EQUINV_DEVICE_CUDA && equinv_context_create(&desc, &r->cuda))
        return tool_refused();
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
