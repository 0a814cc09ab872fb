#include "sample.h"

#include "internal/rows.h"

/* Samples in other layouts are copied if they have no more bytes than this. */
#define STAGED_MOST ((size_t)4 << 20)

eqi_node_source eqi_node_source_of(const equinv_tensor *view, const equinv_tensor *mask, bool pairs,
                                   bool symmetric)
{
    return (eqi_node_source){view, mask, pairs, symmetric,
                             view->shape[1] > 1 && view->strides[1] != 1};
}

/* 0: there is none. */
static size_t stage_size(int64_t nodes, bool pairs, int64_t channels)
{
    const double size = (double)nodes * (double)(pairs ? nodes : 1) * (double)channels;
    return size * (double)sizeof(float) <= (double)STAGED_MOST ? (size_t)size * sizeof(float) : 0;
}

bool eqi_node_may_stage(const eqi_node_source *source)
{
    return !source->staged ||
           stage_size(source->view->shape[2], source->pairs, source->view->shape[1]) > 0;
}

size_t eqi_node_room_size(int64_t nodes, bool pairs, int64_t channels)
{
    return eqi_aligned(stage_size(nodes, pairs, channels)) +
           3 * eqi_aligned((size_t)nodes * sizeof(int64_t));
}

eqi_node_room eqi_node_room_at(int64_t nodes, bool pairs, int64_t channels, char **slice)
{
    eqi_node_room r;
    r.stage = eqi_take(slice, stage_size(nodes, pairs, channels));
    r.node = eqi_take(slice, (size_t)nodes * sizeof(int64_t));
    r.row = eqi_take(slice, (size_t)nodes * sizeof(int64_t));
    r.column = eqi_take(slice, (size_t)nodes * sizeof(int64_t));
    return r;
}

typedef enum direction { IN, OUT, ADD } direction;

/* Between a staged tensor and the stage. */
static void copy_sample(const eqi_node_source *t, int64_t b, const eqi_node_map *map,
                        const eqi_node_room *r, direction way)
{
    const int64_t *const s = t->view->strides, columns = map->pairs ? map->there : 1;
    float *const data = (float *)t->view->data + b * s[0];
    for (int64_t i = 0; i < map->there; i++)
        for (int64_t j = 0; j < columns; j++) {
            float *const inside = map->data + map->row[i] + map->column[j];
            float *const outside = data + r->node[i] * s[2] + (map->pairs ? r->node[j] * s[3] : 0);
            for (int64_t c = 0; c < map->channels; c++)
                if (way == IN)
                    inside[c] = outside[c * s[1]];
                else
                    outside[c * s[1]] = (way == ADD ? outside[c * s[1]] : 0) + inside[c];
        }
}

/* Which of n nodes, written down without a branch for each; how many. */
static int64_t nodes_there(const equinv_tensor *mask, int64_t b, int64_t n, int64_t *node)
{
    int64_t there = 0;
    if (mask && mask->dtype == EQUINV_U8) {
        const uint8_t *const row = (const uint8_t *)mask->data + b * mask->strides[0];
        for (int64_t i = 0, at = 0; i < n; i++, at += mask->strides[1]) {
            node[there] = i;
            there += row[at] != 0;
        }
        return there;
    }
    for (int64_t i = 0; i < n; i++) {
        node[there] = i;
        there += eqi_node_is_there(mask, b, i);
    }
    return there;
}

eqi_node_map eqi_node_open(const eqi_node_source *t, int64_t b, const eqi_node_room *r, bool input)
{
    const equinv_tensor *const view = t->view;
    eqi_node_map map = {(float *)view->data + b * view->strides[0],
                        r->row,
                        r->column,
                        0,
                        view->shape[1],
                        t->pairs,
                        t->symmetric};
    map.there = nodes_there(t->mask, b, view->shape[2], r->node);
    const int64_t line = (map.pairs ? map.there : 1) * map.channels;
    for (int64_t i = 0; i < map.there; i++) {
        r->row[i] = t->staged ? i * line : r->node[i] * view->strides[2];
        r->column[i] = t->staged ? i * map.channels : r->node[i] * view->strides[3];
    }
    if (!map.pairs)
        r->column[0] = 0; /* the one there is */
    if (t->staged) {
        map.data = r->stage;
        if (input)
            copy_sample(t, b, &map, r, IN);
    }
    return map;
}

/* Zeros to the channels of `count` places that follow one another by `stride`. */
static void clear_places(const equinv_tensor *view, float *to, int64_t count, int64_t stride)
{
    const int64_t channels = view->shape[1], step = view->strides[1];
    for (int64_t k = 0; k < count; k++, to += stride)
        if (step == 1)
            for (int64_t c = 0; c < channels; c++)
                to[c] = 0;
        else
            for (int64_t c = 0; c < channels; c++)
                to[c * step] = 0;
}

void eqi_node_close(const eqi_node_source *t, int64_t b, const eqi_node_map *map,
                    const eqi_node_room *r, bool accumulate)
{
    const equinv_tensor *const view = t->view;
    if (t->staged)
        copy_sample(t, b, map, r, accumulate ? ADD : OUT);
    if (accumulate || map->there == view->shape[2])
        return;
    for (int64_t i = 0; i < view->shape[2]; i++) {
        float *const row = (float *)view->data + eqi_node_offset(view, b, 0, i, 0);
        const bool there = eqi_node_is_there(t->mask, b, i);
        if (!there)
            clear_places(view, row, view->shape[3], view->strides[3]);
        for (int64_t j = 0; there && map->pairs && j < view->shape[3]; j++)
            if (!eqi_node_is_there(t->mask, b, j))
                clear_places(view, row + j * view->strides[3], 1, 0);
    }
}
