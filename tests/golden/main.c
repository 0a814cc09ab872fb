/*
 * run DIR [IMPLEMENTATION ..]: every case of a folder of golden data, one line each
 *     PASS|FAIL|SKIP name max_err tolerance [reason] [without: arrays that nothing was compared with]
 * then for each implementation that is named ("conv/gfourier") `N of M by IMPLEMENTATION in f32`, M being
 * the passed cases of its operation, and at the end `N passed, N failed, N skipped`. Exit status 0 only if
 * there was a case, none failed, and no implementation that is named had none of them (N = 0 < M).
 */
#include <stdio.h>

#include "tests/golden/golden.h"

#ifndef EQI_HAVE_CJSON

int main(void)
{
    puts("SKIP golden: this build has no cJSON");
    return 0;
}

#else
#include <dirent.h>
#include <stdarg.h>
#include <sys/stat.h>

static const struct {
    const char *kind;
    void (*run)(golden_case *c);
} kinds[] = {
    /* clang-format off */
    {"avgpool", run_pool},
    {"bispectrum", run_spectrum},
    {"blurpool", run_pool},
    {"checkpoint", run_checkpoint},
    {"conv", run_conv},
    {"convtranspose", run_conv},
    {"group", run_group},
    {"grouppool", run_pool},
    {"innerbatchnorm", run_batch_norm},
    {"maxpool", run_pool},
    {"philox", run_philox},
    {"projection", run_projection},
    {"rows", run_rows},
    {"spatialmean", run_pool},
    {"triple", run_spectrum},
    {"upsample", run_upsample},
    /* clang-format on */
};

struct owned {
    struct owned *next;
    void *object;
    void (*destroy)(void *object);
};

void stop_case(golden_case *c, outcome outcome, const char *format, ...)
{
    va_list arguments;
    if (c->outcome == FAILED && outcome == SKIPPED) /* a difference was found before */
        longjmp(c->stop, 1);
    va_start(arguments, format);
    vsnprintf(c->reason, sizeof c->reason, format, arguments);
    va_end(arguments);
    c->outcome = outcome;
    c->compared = 0; /* figures of a case that did not run to its end mean nothing */
    longjmp(c->stop, 1);
}

void check_call(golden_case *c, equinv_status status, const char *call)
{
    if (status != EQUINV_OK)
        stop_case(c, FAILED, "%.*s (%s): %s: %s", (int)strcspn(call, "("), call, c->how,
                  equinv_status_name(status), equinv_last_error());
}

void own_object(golden_case *c, void *object, void (*destroy)(void *object))
{
    struct owned *const owned = malloc(sizeof *owned);
    if (!owned) {
        destroy(object);
        stop_case(c, FAILED, "out of memory");
    }
    *owned = (struct owned){c->owned, object, destroy};
    c->owned = owned;
}

static void destroy_plan(void *plan)
{
    equinv_plan_destroy(plan);
}

/* Implementations that the caller asks about, and the cases that they and their operations ran in f32. */
static struct wanted {
    const char *name;
    bool seen, operation_seen; /* in this case */
    int64_t cases, operation_cases;
} wanted[8];
static size_t wanted_count;

void own_plan(golden_case *c, equinv_plan *plan)
{
    const char *const name = equinv_plan_impl_name(plan);
    for (struct wanted *w = wanted; w < wanted + wanted_count; w++)
        if (c->dtype == EQUINV_F32 && strncmp(w->name, name, strcspn(name, "/") + 1) == 0) {
            w->operation_seen = true;
            w->seen |= strcmp(w->name, name) == 0;
        }
    own_object(c, plan, destroy_plan);
}

static void count_wanted(const golden_case *c)
{
    for (struct wanted *w = wanted; w < wanted + wanted_count; w++) {
        w->cases += w->seen && c->outcome == PASSED;
        w->operation_cases += w->operation_seen && c->outcome == PASSED;
        w->seen = w->operation_seen = false;
    }
}

/* Whether each of them ran where its operation did. */
static bool print_wanted(void)
{
    bool good = true;
    for (const struct wanted *w = wanted; w < wanted + wanted_count; w++) {
        printf("%lld of %lld by %s in f32\n", (long long)w->cases, (long long)w->operation_cases,
               w->name);
        good = good && (w->cases > 0 || w->operation_cases == 0);
    }
    return good;
}

