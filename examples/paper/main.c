/*
 * The report of all of the paper's experiments: FOLDER/report.html, one page without anything beside it, and
 * FOLDER/report.json, from what the experiments left in FOLDER (default build/paper). An experiment that has
 * not been run is said to be missing.
 *
 *     build/bin/equinv-paper [FOLDER]
 */
#include <stdlib.h>
#include <string.h>

#include "examples/common/experiment.h"
#include "paper.h"

const char program_name[] = "equinv-paper";

/* A whole file with a NUL behind it; free it. NULL: it is not there. */
static char *read_file(const char *path)
{
    FILE *const file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = NULL;
    long size = -1;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0)
        text = malloc((size_t)size + 1);
    if (text)
        text[fread(text, 1, (size_t)size, file)] = '\0';
    fclose(file);
    return text;
}

/* The experiment's report as a member of all; false after a sentence if it is no JSON object. */
static bool add_report(cJSON *all, const char *folder, const section *s, double *seconds)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s.json", folder, s->name);
    char *const text = read_file(path);
    if (!text) {
        fprintf(stderr, "%s: there is no %s, the page will say so\n", program_name, path);
        return true;
    }
    cJSON *const report = cJSON_Parse(text);
    free(text);
    const cJSON *const took = find_member(report, "seconds");
    if (!cJSON_IsObject(report) || !cJSON_AddItemToObject(all, s->name, report)) {
        cJSON_Delete(report);
        return tool_fail("%s is no JSON object", path) == TOOL_DONE;
    }
    *seconds += cJSON_IsNumber(took) ? took->valuedouble : 0;
    return true;
}

static bool write_object(const char *folder, const cJSON *all)
{
    output o;
    char *const text = cJSON_Print(all);
    if (!text || !output_open(&o, folder, "report.json")) {
        cJSON_free(text);
        return false;
    }
    fprintf(o.file, "%s\n", text);
    cJSON_free(text);
    return output_close(&o, true);
}

static bool write_html(const char *folder, const cJSON *all, double seconds)
{
    output o;
    const cJSON *reports[SECTIONS];
    for (int i = 0; i < SECTIONS; i++)
        reports[i] = find_member(all, sections[i].name);
    if (!output_open(&o, folder, "report.html"))
        return false;
    write_page(o.file, folder, reports, seconds);
    return output_close(&o, true);
}

int main(int argc, char **argv)
{
    const char *const folder = argc > 1 ? argv[1] : "build/paper";
    char *end = NULL;
    const double took = argc > 2 ? strtod(argv[2], &end) : 0;
    if (argc > 3 || folder[0] == '-' || (end && *end) || !(took >= 0))
        return tool_misused("usage: equinv-paper [FOLDER [SECONDS]]");
    output_signals();
    cJSON *const all = cJSON_CreateObject();
    double seconds = 0;
    bool good = all != NULL;
    for (int i = 0; good && i < SECTIONS; i++)
        good = add_report(all, folder, &sections[i], &seconds);
    if (argc > 2)
        seconds = took;
    good = good && cJSON_AddNumberToObject(all, "seconds", seconds) && write_object(folder, all) &&
           write_html(folder, all, seconds);
    cJSON_Delete(all);
    if (good)
        printf("report: %s/report.html, %s/report.json\n", folder, folder);
    return good ? TOOL_DONE : TOOL_FAILED;
}
