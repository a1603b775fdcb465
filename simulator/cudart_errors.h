// The errors of the CUDA runtime that the simulator knows, each with its number, and its name and
// text as cudaGetErrorName and cudaGetErrorString give them. A fault can be injected with any of them
// but cudaSuccess.
#ifndef CUDART_ERRORS_H
#define CUDART_ERRORS_H

#define CUDART_ERRORS(X)                                                                           \
    X(0, cudaSuccess, "no error")                                                                  \
    X(1, cudaErrorInvalidValue, "invalid argument")                                                \
    X(2, cudaErrorMemoryAllocation, "out of memory")                                               \
    X(3, cudaErrorInitializationError, "initialization error")                                     \
    X(4, cudaErrorCudartUnloading, "driver shutting down")                                         \
    X(16, cudaErrorInvalidHostPointer, "invalid host pointer")                                     \
    X(17, cudaErrorInvalidDevicePointer, "invalid device pointer")                                 \
    X(21, cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy")                    \
    X(34, cudaErrorStubLibrary, "CUDA driver is a stub library")                                   \
    X(35, cudaErrorInsufficientDriver,                                                             \
      "CUDA driver version is insufficient for CUDA runtime version")                              \
    X(36, cudaErrorCallRequiresNewerDriver,                                                        \
      "API call is not supported in the installed CUDA driver")                                    \
    X(46, cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable")        \
    X(100, cudaErrorNoDevice, "no CUDA-capable device is detected")                                \
    X(101, cudaErrorInvalidDevice, "invalid device ordinal")                                       \
    X(127, cudaErrorStartupFailure, "startup failure in cuda runtime")                             \
    X(201, cudaErrorDeviceUninitialized, "invalid device context")                                 \
    X(214, cudaErrorECCUncorrectable, "uncorrectable ECC error encountered")                       \
    X(217, cudaErrorPeerAccessUnsupported,                                                         \
      "peer access is not supported between these two devices")                                    \
    X(220, cudaErrorNvlinkUncorrectable,                                                           \
      "uncorrectable NVLink error detected during the execution")                                  \
    X(304, cudaErrorOperatingSystem, "OS call failed or operation not supported on this OS")       \
    X(400, cudaErrorInvalidResourceHandle, "invalid resource handle")                              \
    X(401, cudaErrorIllegalState, "the operation cannot be performed in the present state")        \
    X(500, cudaErrorSymbolNotFound, "named symbol not found")                                      \
    X(600, cudaErrorNotReady, "device not ready")                                                  \
    X(700, cudaErrorIllegalAddress, "an illegal memory access was encountered")                    \
    X(702, cudaErrorLaunchTimeout, "the launch timed out and was terminated")                      \
    X(704, cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled")                    \
    X(705, cudaErrorPeerAccessNotEnabled, "peer access has not been enabled")                      \
    X(708, cudaErrorSetOnActiveProcess, "cannot set while device is active in this process")       \
    X(709, cudaErrorContextIsDestroyed, "context is destroyed")                                    \
    X(710, cudaErrorAssert, "device-side assert triggered")                                        \
    X(712, cudaErrorHostMemoryAlreadyRegistered,                                                   \
      "part or all of the requested memory range is already mapped")                               \
    X(713, cudaErrorHostMemoryNotRegistered,                                                       \
      "pointer does not correspond to a registered memory region")                                 \
    X(714, cudaErrorHardwareStackError, "hardware stack error")                                    \
    X(715, cudaErrorIllegalInstruction, "an illegal instruction was encountered")                  \
    X(716, cudaErrorMisalignedAddress, "misaligned address")                                       \
    X(719, cudaErrorLaunchFailure, "unspecified launch failure")                                   \
    X(800, cudaErrorNotPermitted, "operation not permitted")                                       \
    X(801, cudaErrorNotSupported, "operation not supported")                                       \
    X(802, cudaErrorSystemNotReady, "system not yet initialized")                                  \
    X(803, cudaErrorSystemDriverMismatch,                                                          \
      "system has unsupported display driver / cuda driver combination")                           \
    X(804, cudaErrorCompatNotSupportedOnDevice,                                                    \
      "forward compatibility was attempted on non supported HW")                                   \
    X(999, cudaErrorUnknown, "unknown error")

#endif
