#include "tests/util/locale.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/util/test.h"

static bool has_comma(const char *name)
{
    return setlocale(LC_NUMERIC, name) && *localeconv()->decimal_point == ',';
}

bool comma_begin(const char *test)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (has_comma(names[i]))
            return true;
    char folder[] = "/tmp/equinv-locale-XXXXXX", command[256];
    bool found = false;
    if (mkdtemp(folder)) {
        /* The C library opens the files at setlocale: they may go at once. */
        snprintf(command, sizeof command,
                 "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
        setenv("LOCPATH", folder, 1);
        found = system(command) == 0 && has_comma("de_DE.UTF-8");
        unsetenv("LOCPATH");
        snprintf(command, sizeof command, "rm -rf %s", folder);
        found &= system(command) == 0;
    }
    if (!found)
        printf("SKIP %s: no locale with a decimal comma, and localedef cannot make one\n", test);
    return found;
}

void comma_end(void)
{
    setlocale(LC_NUMERIC, "C");
}
