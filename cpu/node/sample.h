/* Samples of node tensors as the vector kernels want them. */
#ifndef EQI_NODE_SAMPLE_H
#define EQI_NODE_SAMPLE_H

#include "internal/node.h"
#include "kernels.h"

/* A tensor of a call; staged: its channels are apart, so that samples are copied. */
typedef struct eqi_node_source {
    const equinv_tensor *view, *mask;
    bool pairs, symmetric, staged;
} eqi_node_source;

eqi_node_source eqi_node_source_of(const equinv_tensor *view, const equinv_tensor *mask, bool pairs,
                                   bool symmetric);

/* Whether there is room for copies of its samples, if it needs any. */
bool eqi_node_may_stage(const eqi_node_source *source);

/* What a runner has for one tensor. */
typedef struct eqi_node_room {
    float *stage;
    int64_t *node, *row, *column;
} eqi_node_room;

size_t eqi_node_room_size(int64_t nodes, bool pairs, int64_t channels);
eqi_node_room eqi_node_room_at(int64_t nodes, bool pairs, int64_t channels, char **slice);

/* Sample b; of an input what is there is copied if it has to be. Valid until the room is used again. */
eqi_node_map eqi_node_open(const eqi_node_source *t, int64_t b, const eqi_node_room *r, bool input);

/* Copies an output out, and makes it 0 where nodes are absent unless it is added to. */
void eqi_node_close(const eqi_node_source *t, int64_t b, const eqi_node_map *map,
                    const eqi_node_room *r, bool accumulate);

#endif
