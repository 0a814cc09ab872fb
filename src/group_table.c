/*
 * Groups that are given by their Cayley table. Tables belong to the process: they are never changed and
 * never released, so that a group stays a value; reading one takes no lock.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "internal/group.h"

typedef struct group_table {
    int32_t order;
    int16_t *inverse; /* [order] */
    int16_t *product; /* [order, order] */
} group_table;

static _Atomic(const group_table *) tables[EQUINV_GROUP_TABLES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const group_table *table_of(equinv_group group)
{
    return atomic_load_explicit(&tables[group.n], memory_order_acquire);
}

bool eqi_table_exists(equinv_group group)
{
    return group.n >= 0 && group.n < EQUINV_GROUP_TABLES && table_of(group) != NULL;
}

int32_t eqi_table_order(equinv_group group)
{
    return table_of(group)->order;
}

int32_t eqi_table_product(equinv_group group, int32_t a, int32_t b)
{
    const group_table *const t = table_of(group);
    return t->product[a * t->order + b];
}

int32_t eqi_table_inverse(equinv_group group, int32_t a)
{
    return table_of(group)->inverse[a];
}

/* ---- axioms --------------------------------------------------------------------------------- */

/* Elements from which products reach all others; `reached` and `generators` have room for all. */
static int32_t find_generators(const group_table *t, int16_t *reached, int16_t *generators)
{
    const int32_t n = t->order;
    bool seen[EQUINV_GROUP_MAX_ORDER] = {true};
    int32_t count = 1, chosen = 0;
    reached[0] = 0;
    for (int32_t next = 1; next < n; next++) {
        if (seen[next])
            continue;
        generators[chosen++] = (int16_t)next;
        /* What there is times the new one, and what comes of it times all of them. */
        for (int32_t i = 0, old = count; i < count; i++)
            for (int32_t g = i < old ? chosen - 1 : 0; g < chosen; g++) {
                const int16_t c = t->product[reached[i] * n + generators[g]];
                if (!seen[c]) {
                    seen[c] = true;
                    reached[count++] = c;
                }
            }
    }
    return chosen;
}

/* source: Light's test: it is enough that (x g) y = x (g y) for generators g. */
static equinv_status check_associative(const group_table *t)
{
    const int32_t n = t->order;
    int16_t reached[EQUINV_GROUP_MAX_ORDER], generators[EQUINV_GROUP_MAX_ORDER];
    const int32_t count = find_generators(t, reached, generators);
    for (int32_t i = 0; i < count; i++)
        for (int32_t x = 0; x < n; x++)
            for (int32_t y = 0; y < n; y++) {
                const int32_t g = generators[i];
                const int32_t left = t->product[t->product[x * n + g] * n + y];
                const int32_t right = t->product[x * n + t->product[g * n + y]];
                EQI_CHECK(left == right, ARG,
                          "table is not associative: (%" PRId32 " %" PRId32 ") %" PRId32
                          " is %" PRId32 " but %" PRId32 " (%" PRId32 " %" PRId32 ") is %" PRId32,
                          x, g, y, left, x, g, y, right);
            }
    return EQUINV_OK;
}

/* Closure, identity, inverses, associativity, in this order; sets the inverses. */
static equinv_status check_axioms(group_table *t, const int32_t *table)
{
    const int32_t n = t->order;
    for (int32_t i = 0; i < n * n; i++) {
        EQI_CHECK(table[i] >= 0 && table[i] < n, ARG,
                  "table is not closed: the product %" PRId32 " %" PRId32 " is %" PRId32
                  ", expected 0 to %" PRId32,
                  i / n, i % n, table[i], n - 1);
        t->product[i] = (int16_t)table[i];
    }
    for (int32_t a = 0; a < n; a++)
        EQI_CHECK(table[a] == a && table[a * n] == a, ARG,
                  "table has no identity at 0: the products 0 %" PRId32 " and %" PRId32
                  " 0 are %" PRId32 " and %" PRId32 ", expected %" PRId32,
                  a, a, table[a], table[a * n], a);
    for (int32_t a = 0; a < n; a++) {
        int32_t b = 0;
        while (b < n && (table[a * n + b] != 0 || table[b * n + a] != 0))
            b++;
        EQI_CHECK(b < n, ARG,
                  "table has no inverse of %" PRId32 ": no b with both products equal to 0", a);
        t->inverse[a] = (int16_t)b;
    }
    return check_associative(t);
}

/* ---- the tables there are --------------------------------------------------------------------- */

/* Adds a checked table or finds its equal, which it then takes the place of. */
static equinv_status put_table(group_table *t, equinv_group *group)
{
    const size_t size = (size_t)t->order * (size_t)t->order * sizeof *t->product;
    int32_t i = 0;
    bool equal = false;
    pthread_mutex_lock(&lock);
    for (; i < EQUINV_GROUP_TABLES; i++) {
        const group_table *const other = atomic_load_explicit(&tables[i], memory_order_relaxed);
        equal = other && other->order == t->order && memcmp(other->product, t->product, size) == 0;
        if (!other || equal)
            break;
    }
    if (i < EQUINV_GROUP_TABLES && !equal)
        atomic_store_explicit(&tables[i], t, memory_order_release);
    pthread_mutex_unlock(&lock);
    if (i == EQUINV_GROUP_TABLES || equal)
        free(t);
    EQI_CHECK(i < EQUINV_GROUP_TABLES, UNSUPPORTED,
              "there are %d groups given by tables already, expected fewer different ones",
              EQUINV_GROUP_TABLES);
    *group = (equinv_group){EQUINV_GROUP_TABLE, i};
    return EQUINV_OK;
}

static equinv_status check_order(int64_t order, const char *of)
{
    EQI_CHECK(order >= 1 && order <= EQUINV_GROUP_MAX_ORDER, UNSUPPORTED,
              "%s has %" PRId64 " elements, expected 1 to %d", of, order, EQUINV_GROUP_MAX_ORDER);
    return EQUINV_OK;
}

equinv_status equinv_group_from_table(int32_t order, const int32_t *table, equinv_group *group)
{
    EQI_CHECK(table, ARG, "table is NULL, expected order x order products");
    EQI_CHECK(group, ARG, "group is NULL, expected where to put the group");
    EQI_TRY(check_order(order, "the group"));
    const size_t n = (size_t)order;
    group_table *const t = malloc(sizeof *t + (n + n * n) * sizeof(int16_t));
    EQI_CHECK(t, NOMEM, "out of memory: a table of %" PRId32 " elements", order);
    t->order = order;
    t->inverse = (int16_t *)(t + 1);
    t->product = t->inverse + n;
    const equinv_status status = check_axioms(t, table);
    if (status == EQUINV_OK)
        return put_table(t, group);
    free(t);
    return status;
}

/* ---- what tables are made of ------------------------------------------------------------------ */

equinv_status equinv_group_direct_product(equinv_group a, equinv_group b, equinv_group *group)
{
    EQI_TRY(eqi_check_finite_group(a, "a"));
    EQI_TRY(eqi_check_finite_group(b, "b"));
    EQI_CHECK(group, ARG, "group is NULL, expected where to put the group");
    const int32_t n = eqi_order(a), m = eqi_order(b), order = n * m;
    EQI_TRY(check_order(order, "the direct product"));
    int32_t *const table = malloc((size_t)order * (size_t)order * sizeof *table);
    EQI_CHECK(table, NOMEM, "out of memory: a table of %" PRId32 " elements", order);
    for (int32_t x = 0; x < order; x++)
        for (int32_t y = 0; y < order; y++)
            table[x * order + y] = eqi_product(a, x / m, y / m) * m + eqi_product(b, x % m, y % m);
    const equinv_status status = equinv_group_from_table(order, table, group);
    free(table);
    return status;
}

/* Permutations that were found so far, [room, degree], with a hash of each. */
typedef struct closure {
    int32_t degree, count;
    int32_t *points; /* one more than the largest order */
    int32_t *right;  /* [element, generator]: their product */
    int32_t parent[EQUINV_GROUP_MAX_ORDER + 1], via[EQUINV_GROUP_MAX_ORDER + 1];
    uint32_t hash[EQUINV_GROUP_MAX_ORDER + 1];
} closure;

/* Number of the permutation that stands behind the last one; it is counted if it is new. */
static int32_t number_of_last(closure *c)
{
    const size_t degree = (size_t)c->degree;
    const int32_t *const last = c->points + (size_t)c->count * degree;
    uint32_t hash = 2166136261u; /* Fowler, Noll, Vo */
    for (size_t x = 0; x < degree; x++)
        hash = (hash ^ (uint32_t)last[x]) * 16777619u;
    for (int32_t i = 0; i < c->count; i++)
        if (c->hash[i] == hash &&
            memcmp(c->points + (size_t)i * degree, last, degree * sizeof *last) == 0)
            return i;
    c->hash[c->count] = hash;
    return c->count++;
}

static equinv_status generate(closure *c, int32_t count, const int32_t *generators)
{
    for (int32_t x = 0; x < c->degree; x++)
        c->points[x] = x;
    number_of_last(c);
    for (int32_t i = 0; i < c->count; i++)
        for (int32_t g = 0; g < count; g++) {
            const int32_t *const a = c->points + (int64_t)i * c->degree;
            const int32_t *const b = generators + (int64_t)g * c->degree;
            int32_t *const last = c->points + (int64_t)c->count * c->degree;
            for (int32_t x = 0; x < c->degree; x++)
                last[x] = a[b[x]];
            const int32_t before = c->count, at = number_of_last(c);
            c->right[i * count + g] = at;
            if (at == before) {
                c->parent[at] = i;
                c->via[at] = g;
            }
            EQI_CHECK(c->count <= EQUINV_GROUP_MAX_ORDER, UNSUPPORTED,
                      "the generated group has more than %d elements", EQUINV_GROUP_MAX_ORDER);
        }
    return EQUINV_OK;
}

static equinv_status check_generators(int32_t degree, int32_t count, const int32_t *generators)
{
    bool seen[EQUINV_GROUP_MAX_DEGREE];
    for (int32_t g = 0; g < count; g++) {
        memset(seen, 0, sizeof seen);
        for (int32_t x = 0; x < degree; x++) {
            const int32_t to = generators[(int64_t)g * degree + x];
            EQI_CHECK(to >= 0 && to < degree && !seen[to], ARG,
                      "generator %" PRId32 " takes %" PRId32 " to %" PRId32
                      ", expected a permutation of 0 to %" PRId32,
                      g, x, to, degree - 1);
            seen[to] = true;
        }
    }
    return EQUINV_OK;
}

equinv_status equinv_group_from_permutations(int32_t degree, int32_t count,
                                             const int32_t *generators, equinv_group *group,
                                             int32_t *elements)
{
    EQI_CHECK(degree >= 1 && degree <= EQUINV_GROUP_MAX_DEGREE, ARG,
              "degree is %" PRId32 ", expected 1 to %d", degree, EQUINV_GROUP_MAX_DEGREE);
    EQI_CHECK(count >= 0 && count <= EQUINV_GROUP_MAX_ORDER, ARG,
              "count is %" PRId32 ", expected 0 to %d generators", count, EQUINV_GROUP_MAX_ORDER);
    EQI_CHECK(generators || count == 0, ARG, "generators is NULL, expected count x degree points");
    EQI_CHECK(group, ARG, "group is NULL, expected where to put the group");
    EQI_TRY(check_generators(degree, count, generators));
    const size_t most = EQUINV_GROUP_MAX_ORDER;
    equinv_status status = EQUINV_OK;
    closure *const c = calloc(1, sizeof *c);
    int32_t *const table = malloc(most * most * sizeof *table);
    if (c) {
        c->points = malloc((most + 2) * (size_t)degree * sizeof *c->points);
        c->right = malloc((most + 1) * (size_t)(count + 1) * sizeof *c->right);
    }
    if (!c || !table || !c->points || !c->right)
        status =
            eqi_fail(EQUINV_ERR_NOMEM, "out of memory: permutations of %" PRId32 " points", degree);
    if (status == EQUINV_OK) {
        c->degree = degree;
        status = generate(c, count, generators);
    }
    if (status == EQUINV_OK) {
        const int32_t n = c->count;
        for (int32_t a = 0; a < n; a++) /* with b = p s:  a b = (a p) s */
            for (int32_t b = 0; b < n; b++)
                table[a * n + b] =
                    b == 0 ? a : c->right[table[a * n + c->parent[b]] * count + c->via[b]];
        status = equinv_group_from_table(n, table, group);
        if (status == EQUINV_OK && elements)
            memcpy(elements, c->points, (size_t)n * (size_t)degree * sizeof *elements);
    }
    if (c) {
        free(c->points);
        free(c->right);
    }
    free(c);
    free(table);
    return status;
}
