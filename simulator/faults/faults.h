// Counts of calls and operations, and those that are to fail.
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cudart_abi.h"
#include "faults/functions.h"

// A site is where something can be made to fail: a function, when it is called, or this one.
enum {
    // A copy or memset that one of the functions that end in Async queues. It fails when it runs.
    SITE_OPERATION = FUNCTION_COUNT,
    SITE_COUNT,
};

// Counts a call, or an operation, and gives the error that it is to fail with, or cudaSuccess.
cudaError_t faults_count(int site);

uint64_t faults_count_of(int site);

// Makes the nth of the site from now fail; nth is 1 for the next. False when there is no memory.
bool faults_add(int site, uint64_t nth, cudaError_t error);

void faults_clear(void);

#endif
