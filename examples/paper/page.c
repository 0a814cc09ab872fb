#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "paper.h"

/* ---- values --------------------------------------------------------------------------------- */

#define NOTHING "\xe2\x80\x93" /* a dash */

const cJSON *find_member(const cJSON *report, const char *path)
{
    char key[64];
    const cJSON *at = report;
    while (at && *path) {
        const size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, (int)strtol(key, NULL, 10))
                               : cJSON_GetObjectItemCaseSensitive(at, key);
        path += length + (path[length] == '.');
    }
    return at;
}

static double number_at(const cJSON *report, const char *path)
{
    const cJSON *const at = find_member(report, path);
    return cJSON_IsNumber(at) ? at->valuedouble : (double)NAN;
}

static void put_text(FILE *f, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        switch (text[i]) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '"': fputs("&quot;", f); break;
        default: fputc(text[i], f);
        }
}

/* 18,290 */
static void put_whole(FILE *f, double value)
{
    char digits[32];
    const int length = snprintf(digits, sizeof digits, "%.0f", value);
    for (int i = 0; i < length && i < (int)sizeof digits - 1; i++)
        fprintf(f, "%s%c", i && digits[i - 1] != '-' && (length - i) % 3 == 0 ? "," : "",
                digits[i]);
}

/* 4 times a power of ten. */
static void put_small(FILE *f, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.0e", value);
    const int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    fprintf(f, "%.*s&middot;10<sup>&minus;%d</sup>", (int)strcspn(text, "e"), text, -exponent);
}

static void put_number(FILE *f, double value, number_form form)
{
    if (!isfinite(value))
        fputs(NOTHING, f);
    else if (form == FORM_WHOLE)
        put_whole(f, value);
    else if (form == FORM_TENTH)
        fprintf(f, "%.1f", value);
    else if (form == FORM_SMALL && value != 0 && fabs(value) < 0.01)
        put_small(f, value);
    else if (form == FORM_SMALL)
        fprintf(f, "%.2g", value);
    else
        fprintf(f, "%.3f", value);
}

static void put_value(FILE *f, const cJSON *at, number_form form)
{
    if (cJSON_IsString(at))
        put_text(f, at->valuestring, strlen(at->valuestring));
    else
        put_number(f, cJSON_IsNumber(at) ? at->valuedouble : (double)NAN, form);
}

/* Words with what they quote from a report. */
static void put_words(FILE *f, const char *words, const cJSON *report)
{
    for (const char *at = words; *at; at++) {
        char path[64];
        if (*at != '{') {
            fputc(*at, f);
            continue;
        }
        const size_t length = strcspn(++at, "|}");
        snprintf(path, sizeof path, "%.*s", (int)length, at);
        at += length;
        const number_form form = *at == '|' ? (number_form)at[1] : FORM_SHARE;
        put_value(f, find_member(report, path), form);
        at += strcspn(at, "}");
    }
}

/* ---- tables --------------------------------------------------------------------------------- */

static void put_cell(FILE *f, const cJSON *at, number_form form)
{
    if (form == FORM_BAR && cJSON_IsNumber(at))
        fprintf(f, "<td class=bar style=\"--v:%.3f\">", fmax(0, fmin(1, at->valuedouble)));
    else
        fputs("<td>", f);
    put_value(f, at, form);
}

static void put_rows(FILE *f, const block *b, const cJSON *report)
{
    const cJSON *row;
    fputs("<table>\n<tr>", f);
    for (const column *c = b->columns; c < b->columns + MOST_COLUMNS && c->title; c++)
        fprintf(f, "<th>%s", c->title);
    cJSON_ArrayForEach(row, find_member(report, b->rows))
    {
        fputs("\n<tr><th scope=row>", f);
        put_value(f, find_member(row, b->columns->key), b->columns->form);
        for (const column *c = b->columns + 1; c < b->columns + MOST_COLUMNS && c->title; c++)
            put_cell(f, find_member(row, c->key), c->form);
    }
    fputs("\n</table>\n", f);
}

static void put_pairs(FILE *f, const block *b, const cJSON *report)
{
    fputs("<table>\n<tr><th><th>raw<th>sorted", f);
    for (const pair *p = b->pairs; p < b->pairs + MOST_PAIRS && p->title; p++) {
        fprintf(f, "\n<tr><th scope=row>%s", p->title);
        put_cell(f, find_member(report, p->raw), p->form);
        put_cell(f, find_member(report, p->code), p->form);
    }
    fputs("\n</table>\n", f);
}

static double goal_value(const goal *g, const cJSON *report)
{
    const double value = number_at(report, g->key);
    if (!g->other)
        return value;
    const double other = number_at(report, g->other);
    return g->relation == '/' ? value / other : value - other;
}

static void put_goals(FILE *f, const section *s, const cJSON *report)
{
    fprintf(f, "<tr><th class=group colspan=4>%s", s->title);
    for (const goal *g = s->goals; g < s->goals + MOST_GOALS && g->words; g++) {
        const double value = goal_value(g, report);
        const bool met = g->relation == '<' ? value <= g->limit : value >= g->limit;
        fprintf(f, "\n<tr><th scope=row>%s<td>", g->words);
        put_number(f, value, fabs(value) < 0.001 ? FORM_SMALL : FORM_SHARE);
        fprintf(f, "<td>%s&nbsp;", g->relation == '<' ? "&le;" : "&ge;");
        if (g->limit > 0 && g->limit < 0.001)
            put_small(f, g->limit);
        else
            fprintf(f, "%g", g->limit);
        fprintf(f, "<td>%s", isnan(value) ? NOTHING : met ? "yes" : "<b>no</b>");
    }
    fputc('\n', f);
}

