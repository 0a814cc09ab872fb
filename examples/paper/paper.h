/* One page and one JSON object from the reports of the paper's experiments. */
#ifndef EXAMPLES_PAPER_H
#define EXAMPLES_PAPER_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "equinv/equinv.h"

/* ---- what the page says (content.c) --------------------------------------------------------- */

/*
 * Words may quote an experiment's report: {key}, {list.2.key}, and {key|form} with a form of number_form.
 * Keys and words that a report lacks become a dash.
 */
typedef enum number_form {
    FORM_SHARE = '3', /* 0.962 */
    FORM_BAR = 'b',   /* the same with a bar behind it; in tables alone */
    FORM_WHOLE = 'd', /* 18,290 */
    FORM_TENTH = '1', /* 18.3 */
    FORM_SMALL = 'e', /* 4 times a power of ten, where it is small */
    FORM_TEXT = 't'
} number_form;

typedef struct column {
    const char *title, *key;
    number_form form;
} column;

/* Two figures for one thing: by raw codes and by sorted ones. */
typedef struct pair {
    const char *title, *raw, *code;
    number_form form;
} pair;

/* A PNG or SVG file beside the reports, and what it shows. */
typedef struct picture {
    const char *file, *words;
} picture;

enum { MOST_COLUMNS = 7, MOST_PAIRS = 16, MOST_PICTURES = 3 };
typedef struct block {
    const char *heading, *words; /* NULL: none */
    const char *rows;            /* path of a list of objects, a row each; NULL: no such table */
    column columns[MOST_COLUMNS];
    pair pairs[MOST_PAIRS];
    picture pictures[MOST_PICTURES];
} block;

/*
 * What a run must show: key - other (NULL: key alone) at most ('<') or at least ('>') a limit, or key / other at
 * least ('/').
 */
typedef struct goal {
    const char *words, *key, *other;
    char relation;
    double limit;
} goal;

enum { MOST_BLOCKS = 12, MOST_GOALS = 12 };
typedef struct section {
    const char *name; /* of its report, without .json */
    const char *title, *words;
    const char *result; /* one sentence, for the head of the page */
    block blocks[MOST_BLOCKS];
    goal goals[MOST_GOALS];
} section;

enum { SECTIONS = 3 };
extern const section sections[SECTIONS];
extern const char *const introduction;

/* ---- the page (page.c) ---------------------------------------------------------------------- */

/* reports[i] of sections[i], NULL where it was not run; pictures lie in folder. */
void write_page(FILE *file, const char *folder, const cJSON *const reports[SECTIONS],
                double seconds);

/* The member at a path of keys and list numbers, "list.2.key"; NULL if there is none. */
const cJSON *find_member(const cJSON *report, const char *path);

#endif
