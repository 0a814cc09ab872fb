/*
 * Making the stand-in fail, for tests: these functions have C names and are exported by
 * libequinv-cuda.so as it is built for the host, where tests find them with dlsym.
 */
#ifndef EQI_CUDA_HOST_FAULTS_H
#define EQI_CUDA_HOST_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EQI_HOST_EXPORT __attribute__((visibility("default")))

/* The next n allocations of device memory succeed and all after them fail; n < 0: none fails. */
EQI_HOST_EXPORT void eqi_host_fail_allocations_after(int64_t n);

/* Bytes of device memory that there are in all; 0: the usual 2 GiB. */
EQI_HOST_EXPORT void eqi_host_set_memory_limit(size_t bytes);

/*
 * The launch after the next `after_launches` fails with this CUDA error. Not sticky: it is refused
 * at once and later calls work. Sticky: it fails when it runs, and so does every later call, as
 * after an illegal address. Error 0 makes everything work again.
 */
EQI_HOST_EXPORT void eqi_host_inject_error(int cuda_error, int after_launches, bool sticky);

/* Kernel launches so far; one recorded in a graph counts once, when it is recorded. */
EQI_HOST_EXPORT int64_t eqi_host_launches(void);

/* Bytes of device memory, and number of streams, events and graphs, that are not released. */
EQI_HOST_EXPORT size_t eqi_host_memory_in_use(void);
EQI_HOST_EXPORT int64_t eqi_host_objects(void);

/* Opens device memory to host code, until false closes it: for kernels that are not the plugin's. */
EQI_HOST_EXPORT void eqi_host_open_memory(bool open);

#ifdef __cplusplus
}
#endif

#endif
