/* equinv info: what this build and this machine can do. Always works. */
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

enum { KEY_JSON = 1 };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    bool *const as_json = state->input;
    switch (key) {
    case KEY_JSON: *as_json = true; return 0;
    case ARGP_KEY_ARG: tool_misused("unexpected argument \"%s\"", argument); return EINVAL;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options =
        (const struct argp_option[]){
            {"json", KEY_JSON, NULL, 0, "print one JSON object instead", 0},
            {0},
        },
    .parser = parse,
    .doc = "Prints the version, what the build contains, the device, instruction set and threads "
           "that commands use, and why CUDA is or is not available.\v"
           "Exit codes: 0 done (also where the environment asks for something that is not there: "
           "the line 'note' says so), 2 wrong usage.",
};

/*
 * A context as the environment asks for it; where that is refused, `note` gets the sentence and the
 * device without those wishes is described. NULL only without memory.
 */
static equinv_context *any_context(char *note, size_t size)
{
    equinv_context *ctx = NULL;
    if (equinv_context_create(NULL, &ctx) == EQUINV_OK)
        return ctx;
    snprintf(note, size, "%s", equinv_last_error());
    unsetenv("EQUINV_BACKEND");
    if (equinv_context_create(NULL, &ctx) == EQUINV_OK)
        return ctx;
    unsetenv("EQUINV_ISA");
    unsetenv("EQUINV_VERBOSE");
    return equinv_context_create(NULL, &ctx) == EQUINV_OK ? ctx : NULL;
}

/* Calls with every line of equinv_build_info, "part: what it means", cut in two. */
static void each_part(void (*tell)(void *to, const char *part, const char *text), void *to)
{
    char part[32], text[128];
    for (const char *line = equinv_build_info(); line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "%31[^:\n]: %127[^\n]", part, text) == 2)
            tell(to, part, text);
    }
}

static void print_part(void *to, const char *part, const char *text)
{
    fprintf(to, "  %s: %s\n", part, text);
}

static void print_json_part(void *to, const char *part, const char *text)
{
    json_text(to, part, text);
}

static void print_json(const char *note, const equinv_context *ctx, char *device, const char *cuda)
{
    json j = {.file = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "version", equinv_version());
    json_open(&j, "build", '{');
    each_part(print_json_part, &j);
    json_close(&j);
    json_text(&j, "description", device);
    /* "cpu, avx512, 2 threads (pthreadpool)" */
    json_text(&j, "device", strtok(device, ","));
    const char *const isa = strtok(NULL, ", ");
    json_text(&j, "isa", isa ? isa : "");
    json_integer(&j, "threads", equinv_context_threads(ctx));
    json_text(&j, "cuda", cuda);
    if (*note)
        json_text(&j, "note", note);
    json_close(&j);
}

/* Why CUDA is or is not there, also where the environment did not ask for it. */
static void describe_cuda(const equinv_context *ctx, const char *known, char *text, size_t size)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *cuda = NULL;
    desc.device = EQUINV_DEVICE_CUDA;
    if (equinv_context_device(ctx).kind == EQUINV_DEVICE_CUDA ||
        strcmp(known, "not asked for") != 0) {
        snprintf(text, size, "%s", known);
    } else if (equinv_context_create(&desc, &cuda) == EQUINV_OK) {
        snprintf(text, size, "yes, but not asked for");
    } else {
        const char *const reason = strstr(equinv_last_error(), "unavailable: ");
        snprintf(text, size, "%s", reason ? reason : equinv_last_error());
    }
    equinv_context_destroy(cuda);
}

static int run(int argc, char **argv)
{
    bool as_json = false;
    const int code = tool_parse(&argp, 0, argc, argv, &as_json);
    if (code >= 0)
        return code;

    char note[1024] = "", device[512], cuda[1024];
    equinv_context *const ctx = any_context(note, sizeof note);
    if (!ctx)
        return tool_refused();
    /* One line of the library: "<device, instruction set, threads>; cuda: <reason>". */
    snprintf(device, sizeof device, "%s", equinv_context_description(ctx));
    char *const cut = strstr(device, "; cuda: ");
    if (cut)
        *cut = '\0';
    describe_cuda(ctx, cut ? cut + strlen("; cuda: ") : "yes", cuda, sizeof cuda);
    if (as_json) {
        print_json(note, ctx, device, cuda);
    } else {
        printf("equinv %s\nbuilt with\n", equinv_version());
        each_part(print_part, stdout);
        printf("device: %s\ncuda: %s\n", device, cuda);
        if (*note)
            printf("note: %s\n", note);
    }
    equinv_context_destroy(ctx);
    return TOOL_DONE;
}

const command info_command = {"info", "version, build, device, instruction set, threads", run};
