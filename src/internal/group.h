/* Unchecked group arithmetic and the action on pixels, for code behind the argument checks. */
#ifndef EQI_GROUP_H
#define EQI_GROUP_H

#include "portable.h"
#include "tensor.h"

/* C_n, D_n or a table, with n in range (`name` is the argument); S is UNSUPPORTED. */
equinv_status eqi_check_finite_group(equinv_group group, const char *name);

/* UNSUPPORTED for a group given by a table on a device that has none. */
equinv_status eqi_check_group_of_device(const equinv_context *ctx, equinv_group group);

/* C1, C2, C4, D1, D2 or D4: every element maps the pixel grid onto itself. */
bool eqi_is_grid_group(equinv_group group);

/*
 * Whether the group acts on height x width latents with their pixels: grid groups, square images for
 * quarter turns; any group where there is one pixel. SHAPE with a sentence otherwise.
 */
equinv_status eqi_check_joint_action(equinv_group group, int64_t height, int64_t width);

/* Groups that are given by a table; what the CUDA plugin, which is C++, does not get to see. */
bool eqi_table_exists(equinv_group group);
int32_t eqi_table_order(equinv_group group);
int32_t eqi_table_product(equinv_group group, int32_t a, int32_t b);
int32_t eqi_table_inverse(equinv_group group, int32_t a);
#ifdef __cplusplus
#define EQI_IF_TABLE(group, value)
#else
#define EQI_IF_TABLE(group, value)                                                                 \
    if ((group).kind == EQUINV_GROUP_TABLE)                                                        \
        return value;
#endif

EQI_INLINE int32_t eqi_order(equinv_group group)
{
    EQI_IF_TABLE(group, eqi_table_order(group))
    return group.kind == EQUINV_GROUP_DIHEDRAL ? 2 * group.n : group.n;
}

/* (s, k)(t, l) = (s + t mod 2, k + (-1)^s l mod n), index s n + k. */
EQI_INLINE int32_t eqi_product(equinv_group group, int32_t a, int32_t b)
{
    EQI_IF_TABLE(group, eqi_table_product(group, a, b))
    const int32_t n = group.n, s = a / n, t = b / n;
    const int32_t k = a % n, l = b % n;
    return (s ^ t) * n + (s ? k - l + n : k + l) % n;
}

EQI_INLINE int32_t eqi_inverse(equinv_group group, int32_t a)
{
    EQI_IF_TABLE(group, eqi_table_inverse(group, a))
    return a >= group.n ? a : (group.n - a) % group.n;
}

/* An element on the grid as arrays see it: reverse columns if `mirror`, then rot90 `turns` times. */
typedef struct eqi_motion {
    bool mirror;
    int32_t turns;
} eqi_motion;

EQI_INLINE bool eqi_on_grid(equinv_group group, int32_t element)
{
    EQI_IF_TABLE(group, element == 0)
    return element % group.n * 4 % group.n == 0;
}

EQI_INLINE eqi_motion eqi_motion_of(equinv_group group, int32_t element)
{
    EQI_IF_TABLE(group, ((eqi_motion){false, 0}))
    return (eqi_motion){element >= group.n, element % group.n * 4 / group.n};
}

typedef struct eqi_pixel {
    int64_t y, x;
} eqi_pixel;

/* Where pixel (y, x) of a height x width image goes under a motion. */
EQI_INLINE eqi_pixel eqi_move(eqi_motion motion, int64_t y, int64_t x, int64_t height,
                              int64_t width)
{
    if (motion.mirror)
        x = width - 1 - x;
    switch (motion.turns) {
    case 1: return (eqi_pixel){width - 1 - x, y};
    case 2: return (eqi_pixel){height - 1 - y, width - 1 - x};
    case 3: return (eqi_pixel){x, height - 1 - y};
    default: return (eqi_pixel){y, x};
    }
}

/* Where g takes (a, y, x) of a regular field [G, H, W], as a row-major index. Off the grid: one pixel. */
EQI_INLINE int64_t eqi_place(equinv_group group, int32_t g, int64_t a, int64_t y, int64_t x,
                             int64_t height, int64_t width)
{
    const eqi_pixel q = height * width > 1 ? eqi_move(eqi_motion_of(group, g), y, x, height, width)
                                           : (eqi_pixel){0, 0};
    return (eqi_product(group, g, (int32_t)a) * height + q.y) * width + q.x;
}

#endif
