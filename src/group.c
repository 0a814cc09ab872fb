#include "internal/backend.h"
#include "internal/group.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

equinv_group equinv_cyclic(int32_t n)
{
    return (equinv_group){EQUINV_GROUP_CYCLIC, n};
}

equinv_group equinv_dihedral(int32_t n)
{
    return (equinv_group){EQUINV_GROUP_DIHEDRAL, n};
}

equinv_group equinv_symmetric(void)
{
    return (equinv_group){EQUINV_GROUP_SYMMETRIC, 0};
}

static equinv_status check_group(equinv_group group, const char *name)
{
    if (group.kind == EQUINV_GROUP_SYMMETRIC) {
        EQI_CHECK(group.n == 0, ARG, "%s is S with n = %" PRId32 ", expected n = 0", name, group.n);
        return EQUINV_OK;
    }
    if (group.kind == EQUINV_GROUP_TABLE) {
        EQI_CHECK(eqi_table_exists(group), ARG,
                  "%s is T%" PRId32 ", which no call has made, expected one that "
                  "equinv_group_from_table or its like gave",
                  name, group.n);
        return EQUINV_OK;
    }
    EQI_CHECK(group.kind == EQUINV_GROUP_CYCLIC || group.kind == EQUINV_GROUP_DIHEDRAL, ARG,
              "%s has kind %d, expected cyclic, dihedral, symmetric or table", name,
              (int)group.kind);
    EQI_CHECK(group.n >= 1 && group.n <= EQUINV_GROUP_MAX_N, ARG,
              "%s is %c%" PRId32 ", expected n from 1 to %d", name,
              group.kind == EQUINV_GROUP_CYCLIC ? 'C' : 'D', group.n, EQUINV_GROUP_MAX_N);
    return EQUINV_OK;
}

equinv_status eqi_check_finite_group(equinv_group group, const char *name)
{
    EQI_TRY(check_group(group, name));
    EQI_CHECK(group.kind != EQUINV_GROUP_SYMMETRIC, UNSUPPORTED,
              "%s is S, whose elements are not enumerated; expected C_n or D_n", name);
    return EQUINV_OK;
}

equinv_status eqi_check_group_of_device(const equinv_context *ctx, equinv_group group)
{
    EQI_CHECK(group.kind != EQUINV_GROUP_TABLE || !ctx->backend->device, UNSUPPORTED,
              "group is given by a table, which the %s backend does not have; expected C_n, D_n or "
              "a CPU context",
              ctx->backend->name);
    return EQUINV_OK;
}

/* Tables have elements and products, nothing else. */
static equinv_status check_turns(equinv_group group)
{
    EQI_TRY(eqi_check_finite_group(group, "group"));
    EQI_CHECK(group.kind != EQUINV_GROUP_TABLE, UNSUPPORTED,
              "group is given by a table, expected C_n or D_n");
    return EQUINV_OK;
}

static equinv_status check_element(equinv_group group, int32_t element, const char *name)
{
    EQI_TRY(eqi_check_finite_group(group, "group"));
    EQI_CHECK(element >= 0 && element < eqi_order(group), ARG,
              "%s is %" PRId32 ", expected 0 to %" PRId32, name, element, eqi_order(group) - 1);
    return EQUINV_OK;
}

bool eqi_is_grid_group(equinv_group group)
{
    return group.kind != EQUINV_GROUP_SYMMETRIC && group.kind != EQUINV_GROUP_TABLE &&
           (group.n == 1 || group.n == 2 || group.n == 4);
}

equinv_status eqi_check_joint_action(equinv_group group, int64_t height, int64_t width)
{
    if (height * width <= 1)
        return EQUINV_OK;
    char name[8];
    EQI_TRY(equinv_group_name(group, name, sizeof name));
    EQI_CHECK(
        eqi_is_grid_group(group), SHAPE,
        "%s acts on %" PRId64 " x %" PRId64
        " pixels by interpolation only, expected height = width = 1 or a group among C1 C2 C4 "
        "D1 D2 D4",
        name, height, width);
    EQI_CHECK(group.n != 4 || height == width, SHAPE,
              "%s turns %" PRId64 " x %" PRId64 " pixels by 90 degrees, expected height = width",
              name, height, width);
    return EQUINV_OK;
}

