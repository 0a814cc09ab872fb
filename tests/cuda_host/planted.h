/* Faults planted on purpose, and the same programs without them; each runs in a process of its own. */
#ifndef EQI_CUDA_HOST_PLANTED_H
#define EQI_CUDA_HOST_PLANTED_H

struct Planted {
    const char *name;
    int (*run)(void); /* 0: nothing was noticed */
    const char *says; /* in the line on stderr; nullptr: must pass, without a line */
    const char *kernel;
};

extern const Planted planted[];
extern const int planted_count;

#endif
