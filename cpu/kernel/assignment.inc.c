/*
 * The cheapest assignment of rows to columns: min over permutations p of sum_i cost[i][p(i)].
 *
 * Method  Jonker and Volgenant 1987: every column takes its cheapest row if that is free, rows that are
 *         left bid for their best column twice over, and what then is left is assigned along shortest
 *         augmenting paths. Only the prices v of columns are kept: an assigned row i always has
 *         cost[i][column] - v[column] = min_j cost[i][j] - v[j].
 * Layout  columns in lanes; each lane keeps its least number and the column it stands in, and the lanes
 *         are compared at the end, the lower column first among equals.
 * Why     all that costs time are scans of rows, n numbers with one or two instructions each.
 *
 * The includer includes a header of cpu/simd/.
 */
#include "cpu/rows/assignment.h"

#include <math.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
enum { LANES = vf64_lanes };

static bool costs(const double *x, const double *y, int n, int64_t c, int64_t pitch, double *cost)
{
    vf64 odd = vf64_broadcast(0); /* NaN where a cost is not finite */
    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j += LANES) {
            vf64 sum = vf64_broadcast(0);
            for (int64_t k = 0; k < c; k++) {
                const vf64 d = vf64_sub(vf64_broadcast(x[i * c + k]), vf64_load(y + k * pitch + j));
                sum = vf64_fma(d, d, sum);
            }
            vf64_store(cost + i * pitch + j, sum);
            odd = vf64_fma(sum, vf64_broadcast(0), odd);
        }
    double all = 0, lanes[LANES];
    vf64_store(lanes, odd);
    for (int l = 0; l < LANES; l++)
        all += lanes[l];
    for (int i = 0; i < n; i++)
        for (int64_t j = n; j < pitch; j++)
            cost[i * pitch + j] = (double)INFINITY;
    return all == 0;
}

typedef struct least {
    double value;
    int32_t column;
} least;

/* The least of the lanes, of the lowest column. */
static inline least least_of(vf64 values, vf64 columns)
{
    double value[LANES], column[LANES];
    vf64_store(value, values);
    vf64_store(column, columns);
    int best = 0;
    for (int l = 1; l < LANES; l++)
        if (value[l] < value[best] || (value[l] == value[best] && column[l] < column[best]))
            best = l;
    return (least){value[best], (int32_t)column[best]};
}

static inline vf64 first_columns(void)
{
    double columns[LANES];
    for (int l = 0; l < LANES; l++)
        columns[l] = l;
    return vf64_load(columns);
}

/* The two least of cost[j] - v[j]. */
static inline void two_least(const double *cost, const double *v, int64_t pitch, least two[2])
{
    const vf64 step = vf64_broadcast(LANES);
    const vf64 none = vf64_broadcast((double)INFINITY);
    vf64 column = first_columns(), low = none, at = vf64_broadcast(0), next = none;
    vf64 next_at = vf64_broadcast(0);
    for (int64_t j = 0; j < pitch; j += LANES) {
        const vf64 h = vf64_sub(vf64_load(cost + j), vf64_load(v + j));
        next_at = vf64_select_less(h, low, at, vf64_select_less(h, next, column, next_at));
        next = vf64_select_less(h, low, low, vf64_select_less(h, next, h, next));
        at = vf64_select_less(h, low, column, at);
        low = vf64_select_less(h, low, h, low);
        column = vf64_sub(column, vf64_sub(vf64_broadcast(0), step));
    }
    two[0] = least_of(low, at);
    /* The second least is another lane's least, or the second of the lane that had the least. */
    double values[LANES], columns[LANES], seconds[LANES], second_columns[LANES];
    vf64_store(values, low);
    vf64_store(columns, at);
    vf64_store(seconds, next);
    vf64_store(second_columns, next_at);
    two[1] = (least){(double)INFINITY, 0};
    for (int l = 0; l < LANES; l++) {
        const bool taken = (int32_t)columns[l] == two[0].column && values[l] == two[0].value;
        const double value = taken ? seconds[l] : values[l];
        if (value < two[1].value)
            two[1] = (least){value, (int32_t)(taken ? second_columns[l] : columns[l])};
    }
}