/* The whole file as text; NULL if it cannot be read. */
static char *read_text(const char *path)
{
    enum { LARGEST = 64 << 20 };
    char *text = NULL;
    FILE *const file = fopen(path, "rb");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size >= 0 && size <= LARGEST && fseek(file, 0, SEEK_SET) == 0)
        text = malloc((size_t)size + 1);
    if (text)
        text[fread(text, 1, (size_t)size, file)] = '\0';
    if (file)
        fclose(file);
    return text;
}

/* Where cJSON stopped, as a line number, for sentences. */
static cJSON *parse_json(const char *text, int *line)
{
    const char *end = NULL;
    cJSON *const json = cJSON_ParseWithOpts(text, &end, true);
    *line = 1;
    for (const char *p = text; !json && end && p < end; p++)
        *line += *p == '\n';
    return json;
}

static void list_arrays(golden_case *c)
{
    const cJSON *const arrays = want_item(c, "arrays"), *entry;
    if (!cJSON_IsObject(arrays))
        MALFORMED(c, "\"arrays\" of case.json is no object");
    c->arrays = calloc((size_t)cJSON_GetArraySize(arrays) + 1, sizeof *c->arrays);
    if (!c->arrays)
        stop_case(c, FAILED, "out of memory");
    cJSON_ArrayForEach(entry, arrays) c->arrays[c->array_count++].name = entry->string;
}

static void read_tolerance(golden_case *c)
{
    const cJSON *const tolerance = cJSON_GetObjectItemCaseSensitive(c->json, "tolerance");
    const cJSON *const relative = cJSON_GetObjectItemCaseSensitive(tolerance, "rel");
    if (relative && !(cJSON_IsNumber(relative) && relative->valuedouble >= 0))
        MALFORMED(c, "\"tolerance\" has a \"rel\" that is no number from 0");
    c->stated = relative ? relative->valuedouble : 0;
}

/* Arrays that nothing looked at stay out of the verdict, but their files must be there. */
static void check_files_of_the_rest(golden_case *c)
{
    for (size_t i = 0; i < c->array_count; i++) {
        char path[4096];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s.npy", c->folder, c->arrays[i].name);
        if (!c->arrays[i].used && stat(path, &status) != 0)
            MALFORMED(c, "array \"%s\" is listed, but there is no %s.npy", c->arrays[i].name,
                      c->arrays[i].name);
    }
}

static void run_json(golden_case *c)
{
    char path[4096];
    int line;
    snprintf(path, sizeof path, "%s/case.json", c->folder);
    char *const text = read_text(path);
    if (!text)
        MALFORMED(c, "there is no readable case.json");
    c->json = parse_json(text, &line);
    free(text);
    if (!c->json)
        MALFORMED(c, "case.json is no JSON, see line %d", line);
    if (!cJSON_IsObject(c->json))
        MALFORMED(c, "case.json is no object");
    const char *const kind = want_text(c, "kind");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, kind) == 0) {
            list_arrays(c);
            read_tolerance(c);
            kinds[i].run(c);
            check_files_of_the_rest(c);
            if (c->compared == 0)
                MALFORMED(c, "no array to compare with");
            return;
        }
    stop_case(c, SKIPPED, "kind %s is not built", kind);
}

/* One line whatever the text has in it. */
static void print_clean(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' ? '?' : *text);
}

static void print_case(const golden_case *c)
{
    static const char *const words[] = {"PASS", "FAIL", "SKIP"};
    printf("%s ", words[c->outcome]);
    print_clean(c->name);
    if (c->compared > 0)
        printf(" %.3g %.3g", c->error, c->tolerance);
    else
        printf(" - -");
    if (c->reason[0]) {
        putchar(' ');
        print_clean(c->reason);
    }
    const char *separator = " without: ";
    for (size_t i = 0; c->compared > 0 && i < c->array_count; i++)
        if (!c->arrays[i].used) {
            fputs(separator, stdout);
            print_clean(c->arrays[i].name);
            separator = ",";
        }
    putchar('\n');
    fflush(stdout);
}

static void release(golden_case *c)
{
    while (c->owned) {
        struct owned *const owned = c->owned;
        c->owned = owned->next;
        owned->destroy(owned->object);
        free(owned);
    }
    for (size_t i = 0; i < c->array_count; i++)
        equinv_tensor_destroy(c->ctx, &c->arrays[i].values);
    free(c->arrays);
    cJSON_Delete(c->json);
}

