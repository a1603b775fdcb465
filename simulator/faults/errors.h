// The errors of cudart_errors.h, found by number and by name.
#ifndef ERRORS_H
#define ERRORS_H

#include <stdbool.h>

#include "cudart_abi.h"

bool error_is_known(int number);

// The name and the text of an error, or what CUDA says of an error that it does not know.
const char *error_name(cudaError_t error);
const char *error_text(cudaError_t error);

// Whether the error is sticky, as CUDA's users call it: CUDA documents that the process must be
// terminated and relaunched, because all its further CUDA work fails with that error.
bool error_is_sticky(cudaError_t error);

// False when no error has that name, or the name is null.
bool error_by_name(const char *name, cudaError_t *error);

#endif
