// This file must not compile with CUDA's header, which has no such function.
#include "api/entry_point.h"

ENTRY_POINT(cudaNoSuchFunction, WORKS_ON_DEVICE, (void), ())
{
    return cudaSuccess;
}
