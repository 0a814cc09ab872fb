/*
 * The cheapest assignment, min over permutations p of sum_i cost[i][p(i)], by the Hungarian method with
 * potentials u, v: cost[i][j] - u[i] - v[j] >= 0, and = 0 where row i has column j. Rows come one by
 * one; each looks for the shortest way to a free column by reduced costs.
 */
#include "ref.h"

#include <math.h>

void eqi_ref_assignment(const double *cost, int64_t n, int32_t *column, double *room,
                        int32_t *integers)
{
    double *const u = room, *const v = u + n + 1, *const least = v + n + 1;
    int32_t *const row = integers, *const way = row + n + 1, *const used = way + n + 1;
    for (int64_t j = 0; j <= n; j++) /* column n holds the row that looks */
        u[j] = v[j] = 0, row[j] = -1;
    for (int32_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= n; j++)
            least[j] = (double)INFINITY, used[j] = 0;
        row[n] = i;
        int32_t j = (int32_t)n;
        do {
            double step = (double)INFINITY;
            int32_t next = 0;
            used[j] = 1;
            for (int32_t k = 0; k < n; k++) {
                if (used[k])
                    continue;
                const double reduced = cost[row[j] * n + k] - u[row[j]] - v[k];
                if (reduced < least[k])
                    least[k] = reduced, way[k] = j;
                if (least[k] < step)
                    step = least[k], next = k;
            }
            for (int64_t k = 0; k <= n; k++)
                if (used[k])
                    u[row[k]] += step, v[k] -= step;
                else
                    least[k] -= step;
            j = next;
        } while (row[j] >= 0);
        for (; j != n; j = way[j])
            row[j] = row[way[j]];
    }
    for (int32_t j = 0; j < n; j++)
        column[row[j]] = j;
}
