/* Runs every planted fault in a child and looks at how it ends and what it says. */
#include "tests/cuda_host/planted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

/* The child's exit status as waitpid gives it; its stderr in text. */
static int run_child(const Planted &p, const char *orders, std::string &text)
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
        setenv("EQI_CUDA_HOST_ORDERS", orders, 1);
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

static bool check(const Planted &p, const char *orders)
{
    std::string text;
    const int status = run_child(p, orders, text);
    if (getenv("EQI_CUDA_HOST_SHOW"))
        printf("%s: status 0x%x\n%s", p.name, static_cast<unsigned>(status), text.c_str());
    if (as_expected(p, status, text))
        return true;
    printf("cuda_host: '%s' in %s orders ended with status 0x%x, expected %s; it said:\n%s\n",
           p.name, orders, static_cast<unsigned>(status), p.says ? p.says : "0 and no word",
           text.c_str());
    return false;
}

/* Two orders are the usual number; what is sound must be so in three. */
static void check_all(const Planted *list, int count, int *checks, int *failures)
{
    for (int i = 0; i < count; i++) {
        *checks += 1;
        *failures += !check(list[i], "2");
        if (list[i].says)
            continue;
        *checks += 1;
        *failures += !check(list[i], "3");
    }
}

int main(void)
{
    int checks = 0, failures = 0;
    check_all(planted_kernels, planted_kernels_count, &checks, &failures);
    check_all(planted_host, planted_host_count, &checks, &failures);
    printf("%d%%: Checks: %d, Failures: %d, Errors: 0\n", 100 * (checks - failures) / checks,
           checks, failures);
    return failures ? 1 : 0;
}
