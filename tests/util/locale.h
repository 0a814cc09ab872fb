/* A locale with a decimal comma, for "numbers are the same in every locale". */
#ifndef TESTS_UTIL_LOCALE_H
#define TESTS_UTIL_LOCALE_H

#include <stdbool.h>

/*
 * Makes LC_NUMERIC one with a comma: of the system, or compiled by localedef into a temporary folder.
 * False, with the reason on stdout, if there is none.
 */
bool comma_begin(const char *test);
/* Back to "C". */
void comma_end(void);

#endif