static void run_guarded(golden_case *c)
{
    if (setjmp(c->stop) == 0)
        run_json(c);
}

typedef struct tally {
    int64_t count[3]; /* by outcome */
} tally;

static void run_case(equinv_context *ctx, const char *directory, const char *name, tally *tally)
{
    char folder[3072];
    golden_case c = {.ctx = ctx, .name = name, .folder = folder};
    snprintf(folder, sizeof folder, "%s/%s", directory, name);
    run_guarded(&c);
    print_case(&c);
    tally->count[c.outcome]++;
    count_wanted(&c);
    release(&c);
}

/* A line for something that is wrong with the folder itself. */
static void fail_line(const char *name, const char *reason, tally *tally)
{
    printf("FAIL ");
    print_clean(name);
    printf(" - - malformed: %s\n", reason);
    tally->count[FAILED]++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Runs every folder that has a case.json, in the order of their names. */
static void run_found(equinv_context *ctx, const char *directory, tally *tally)
{
    char **names = NULL;
    size_t count = 0;
    DIR *const listing = opendir(directory);
    for (const struct dirent *entry; listing && (entry = readdir(listing));) {
        char path[4096];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s/case.json", directory, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &status) != 0)
            continue;
        char **const more = realloc(names, (count + 1) * sizeof *names);
        if (!more)
            break;
        names = more;
        names[count] = strdup(entry->d_name);
        count += names[count] != NULL;
    }
    if (listing)
        closedir(listing);
    if (count > 0)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        run_case(ctx, directory, names[i], tally);
        free(names[i]);
    }
    free(names);
}

/* Runs what the manifest lists; false if there is no usable manifest. */
static bool run_listed(equinv_context *ctx, const char *directory, const char *text, tally *tally)
{
    int line;
    cJSON *const manifest = parse_json(text, &line);
    const cJSON *const cases = cJSON_GetObjectItemCaseSensitive(manifest, "cases"), *entry;
    const bool usable = cJSON_IsArray(cases);
    const cJSON *const list = usable ? cases : NULL;
    cJSON_ArrayForEach(entry, list)
    {
        const char *const name =
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "name"));
        if (!name || !*name || strchr(name, '/') || name[0] == '.' || strlen(name) > 255)
            fail_line(name && *name ? name : "?",
                      "manifest.json has an entry without a usable name", tally);
        else
            run_case(ctx, directory, name, tally);
    }
    cJSON_Delete(manifest);
    return usable;
}

int main(int argc, char **argv)
{
    const int most = (int)(sizeof wanted / sizeof *wanted);
    if (argc < 2 || argc > 2 + most) {
        fprintf(stderr, "usage: run DIR [IMPLEMENTATION ..], at most %d of them\n", most);
        return 2;
    }
    for (int i = 2; i < argc; i++)
        wanted[wanted_count++].name = argv[i];
    equinv_context *ctx = NULL;
    if (equinv_context_create(NULL, &ctx) != EQUINV_OK) {
        fprintf(stderr, "golden: %s\n", equinv_last_error());
        return 2;
    }
    tally tally = {{0}};
    char path[4096];
    snprintf(path, sizeof path, "%s/manifest.json", argv[1]);
    struct stat status;
    if (stat(path, &status) != 0) {
        run_found(ctx, argv[1], &tally);
    } else {
        char *const text = read_text(path);
        if (!text || !run_listed(ctx, argv[1], text, &tally)) {
            fail_line("manifest.json", "expected JSON with a list \"cases\"", &tally);
            run_found(ctx, argv[1], &tally);
        }
        free(text);
    }
    equinv_context_destroy(ctx);
    const int64_t *const n = tally.count;
    if (n[PASSED] + n[FAILED] + n[SKIPPED] == 0)
        fprintf(stderr, "golden: no case in %s\n", argv[1]);
    const bool used = print_wanted();
    printf("%lld passed, %lld failed, %lld skipped\n", (long long)n[PASSED], (long long)n[FAILED],
           (long long)n[SKIPPED]);
    return used && n[FAILED] == 0 && n[PASSED] + n[SKIPPED] > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif
