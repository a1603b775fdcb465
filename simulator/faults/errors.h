// Look-up in the list of errors.
#ifndef ERRORS_H
#define ERRORS_H

#include <stdbool.h>

#include "cudart_abi.h"

bool error_is_known(int number);

// The name and the text of an error, or what CUDA says of one that it does not know.
const char *error_name(cudaError_t error);
const char *error_text(cudaError_t error);

// Whether CUDA documents of the error that the process is in an inconsistent state afterwards, or
// that the device cannot be used again.
bool error_is_fatal(cudaError_t error);

// False when there is no error of that name, or name is null.
bool error_by_name(const char *name, cudaError_t *error);

#endif
