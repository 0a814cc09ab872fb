/* Arguments: of a case, which the lines of case files take too, and of a run. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

/* Keys of the options are indices behind BASE in this table. */
typedef enum value_kind { INTEGER, SEED, NUMBER, TEXT, SPECIAL } value_kind;

typedef struct option_entry {
    const char *name, *value, *help;
    value_kind kind;
    bool of_case;
    size_t offset; /* in bench_case or run_options */
    int64_t low;   /* INTEGER; TEXT: room in the case */
} option_entry;

#define IN_CASE(member) true, offsetof(bench_case, member)
#define IN_RUN(member) false, offsetof(run_options, member)
/* The library's own bound on extents is far above what a memory holds. */
#define MOST (INT64_C(1) << 31)

enum {
    OP,
    GROUP,
    SIZE,
    PASS,
    DTYPE,
    DEVICE,
    THREADS,
    PEER,
    BATCHES,
    CLOCK,
    HELP,
    VERSION /* SPECIAL */
};

static const option_entry entries[] = {
    {"op", "OP", "what is timed; words below", SPECIAL, true, OP, 0},
    {"group", "GROUP", "C1 C2 C4 D1 D2 D4 ..; default C4", SPECIAL, true, GROUP, 0},
    {"fields-in", "F",
     "fields of src; plain channels for conv-lift, extract and train-step; features "
     "for dense",
     INTEGER, IN_CASE(fields_in), 1},
    {"fields-out", "F",
     "fields of dst; plain channels for conv-plane; features for dense; default 16", INTEGER,
     IN_CASE(fields_out), 1},
    {"kernel", "K", "kernel size; default 3, pool 2", INTEGER, IN_CASE(kernel), 1},
    {"size", "HxW", "image size; default 14x14, latents 1x1, models 28x28", SPECIAL, true, SIZE, 0},
    {"stride", "S", "default 1, pool 2", INTEGER, IN_CASE(stride), 1},
    {"dilation", "D", "default 1", INTEGER, IN_CASE(dilation), 1},
    {"padding", "P", "default (kernel - 1) / 2", INTEGER, IN_CASE(padding), 0},
    {"batch", "N", "default 32", INTEGER, IN_CASE(batch), 0},
    {"pass", "PASS", "forward (the default), backward-data, backward-weights", SPECIAL, true, PASS,
     0},
    {"kind", "KIND", "of project, pool, upsample, templates, extract and train-step", TEXT,
     IN_CASE(kind_text), sizeof(((bench_case *)0)->kind_text)},
    {"k", "K", "templates or neighbours; default 64", INTEGER, IN_CASE(k), 1},
    {"rows", "N", "rows of a sample of rowsort and project kinds of S, nodes of node-*; default 32",
     INTEGER, IN_CASE(rows), 1},
    {"channels", "C", "channels of a row, default 1; coordinates of a template", INTEGER,
     IN_CASE(channels), 1},
    {"count", "N", "numbers of templates: one template of so many coordinates; rows of a gallery",
     INTEGER, IN_CASE(count), 1},
    {"dtype", "DTYPE", "f32 (the default), f64", SPECIAL, true, DTYPE, 0},
    {"seed", "SEED", "of inputs and templates; default 0", SEED, IN_CASE(seed), 0},
    {"impl", "NAME", "force an implementation by name, e.g. ref; check takes all", TEXT,
     IN_CASE(impl), sizeof(((bench_case *)0)->impl)},
    {"device", "DEVICE", "cpu (the default), cuda", SPECIAL, false, DEVICE, 0},
    {"threads", "N", "threads on the CPU; 0, the default: every core", SPECIAL, false, THREADS, 0},
    {"peer", "NAMES", "what to compare with, separated by commas, or all; words below", SPECIAL,
     false, PEER, 0},
    {"batches", "N,N..", "several batch sizes, a row for each, and where CUDA overtakes the CPU",
     SPECIAL, true, BATCHES, 0},
    {"clock", "CLOCK",
     "wall (the default); cpu: this thread's time, for one thread on a busy machine", SPECIAL,
     false, CLOCK, 0},
    {"cases", "FILE", "named cases from a file; all of them where no name is given", TEXT,
     IN_RUN(cases), 0},
    {"json", "FILE", "append one object a row; -: stdout, and the table goes to stderr", TEXT,
     IN_RUN(json), 0},
    {"seconds", "S", "time for each row and device; default 1", NUMBER, IN_RUN(seconds), 0},
    {"check-seconds", "S",
     "time for a reference; larger cases are checked at a smaller batch; "
     "default 2",
     NUMBER, IN_RUN(check_seconds), 0},
    {"help", NULL, "print this help", SPECIAL, false, HELP, 0},
    {"version", NULL, "print the version", SPECIAL, false, VERSION, 0},
};
enum { ENTRIES = sizeof entries / sizeof *entries, BASE = 1000 };