equinv_status equinv_group_parse(const char *name, equinv_group *group)
{
    EQI_CHECK(name && group, ARG, "name or group is NULL, expected both");
    if (strcmp(name, "S") == 0) {
        *group = equinv_symmetric();
        return EQUINV_OK;
    }
    const char *const times = strchr(name, 'x');
    if (times) {
        char left[16];
        equinv_group a, b;
        EQI_CHECK((size_t)(times - name) < sizeof left, ARG,
                  "group \"%.32s\" is unknown, expected a product as \"C4xC2\"", name);
        eqi_format(left, sizeof left, "%.*s", (int)(times - name), name);
        EQI_TRY(equinv_group_parse(left, &a));
        EQI_TRY(equinv_group_parse(times + 1, &b));
        return equinv_group_direct_product(a, b, group);
    }
    const char letter = name[0];
    int32_t n = 0;
    size_t digits = strlen(name) < 1 ? 0 : strspn(name + 1, "0123456789");
    bool good = (letter == 'C' || letter == 'D') && digits >= 1 && digits <= 4 && name[1] != '0' &&
                name[1 + digits] == '\0';
    if (good)
        n = (int32_t)strtol(name + 1, NULL, 10);
    EQI_CHECK(good && n <= EQUINV_GROUP_MAX_N, ARG,
              "group \"%.32s\" is unknown, expected C1 .. C%d, D1 .. D%d or S", name,
              EQUINV_GROUP_MAX_N, EQUINV_GROUP_MAX_N);
    *group = letter == 'C' ? equinv_cyclic(n) : equinv_dihedral(n);
    return EQUINV_OK;
}

equinv_status equinv_group_name(equinv_group group, char *name, size_t size)
{
    EQI_CHECK(name, ARG, "name is NULL, expected where to put the text");
    EQI_TRY(check_group(group, "group"));
    char text[8] = "S";
    if (group.kind != EQUINV_GROUP_SYMMETRIC)
        eqi_format(text, sizeof text, "%c%" PRId32, "CDST"[group.kind - EQUINV_GROUP_CYCLIC],
                   group.n);
    EQI_CHECK(strlen(text) < size, SHAPE, "size is %zu, expected at least %zu", size,
              strlen(text) + 1);
    strcpy(name, text);
    return EQUINV_OK;
}

equinv_status equinv_group_order(equinv_group group, int32_t *order)
{
    EQI_CHECK(order, ARG, "order is NULL, expected where to put the number");
    EQI_TRY(eqi_check_finite_group(group, "group"));
    *order = eqi_order(group);
    return EQUINV_OK;
}

equinv_status equinv_group_product(equinv_group group, int32_t a, int32_t b, int32_t *c)
{
    EQI_CHECK(c, ARG, "c is NULL, expected where to put the element");
    EQI_TRY(check_element(group, a, "a"));
    EQI_TRY(check_element(group, b, "b"));
    *c = eqi_product(group, a, b);
    return EQUINV_OK;
}

equinv_status equinv_group_inverse(equinv_group group, int32_t a, int32_t *b)
{
    EQI_CHECK(b, ARG, "b is NULL, expected where to put the element");
    EQI_TRY(check_element(group, a, "a"));
    *b = eqi_inverse(group, a);
    return EQUINV_OK;
}

/* The smallest element of a class, in closed form: C_n is abelian; in D_n r^k ~ r^-k and r^k f ~
 * r^(k + 2 l) f. */
static int32_t class_representative(equinv_group group, int32_t element)
{
    if (group.kind == EQUINV_GROUP_TABLE) {
        int32_t least = element;
        for (int32_t x = 0; x < eqi_order(group); x++) {
            const int32_t other =
                eqi_product(group, eqi_product(group, x, element), eqi_inverse(group, x));
            least = other < least ? other : least;
        }
        return least;
    }
    const int32_t n = group.n, k = element % n;
    if (group.kind == EQUINV_GROUP_CYCLIC)
        return element;
    if (element < n)
        return k < (n - k) % n ? k : (n - k) % n;
    return n + (n % 2 ? 0 : k % 2);
}

equinv_status equinv_group_classes(equinv_group group, int32_t *count, int32_t *class_of)
{
    EQI_CHECK(count, ARG, "count is NULL, expected where to put the number");
    EQI_TRY(eqi_check_finite_group(group, "group"));
    int32_t number[2 * EQUINV_GROUP_MAX_N], classes = 0;
    for (int32_t g = 0; g < eqi_order(group); g++) {
        const int32_t representative = class_representative(group, g);
        number[g] = representative == g ? classes++ : number[representative];
        if (class_of)
            class_of[g] = number[g];
    }
    *count = classes;
    return EQUINV_OK;
}