/* Every column takes its cheapest row, the last column first; v are the costs. Leaves free rows. */
static int reduce_columns(const double *cost, int n, int64_t pitch, double *v, double *cheapest,
                          int32_t *column, int32_t *row, int32_t *unassigned)
{
    for (int64_t j = 0; j < pitch; j += LANES) {
        vf64 low = vf64_load(cost + j), at = vf64_broadcast(0);
        for (int i = 1; i < n; i++) {
            const vf64 c = vf64_load(cost + i * pitch + j);
            at = vf64_select_less(c, low, vf64_broadcast(i), at);
            low = vf64_min(c, low);
        }
        vf64_store(v + j, low);
        vf64_store(cheapest + j, at);
    }
    for (int64_t j = n; j < pitch; j++)
        v[j] = 0;
    for (int i = 0; i < n; i++)
        column[i] = row[i] = -1;
    for (int j = n - 1; j >= 0; j--) {
        const int32_t i = (int32_t)cheapest[j];
        if (column[i] < 0) {
            column[i] = j;
            row[j] = i;
        }
    }
    int count = 0;
    for (int32_t i = 0; i < n; i++)
        if (column[i] < 0)
            unassigned[count++] = i;
    return count;
}

/* Free rows take their best column and pay what makes the second as good; who stood there is free. */
static int bid(const double *cost, int n, int64_t pitch, double *v, int32_t *column, int32_t *row,
               int32_t *unassigned, int count)
{
    int left = 0,
        steps = 8 * n; /* prices that rounding keeps where they are would go on for ever */
    for (int k = 0; k < count;) {
        const int32_t i = unassigned[k++];
        least two[2];
        if (steps-- <= 0) {
            unassigned[left++] = i;
            continue;
        }
        two_least(cost + i * pitch, v, pitch, two);
        int32_t j = two[0].column, other = row[j];
        const double price = v[j] - (two[1].value - two[0].value);
        const bool better = n > 1 && price < v[j];
        if (better)
            v[j] = price;
        else if (other >= 0 && n > 1) {
            j = two[1].column;
            other = row[j];
        }
        column[i] = j;
        row[j] = i;
        if (other < 0)
            continue;
        column[other] = -1;
        if (better)
            unassigned[--k] = other;
        else
            unassigned[left++] = other;
    }
    return left;
}

/* The shortest path from a free row to a free column, by reduced costs; then along it. */
static void augment(const double *cost, int n, int64_t pitch, int32_t start, double *numbers,
                    int32_t *column, int32_t *row)
{
    /* v and, of columns that were passed, minus infinity, which keeps them out; lengths; rows before. */
    double *const v = numbers, *const open = v + pitch, *const length = open + pitch;
    double *const before = length + pitch;
    const vf64 step = vf64_broadcast(-(double)LANES);
    for (int64_t j = 0; j < pitch; j++) {
        open[j] = v[j];
        length[j] = (double)INFINITY;
    }
    int32_t i = start, last;
    double shortest = 0, h = 0;
    for (;;) {
        const double *const from = cost + i * pitch;
        const vf64 base = vf64_broadcast(h), by = vf64_broadcast(i);
        vf64 at = first_columns(), low = vf64_broadcast((double)INFINITY), low_at = at;
        for (int64_t j = 0; j < pitch; j += LANES) {
            const vf64 o = vf64_load(open + j), l = vf64_load(length + j);
            const vf64 d = vf64_sub(vf64_sub(vf64_load(from + j), o), base);
            vf64_store(before + j, vf64_select_less(d, l, by, vf64_load(before + j)));
            const vf64 now = vf64_min(d, l);
            vf64_store(length + j, now);
            /* A passed column has its length still, but is not looked at. */
            const vf64 seen = vf64_select_less(vf64_broadcast(-(double)INFINITY), o, now,
                                               vf64_broadcast((double)INFINITY));
            low_at = vf64_select_less(seen, low, at, low_at);
            low = vf64_min(seen, low);
            at = vf64_sub(at, step);
        }
        const least next = least_of(low, low_at);
        last = next.column;
        shortest = next.value;
        if (row[last] < 0)
            break;
        open[last] = -(double)INFINITY;
        i = row[last];
        h = cost[i * pitch + last] - v[last] - shortest;
    }
    for (int j = 0; j < n; j++)
        if (open[j] == -(double)INFINITY)
            v[j] += length[j] - shortest;
    for (int32_t j = last;;) {
        i = (int32_t)before[j];
        row[j] = i;
        const int32_t back = column[i];
        column[i] = j;
        if (i == start)
            break;
        j = back;
    }
}

static void solve(const double *cost, int n, int64_t pitch, int32_t *column, double *numbers,
                  int32_t *integers)
{
    int32_t *const row = integers, *const unassigned = row + n;
    int count = reduce_columns(cost, n, pitch, numbers, numbers + pitch, column, row, unassigned);
    for (int pass = 0; pass < 2 && count > 0; pass++)
        count = bid(cost, n, pitch, numbers, column, row, unassigned, count);
    for (int k = 0; k < count; k++)
        augment(cost, n, pitch, unassigned[k], numbers, column, row);
}

#define KERNELS PASTE(eqi_assignment_kernels_, EQI_LEVEL)
const eqi_assignment_kernels KERNELS = {costs, solve};
