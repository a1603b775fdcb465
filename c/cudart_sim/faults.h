// Counts of calls, and the calls that are to fail.
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cudart_abi.h"
#include "functions.h"

// Counts a call of the function, and gives the error that this call is to fail with, or
// cudaSuccess.
cudaError_t faults_count_call(enum function function);

uint64_t faults_call_count(enum function function);

// Makes the nth call from now fail; nth is 1 for the next. False when there is no memory.
bool faults_add(enum function function, uint64_t nth, cudaError_t error);

void faults_clear(void);

#endif