/* ---- values ------------------------------------------------------------------------------------- */

static const word dtype_words[] = {{"f32", EQUINV_F32}, {"f64", EQUINV_F64}, {NULL, 0}};
static const word device_words[] = {
    {"cpu", EQUINV_DEVICE_CPU}, {"cuda", EQUINV_DEVICE_CUDA}, {NULL, 0}};

static bool read_size(const char *text, bench_case *c)
{
    char height[24];
    const char *const x = strchr(text, 'x');
    const size_t length = x ? (size_t)(x - text) : 0;
    if (length == 0 || length >= sizeof height || x[1] == '\0') {
        tool_misused("--size is \"%s\", expected height and width as in 28x28", text);
        return false;
    }
    memcpy(height, text, length);
    height[length] = '\0';
    return option_integer("--size (height)", height, 1, MOST, &c->height) &&
           option_integer("--size (width)", x + 1, 1, MOST, &c->width);
}

/* The next piece of a list with commas; false at its end. */
static bool next_piece(const char **text, char *piece, size_t size)
{
    if (!**text)
        return false;
    const size_t length = strcspn(*text, ",");
    snprintf(piece, size, "%.*s", (int)(length < size ? length : size - 1), *text);
    *text += length;
    *text += **text == ',';
    return true;
}

static bool read_batches(const char *text, bench_case *c)
{
    char piece[24];
    for (c->batch_count = 0; next_piece(&text, piece, sizeof piece); c->batch_count++) {
        if (c->batch_count == MOST_BATCHES) {
            tool_misused("--batches has more than %d sizes", MOST_BATCHES);
            return false;
        }
        if (!option_integer("--batches", piece, 1, MOST, &c->batches[c->batch_count]))
            return false;
    }
    if (c->batch_count == 0)
        tool_misused("--batches is \"\", expected batch sizes as in 1,16,256");
    return c->batch_count > 0;
}

static bool read_peers(const char *text, run_options *o)
{
    for (o->peer_count = 0; o->peer_count < MOST_PEERS &&
                            next_piece(&text, o->peers[o->peer_count], sizeof *o->peers);)
        o->peer_count++;
    if (*text || o->peer_count == 0)
        tool_misused("--peer names %s, expected 1 to %d names separated by commas",
                     *text ? "too many peers" : "nothing", MOST_PEERS);
    return !*text && o->peer_count > 0;
}

static bool read_special(size_t which, const char *text, bench_case *c, run_options *o)
{
    int value = 0;
    int64_t number = 0;
    bool good = true;
    switch (which) {
    case OP: good = (c->op = operation_find(text)) != NULL; break;
    case GROUP:
        good = equinv_group_parse(text, &c->group) == EQUINV_OK;
        if (!good)
            tool_misused("--group: %s", equinv_last_error());
        break;
    case SIZE: good = read_size(text, c); break;
    case PASS:
        if ((good = option_word("--pass", text, pass_words, &value)))
            c->pass = (pass)value;
        break;
    case DTYPE:
        if ((good = option_word("--dtype", text, dtype_words, &value)))
            c->dtype = (equinv_dtype)value;
        break;
    case DEVICE:
        if ((good = option_word("--device", text, device_words, &value)))
            o->context.device = (equinv_device_kind)value;
        break;
    case THREADS:
        good = option_integer("--threads", text, 0, 1024, &number);
        o->context.threads = (int32_t)number;
        break;
    case PEER: good = read_peers(text, o); break;
    case CLOCK: good = option_word("--clock", text, clock_words, &o->clock); break;
    case BATCHES: good = read_batches(text, c); break;
    default: break;
    }
    return good;
}

