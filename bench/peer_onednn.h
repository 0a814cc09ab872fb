/* What the files of the oneDNN peer share. */
#ifndef BENCH_PEER_ONEDNN_H
#define BENCH_PEER_ONEDNN_H

#include <dnnl.h>

#include "bench/peer.h"

/* One of each for the life of the program, made by onednn_start. */
extern dnnl_engine_t onednn_engine;
extern dnnl_stream_t onednn_stream;
equinv_status onednn_start(void);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const dnnl_status_t result_ = (call);                                                      \
        if (result_ != dnnl_success)                                                               \
            return peer_failed("oneDNN: status %d from %s", (int)result_, #call);                  \
    } while (0)

/* Runners of a whole network (peer_onednn_net.c). */
const bench_runner *onednn_net_direct(const bench_case *c);
const bench_runner *onednn_net_auto(const bench_case *c);

#endif
