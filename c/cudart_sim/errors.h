// Look-up in the list of errors.
#ifndef ERRORS_H
#define ERRORS_H

#include <stdbool.h>

#include "cudart_abi.h"

bool error_is_known(int number);

// False when there is no error of that name, or name is null.
bool error_by_name(const char *name, cudaError_t *error);

#endif
