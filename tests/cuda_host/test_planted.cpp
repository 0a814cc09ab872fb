/* Runs every planted fault in a child and looks at how it ends and what it says. */
#include "tests/cuda_host/planted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

/* The child's exit status as waitpid gives it; its stderr in text. */
static int run_child(const Planted &p, std::string &text)
{
    int ends[2];
    if (pipe(ends))
        exit(1);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        exit(p.run() ? 3 : 0);
    }
    close(ends[1]);
    char buffer[4096];
    ssize_t length;
    while ((length = read(ends[0], buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<size_t>(length));
    close(ends[0]);
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

/* A fault must end the child or make it return non-zero, in words that name the kernel. */
static bool as_expected(const Planted &p, int status, const std::string &text)
{
    if (!p.says)
        return status == 0 && text.empty();
    const size_t line = text.find("cuda host: ");
    return status != 0 && line != std::string::npos &&
           text.find(p.says, line) != std::string::npos &&
           text.find(p.kernel, line) != std::string::npos;
}

int main(void)
{
    int failures = 0;
    for (int i = 0; i < planted_count; i++) {
        std::string text;
        const int status = run_child(planted[i], text);
        if (getenv("EQI_CUDA_HOST_SHOW"))
            printf("%s: status 0x%x\n%s", planted[i].name, static_cast<unsigned>(status),
                   text.c_str());
        if (as_expected(planted[i], status, text))
            continue;
        failures++;
        printf("cuda_host: '%s' ended with status 0x%x, expected %s; it said:\n%s\n",
               planted[i].name, static_cast<unsigned>(status),
               planted[i].says ? planted[i].says : "0 and no word", text.c_str());
    }
    printf("%d%%: Checks: %d, Failures: %d, Errors: 0\n",
           100 * (planted_count - failures) / planted_count, planted_count, failures);
    return failures ? 1 : 0;
}
