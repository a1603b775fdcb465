// The test compiles this file twice, with the simulator's cudart_abi.h and with CUDA's header as
// CUDART_HEADER. If all of it holds for both headers, they agree.
#include <stddef.h>

#include CUDART_HEADER

_Static_assert(sizeof(cudaError_t) == 4, "cudaError_t");
_Static_assert(sizeof(enum cudaDeviceAttr) == 4, "cudaDeviceAttr");
_Static_assert(sizeof(enum cudaMemcpyKind) == 4, "cudaMemcpyKind");
_Static_assert(sizeof(enum cudaMemoryType) == 4, "cudaMemoryType");
_Static_assert(sizeof(cudaStream_t) == sizeof(void *), "cudaStream_t");
_Static_assert(sizeof(cudaEvent_t) == sizeof(void *), "cudaEvent_t");
_Static_assert(sizeof(cudaHostFn_t) == sizeof(void *), "cudaHostFn_t");

_Static_assert(sizeof(struct cudaPointerAttributes) == 88, "cudaPointerAttributes");
_Static_assert(offsetof(struct cudaPointerAttributes, type) == 0, "type");
_Static_assert(offsetof(struct cudaPointerAttributes, device) == 4, "device");
_Static_assert(offsetof(struct cudaPointerAttributes, devicePointer) == 8, "devicePointer");
_Static_assert(offsetof(struct cudaPointerAttributes, hostPointer) == 16, "hostPointer");
_Static_assert(offsetof(struct cudaPointerAttributes, reserved) == 24, "reserved");

_Static_assert(cudaStreamDefault == 0 && cudaStreamNonBlocking == 1, "stream flags");
_Static_assert(cudaEventDefault == 0 && cudaEventBlockingSync == 1, "event flags");
_Static_assert(cudaEventDisableTiming == 2 && cudaEventInterprocess == 4, "event flags");
_Static_assert(cudaEventWaitDefault == 0 && cudaEventWaitExternal == 1, "waiting flags");
_Static_assert((size_t)cudaStreamLegacy == 1, "cudaStreamLegacy");
_Static_assert((size_t)cudaStreamPerThread == 2, "cudaStreamPerThread");
