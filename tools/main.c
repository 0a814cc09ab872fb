#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

static const command *const commands[] = {
    &info_command,       &project_command, &report_command,
    &neighbours_command, &train_command,   &extract_command,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* Name of the running command; NULL until it is known. */
static const char *running;

void tool_say(const char *format, va_list arguments)
{
    progress_clear();
    fputs("equinv: ", stderr);
    if (running)
        fprintf(stderr, "%s: ", running);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int tool_refused(void)
{
    if (tool_interrupted()) {
        tool_fail("interrupted");
        return TOOL_INTERRUPTED;
    }
    return tool_fail("%s", equinv_last_error());
}

/* ---- parsing -------------------------------------------------------------------------------- */

enum { KEY_VERSION = 1000 };

static error_t parse_general(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    char name[64];
    switch (key) {
    case ARGP_KEY_INIT:
        state->err_stream = NULL; /* hints are ours */
        return 0;
    case 'h':
        snprintf(name, sizeof name, "equinv%s%s", running ? " " : "", running ? running : "");
        state->name = name;
        argp_state_help(state, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC);
        break;
    case KEY_VERSION: printf("equinv %s\n", equinv_version()); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    *(bool *)state->input = true;
    state->next = state->argc;
    return ECANCELED;
}

static const struct argp general_argp = {
    .options =
        (const struct argp_option[]){
            {"help", 'h', NULL, 0, "print this help", -1},
            {"version", KEY_VERSION, NULL, 0, "print the version", -1},
            {0},
        },
    .parser = parse_general,
};

/* The command's parser with the general options beside it. */
typedef struct parse_input {
    void *own;
    bool answered;
} parse_input;

static error_t parse_root(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    parse_input *const input = state->input;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = input->own;
    state->child_inputs[1] = &input->answered;
    return 0;
}

/* argp's remark on short options, under every list of options, helps nobody. */
static char *drop_note(int key, const char *text, void *input)
{
    (void)input;
    return key == ARGP_KEY_HELP_DUP_ARGS_NOTE ? NULL : (char *)text;
}

int tool_parse(const struct argp *argp, unsigned flags, int argc, char **argv, void *input)
{
    const struct argp_child children[] = {{argp, 0, NULL, 0}, {&general_argp, 0, NULL, 0}, {0}};
    const struct argp root = {.parser = parse_root, .children = children, .help_filter = drop_note};
    parse_input both = {input, false};
    const error_t error =
        argp_parse(&root, argc, argv, flags | ARGP_NO_HELP | ARGP_NO_EXIT, NULL, &both);
    if (both.answered)
        return TOOL_DONE;
    if (error == 0)
        return -1;
    if (error == ENOMEM)
        return tool_fail("out of memory");
    return TOOL_USAGE;
}

/* ---- the program ---------------------------------------------------------------------------- */

typedef struct choice {
    const command *command;
    int argc;
    char **argv;
} choice;

static const char *command_words(char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < COMMANDS && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", commands[i]->name);
    return text;
}

static error_t parse_command(int key, char *argument, struct argp_state *state)
{
    choice *const chosen = state->input;
    char words[160];
    switch (key) {
    case ARGP_KEY_ARG:
        for (size_t i = 0; i < COMMANDS; i++)
            if (strcmp(argument, commands[i]->name) == 0)
                chosen->command = commands[i];
        if (!chosen->command) {
            tool_misused("\"%s\" is no command; there are: %s", argument,
                         command_words(words, sizeof words));
            return EINVAL;
        }
        chosen->argv = state->argv + state->next - 1;
        chosen->argc = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        tool_misused("no command was given; there are: %s", command_words(words, sizeof words));
        return EINVAL;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Puts the list of commands, made from the table, in front of the closing text. */
static char *help_text(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC || !text)
        return (char *)text;
    char *all = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&all, &size);
    if (!stream)
        return (char *)text;
    fputs("Commands:\n", stream);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %-10s %s\n", commands[i]->name, commands[i]->purpose);
    fprintf(stream, "\n%s", text);
    fclose(stream);
    return all;
}

static const struct argp main_argp = {
    .parser = parse_command,
    .args_doc = "COMMAND [ARGUMENT...]",
    .doc = "Invariant representations from equivariant ones: codes of an equivariant network are "
           "defined only up to a group action, and equinv turns them into codes that may be "
           "compared.\v"
           "'equinv COMMAND --help' explains a command.\n"
           "\n"
           "Files: arrays are NPY or IDX, also gzipped; /dev/stdin and /dev/stdout work. An output "
           "file appears, complete, when a command succeeds, and not at all otherwise.\n"
           "\n"
           "Environment: EQUINV_BACKEND=cpu|cuda says what --device auto means, "
           "EQUINV_ISA=scalar|avx2|avx512 caps the instruction set, EQUINV_VERBOSE=info|dispatch "
           "shows what is chosen and why.\n"
           "\n"
           "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .help_filter = help_text,
};

/* What is still buffered may not fit on the disk or into the pipe. */
static int close_stdout(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    const int error = errno;
    return code == TOOL_DONE ? tool_fail("standard output: %s", strerror(error)) : code;
}

int main(int argc, char **argv)
{
    choice chosen = {NULL, 0, NULL};
    char program[] = "equinv", name[64];

    /* A full disk and a closed pipe are errors of write(), with a sentence, not deaths. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (argc > 0)
        argv[0] = program;
    int code = tool_parse(&main_argp, ARGP_IN_ORDER, argc, argv, &chosen);
    if (code < 0) {
        running = chosen.command->name;
        /* getopt begins its own sentences with argv[0]. */
        snprintf(name, sizeof name, "equinv: %s", running);
        chosen.argv[0] = name;
        code = chosen.command->run(chosen.argc, chosen.argv);
    }
    if (code == TOOL_USAGE)
        fprintf(stderr, "Try 'equinv%s%s --help'.\n", running ? " " : "", running ? running : "");
    return close_stdout(code);
}