static bool read_value(const option_entry *e, const char *text, bench_case *c, run_options *o)
{
    char option[32];
    void *const at = (char *)(e->of_case ? (void *)c : (void *)o) + e->offset;
    snprintf(option, sizeof option, "--%s", e->name);
    switch (e->kind) {
    case INTEGER:
        if (at == (void *)&c->batch)
            c->batch_count = 0; /* the last of --batch and --batches counts */
        return option_integer(option, text, e->low, MOST, at);
    case SEED: return option_seed(option, text, at);
    case NUMBER:
        if (!option_number(option, text, at))
            return false;
        if (!(*(double *)at >= 0) || *(double *)at > 3600) {
            tool_misused("%s is \"%s\", expected seconds from 0 to 3600", option, text);
            return false;
        }
        return true;
    case TEXT:
        if (!e->of_case) {
            *(const char **)at = text;
            return true;
        }
        if (strlen(text) >= (size_t)e->low) {
            tool_misused("%s is \"%s\", expected a name below %d characters", option, text,
                         (int)e->low);
            return false;
        }
        strcpy(at, text);
        return true;
    default: return read_special(e->offset, text, c, o);
    }
}

/* ---- the parser --------------------------------------------------------------------------------- */

typedef struct parse_input {
    bench_case *c;
    run_options *options; /* NULL: a line of a case file */
} parse_input;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    parse_input *const in = state->input;
    if (key == ARGP_KEY_INIT) {
        state->err_stream = NULL; /* hints are ours */
        return 0;
    }
    if (key == ARGP_KEY_ARG) {
        if (!in->options || in->options->name_count == MOST_NAMES) {
            tool_misused("\"%s\" is no option%s", argument,
                         in->options ? ", and too many cases are named" : "");
            return EINVAL;
        }
        in->options->names[in->options->name_count++] = argument;
        return 0;
    }
    if (key < BASE || key >= BASE + ENTRIES)
        return ARGP_ERR_UNKNOWN;
    const option_entry *const e = &entries[key - BASE];
    if (!in->options && !e->of_case) {
        tool_misused("--%s belongs to a run, not to a case", e->name);
        return EINVAL;
    }
    if (e->kind == SPECIAL && (e->offset == HELP || e->offset == VERSION)) {
        if (e->offset == HELP) {
            state->name = (char[]){"equinv-bench"};
            argp_state_help(state, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC);
        } else {
            printf("equinv-bench %s\n", equinv_version());
        }
        in->options->answered = true;
        state->next = state->argc;
        return ECANCELED;
    }
    if (in->options && e->kind == SPECIAL && e->offset == OP)
        in->options->op_given = true;
    return read_value(e, argument, in->c, in->options) ? 0 : EINVAL;
}

static char *help_text(int key, const char *text, void *input)
{
    (void)input;
    if (key == ARGP_KEY_HELP_DUP_ARGS_NOTE)
        return NULL;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)text;
    char *all = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&all, &size);
    if (!stream)
        return (char *)text;
    fputs(
        "list shows the named cases, check compares with the double-precision reference, perf does "
        "that and then times. A case is named, or described by --op and its options; options "
        "change named cases too.\n\nOperations:\n",
        stream);
    operations_print(stream);
    fputs("\nPeers:\n", stream);
    peers_print(stream);
    fprintf(stream, "\n%s", text ? text : "");
    fclose(stream);
    return all;
}

int options_parse(int argc, char **argv, bench_case *c, run_options *options)
{
    struct argp_option list[ENTRIES + 1] = {{0}};
    for (int i = 0; i < ENTRIES; i++)
        list[i] = (struct argp_option){entries[i].name,  BASE + i,
                                       entries[i].value, 0,
                                       entries[i].help,  entries[i].of_case ? 1 : 2};
    const struct argp argp = {
        .options = list,
        .parser = parse,
        .args_doc = "list|check|perf [CASE...]",
        .doc = "Times the operations of equinv, beside their errors.\v"
               "Exit codes: 0 done, 1 refused or failed, 2 wrong usage.",
        .help_filter = help_text,
    };
    parse_input in = {c, options};
    if (options)
        *options =
            (run_options){.context = EQUINV_CONTEXT_DESC_INIT, .seconds = 1, .check_seconds = 2};
    if (options)
        options->context.device = EQUINV_DEVICE_CPU;
    const error_t error = argp_parse(&argp, argc, argv, ARGP_NO_HELP | ARGP_NO_EXIT, NULL, &in);
    if (options && options->answered)
        return TOOL_DONE;
    return error == 0 ? -1 : TOOL_USAGE;
}

