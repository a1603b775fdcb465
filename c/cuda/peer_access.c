// Access of GPUs to each other's memory. Copies between GPUs without it go through the host.

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "message.h"

static enum memory_status enable_between(int device, int peer)
{
    int can_access = 0;
    enum memory_status status = cudart_check(
        CUDART(cudaDeviceCanAccessPeer(&can_access, device, peer)), "cudaDeviceCanAccessPeer",
        "ask whether GPU %d can access GPU %d", device, peer);
    if (status != MEMORY_OK || !can_access) return status;
    struct device_scope scope;
    status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    int error = CUDART(cudaDeviceEnablePeerAccess(peer, 0));
    if (error == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) {
        cudart_clear_last_error();
    } else {
        status = cudart_check(error, "cudaDeviceEnablePeerAccess",
                              "let GPU %d access the memory of GPU %d", device, peer);
    }
    return device_scope_leave(&scope, status);
}

enum memory_status peer_access_enable(const double *device_ids, int32_t device_count)
{
    message_clear();
    enum memory_status status = MEMORY_OK;
    for (int32_t i = 0; i < device_count; i++) {
        for (int32_t j = 0; j < device_count; j++) {
            if (i == j) continue;
            enum memory_status enabled = enable_between((int)device_ids[i], (int)device_ids[j]);
            if (enabled != MEMORY_OK) status = enabled;
        }
    }
    return status;
}
