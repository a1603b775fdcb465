// Faults: calls and operations that are to fail, each by its number. Every function here may be
// called from any thread.
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cudart_abi.h"

// What can be made to fail: the calls of a function, or the operations that async_transfers stands
// for. It counts them; all zero is one that has counted nothing.
struct fault_site {
    _Atomic uint64_t hit_count;
};

// The copies and memsets that are queued by the functions whose names end in Async. They fail when
// they run.
extern struct fault_site async_transfers;

// Counts a call or an operation, and gives the error that it is to fail with, or cudaSuccess.
cudaError_t fault_site_hit(struct fault_site *site);

// Makes the nth call or operation from now fail with the error; nth is 1 for the next. A second
// fault for the same one replaces the first. False when there is no memory to note it.
bool fault_add(struct fault_site *site, uint64_t nth, cudaError_t error);

// Forgets all faults that have not happened yet.
void faults_clear(void);

#endif
