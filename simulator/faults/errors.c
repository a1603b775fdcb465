#include "faults/errors.h"

#include <string.h>

#include "cudart_errors.h"

struct error_entry {
    int number;
    const char *name;
    const char *text;
};

static const struct error_entry errors[] = {
#define ROW(number, name, text) {number, #name, text},
    CUDART_ERRORS(ROW)
#undef ROW
};

static const struct error_entry unrecognized = {-1, "unrecognized error code",
                                                "unrecognized error code"};

static const struct error_entry *find_number(int number)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].number == number) return &errors[i];
    }
    return &unrecognized;
}

bool error_is_known(int number)
{
    return find_number(number) != &unrecognized;
}

bool error_is_sticky(cudaError_t error)
{
    switch ((int)error) {
    case cudaErrorECCUncorrectable: // not documented as the others, and as final
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
        return true;
    default:
        return false;
    }
}

bool error_by_name(const char *name, cudaError_t *error)
{
    for (size_t i = 0; name != NULL && i < sizeof errors / sizeof *errors; i++) {
        if (strcmp(errors[i].name, name) == 0) {
            *error = (cudaError_t)errors[i].number;
            return true;
        }
    }
    return false;
}

const char *error_name(cudaError_t error)
{
    return find_number((int)error)->name;
}

const char *error_text(cudaError_t error)
{
    return find_number((int)error)->text;
}