/* cos and sin of 2 pi k / n, exact at the quarter turns. */
static void turn(int64_t k, int64_t n, double *c, double *s)
{
    k = ((k % n) + n) % n;
    const int64_t quarter = 4 * k / n,
                  rest = 4 * k - quarter * n; /* angle = quarter pi/2 + rest pi/(2 n) */
    const double angle = 1.57079632679489661923 * (double)rest / (double)n;
    const double c0 = rest ? cos(angle) : 1, s0 = rest ? sin(angle) : 0;
    const double cs[4] = {c0, -s0, -c0, s0}, ss[4] = {s0, c0, -s0, -c0};
    *c = cs[quarter];
    *s = ss[quarter];
}

equinv_status equinv_group_plane(equinv_group group, int32_t element, double matrix[4])
{
    EQI_CHECK(matrix, ARG, "matrix is NULL, expected room for 4 numbers");
    EQI_TRY(check_turns(group));
    EQI_TRY(check_element(group, element, "element"));
    double c, s;
    turn(element % group.n, group.n, &c, &s);
    const double f = element >= group.n ? -1 : 1; /* f = diag(-1, 1) acts first */
    matrix[0] = f * c, matrix[1] = -s;
    matrix[2] = f * s, matrix[3] = c;
    return EQUINV_OK;
}

equinv_status equinv_group_on_grid(equinv_group group, int32_t element, bool *on_grid)
{
    EQI_CHECK(on_grid, ARG, "on_grid is NULL, expected where to put the answer");
    EQI_TRY(check_element(group, element, "element"));
    *on_grid = eqi_on_grid(group, element);
    return EQUINV_OK;
}

/*
 * Irreps (s, j). C_n: (0, j) for j = 0 .. n/2. D_n: (0, 0), (1, 0), (1, 1) .. (1, (n-1)/2), and for
 * even n (1, n/2), (0, n/2). D_1 has (0, 0), (1, 0).
 */
static int32_t irrep_count(equinv_group group)
{
    const int32_t n = group.n;
    if (group.kind == EQUINV_GROUP_CYCLIC)
        return n / 2 + 1;
    return 2 + (n - 1) / 2 + (n % 2 ? 0 : 2);
}

equinv_status equinv_group_irrep_count(equinv_group group, int32_t *count)
{
    EQI_CHECK(count, ARG, "count is NULL, expected where to put the number");
    EQI_TRY(check_turns(group));
    *count = irrep_count(group);
    return EQUINV_OK;
}

equinv_status equinv_group_irrep(equinv_group group, int32_t irrep, int32_t element,
                                 int32_t *dimension, double matrix[4])
{
    EQI_CHECK(dimension && matrix, ARG, "dimension or matrix is NULL, expected both");
    EQI_TRY(check_turns(group));
    EQI_TRY(check_element(group, element, "element"));
    EQI_CHECK(irrep >= 0 && irrep < irrep_count(group), ARG,
              "irrep is %" PRId32 ", expected 0 to %" PRId32, irrep, irrep_count(group) - 1);
    const int32_t n = group.n, k = element % n;
    const bool dihedral = group.kind == EQUINV_GROUP_DIHEDRAL, mirrored = element >= n;
    const bool last = dihedral && n % 2 == 0 && irrep == irrep_count(group) - 1; /* (0, n/2) */
    const int32_t j = !dihedral ? irrep : last ? n / 2 : irrep > 0 ? irrep - 1 : 0;
    const bool sign = dihedral && irrep > 0 && !last; /* s of (s, j) */
    double c, s;
    turn((int64_t)k * j, n, &c, &s);
    if (j == 0 || 2 * j == n) {
        *dimension = 1;
        matrix[0] = mirrored && sign ? -c : c;
        return EQUINV_OK;
    }
    const double f = mirrored ? -1 : 1; /* rho_j(f) = diag(1, -1) acts first */
    *dimension = 2;
    matrix[0] = c, matrix[1] = -f * s;
    matrix[2] = s, matrix[3] = f * c;
    return EQUINV_OK;
}