/* ---- pictures ------------------------------------------------------------------------------- */

static void put_base64(FILE *f, FILE *file)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char three[3];
    size_t count;
    while ((count = fread(three, 1, 3, file)) > 0) {
        memset(three + count, 0, 3 - count);
        const unsigned long bits =
            (unsigned long)three[0] << 16 | (unsigned long)three[1] << 8 | three[2];
        for (size_t i = 0; i < 4; i++)
            fputc(i <= count ? digits[bits >> (18 - 6 * i) & 63] : '=', f);
    }
}

static void put_picture(FILE *f, const char *folder, const picture *p)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, p->file);
    FILE *const file = fopen(path, "rb");
    if (!file) {
        fprintf(f, "<p class=quiet>Here %s would be seen, but there is no %s.\n", p->words,
                p->file);
        return;
    }
    fprintf(f, "<img alt=\"%s\" src=\"data:image/%s;base64,", p->words,
            strstr(p->file, ".svg") ? "svg+xml" : "png");
    put_base64(f, file);
    fputs("\">\n", f);
    fclose(file);
}

static void put_pictures(FILE *f, const char *folder, const picture pictures[MOST_PICTURES])
{
    fputs("<div class=pictures>\n", f);
    for (const picture *p = pictures; p < pictures + MOST_PICTURES && p->file; p++)
        put_picture(f, folder, p);
    fputs("</div>\n", f);
}

/* ---- the page ------------------------------------------------------------------------------- */

static const char *const style =
    "body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:52rem;margin:0 auto;"
    "padding:1rem;overflow-wrap:break-word}\n"
    "h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.3rem;margin-top:2.5rem;"
    "border-top:1px solid #ccc;padding-top:1rem}h3{font-size:1.05rem;margin-bottom:.3rem}\n"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem;font-size:.9rem;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25rem .4rem;border-bottom:1px solid #e4e4e4;text-align:right;"
    "font-weight:400;vertical-align:bottom}\n"
    "th{color:#555}th:first-child,th.group{text-align:left;color:#222}th.group{font-weight:600;"
    "padding-top:.8rem}\n"
    "sup{line-height:0}td.bar{background:linear-gradient(to right,#cfe2f3 "
    "calc(var(--v)*100%),transparent 0)}\n"
    ".pictures{display:flex;flex-wrap:wrap;gap:.5rem}.pictures img{flex:1 1 20rem;min-width:0;"
    "max-width:100%;height:auto}\n"
    ".quiet{color:#666;font-size:.9rem}\n"
    "@media(max-width:30rem){body{padding:.6rem}table{font-size:.72rem}ul{padding-left:1.2rem}"
    "th,td{padding:.25rem .12rem}th:first-child{hyphens:auto}}\n"
    "@media(max-width:22rem){th:first-child{overflow-wrap:anywhere}}\n";

static void put_block(FILE *f, const char *folder, const block *b, const cJSON *report)
{
    if (b->heading) {
        fputs("<h3>", f);
        put_words(f, b->heading, report);
        fputs("</h3>\n", f);
    }
    if (b->words) {
        fputs("<p>", f);
        put_words(f, b->words, report);
        fputs("\n", f);
    }
    if (b->rows)
        put_rows(f, b, report);
    if (b->pairs[0].title)
        put_pairs(f, b, report);
    if (b->pictures[0].file)
        put_pictures(f, folder, b->pictures);
}

static void put_section(FILE *f, const char *folder, const section *s, const cJSON *report)
{
    fprintf(f, "<h2 id=%s>%s</h2>\n", s->name, s->title);
    if (!report) {
        fprintf(f, "<p>This experiment was not run: there is no %s.json.\n", s->name);
        return;
    }
    fputs("<p>", f);
    put_words(f, s->words, report);
    fputc('\n', f);
    for (const block *b = s->blocks;
         b < s->blocks + MOST_BLOCKS && (b->heading || b->words || b->rows); b++)
        put_block(f, folder, b, report);
    fputs("<p class=quiet>", f);
    put_words(f, "Seed {seed|d}; {seconds|1} s on {device}.\n", report);
}

void write_page(FILE *f, const char *folder, const cJSON *const reports[SECTIONS], double seconds)
{
    fprintf(f,
            "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
            "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n"
            "<title>Raw and projected latent codes</title>\n<style>\n%s</style>\n"
            "<h1>Raw and projected latent codes</h1>\n<p>%s\n<ul>\n",
            style, introduction);
    for (int i = 0; i < SECTIONS; i++)
        if (reports[i]) {
            fputs("<li>", f);
            put_words(f, sections[i].result, reports[i]);
            fputc('\n', f);
        }
    fprintf(f,
            "</ul>\n<p class=quiet>Made by <code>make paper</code>; equinv %s, %.0f s in all.\n"
            "<h2>What a run must show</h2>\n"
            "<table>\n<tr><th>figure<th>here<th>expected<th>so?\n",
            equinv_version(), seconds);
    for (int i = 0; i < SECTIONS; i++)
        put_goals(f, &sections[i], reports[i]);
    fputs("</table>\n", f);
    for (int i = 0; i < SECTIONS; i++)
        put_section(f, folder, &sections[i], reports[i]);
    fputs("</html>\n", f);
}