/* ---- what follows from the rest ------------------------------------------------------------------ */

void case_defaults(bench_case *c)
{
    *c = (bench_case){.group = {EQUINV_GROUP_CYCLIC, 4},
                      .fields_out = 16,
                      .dilation = 1,
                      .padding = -1,
                      .batch = 32,
                      .k = 64,
                      .rows = 32,
                      .pass = PASS_FORWARD,
                      .dtype = EQUINV_F32};
}

int64_t case_order(const bench_case *c)
{
    int32_t order = 1;
    return equinv_group_order(c->group, &order) == EQUINV_OK ? order : 1;
}

int64_t case_gallery(const bench_case *c)
{
    return c->count ? c->count : c->batch;
}

int64_t case_neighbours(const bench_case *c)
{
    return c->k < case_gallery(c) ? c->k : case_gallery(c);
}

static void default_to(int64_t *value, int64_t other)
{
    if (*value == 0)
        *value = other;
}

static void name_case(bench_case *c)
{
    char group[8] = "";
    const int uses = c->op->uses;
    size_t used = (size_t)snprintf(c->name, sizeof c->name, "%s", c->op->name);
#define ADD(condition, ...)                                                                        \
    if ((condition) && used < sizeof c->name)                                                      \
    used += (size_t)snprintf(c->name + used, sizeof c->name - used, __VA_ARGS__)
    ADD(c->op->kinds, "-%s", word_name(c->op->kinds, c->kind));
    if ((uses & USES_GROUP) && equinv_group_name(c->group, group, sizeof group) == EQUINV_OK)
        ADD(true, "-%s-%" PRId64, group, c->fields_in);
    ADD((uses & (USES_GROUP | USES_OUT)) == USES_OUT, "-%" PRId64, c->fields_in);
    ADD(uses & USES_OUT, "-%" PRId64, c->fields_out);
    ADD(uses & USES_KERNEL, "-k%" PRId64, c->kernel);
    ADD(uses & USES_K, "-%" PRId64, c->k);
    ADD(uses & USES_ROWS, "-%" PRId64, c->rows);
    ADD(uses & USES_SIZE, "-%" PRId64 "x%" PRId64, c->height, c->width);
    ADD(c->pass != PASS_FORWARD, "-%s", word_name(pass_words, (int)c->pass));
#undef ADD
}

int case_complete(bench_case *c)
{
    if (!c->op)
        return tool_misused("--op is missing, expected what is to be timed");
    const operation *const op = c->op;
    if (!(op->passes & (int)c->pass))
        return tool_misused("--pass is \"%s\", which --op %s does not have",
                            word_name(pass_words, (int)c->pass), op->name);
    if (*c->kind_text && !op->kinds)
        return tool_misused("--kind is \"%s\", expected none: --op %s has no kinds", c->kind_text,
                            op->name);
    if (*c->impl && !(op->uses & USES_IMPL))
        return tool_misused(
            "--impl is \"%s\", expected none: --op %s has no list of implementations", c->impl,
            op->name);
    if (op->kinds)
        c->kind = op->kinds->value;
    if (*c->kind_text && !option_word("--kind", c->kind_text, op->kinds, &c->kind))
        return TOOL_USAGE;
    default_to(&c->fields_in, op->fields_in);
    default_to(&c->kernel, op->kernel);
    default_to(&c->stride, op->stride);
    default_to(&c->height, op->size);
    default_to(&c->width, op->size);
    if (c->padding < 0)
        c->padding = (c->kernel - 1) / 2;
    if (!*c->name)
        name_case(c);
    return -1;
}
