// Access of GPUs to each other's memory. Copies between GPUs without it go through the host.

#include "cuda/cudart.h"
#include "message.h"

static enum memory_status enable_between(int device, int peer)
{
    int can_access = 0;
    enum memory_status status = cudart_check(
        cudart.cudaDeviceCanAccessPeer(&can_access, device, peer), "cudaDeviceCanAccessPeer",
        "ask whether GPU %d can access GPU %d", device, peer);
    if (status != MEMORY_OK || !can_access) return status;
    int saved_device;
    status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    int error = cudart.cudaDeviceEnablePeerAccess(peer, 0);
    if (error == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) {
        cudart_clear_last_error();
    } else {
        status = cudart_check(error, "cudaDeviceEnablePeerAccess",
                              "let GPU %d access the memory of GPU %d", device, peer);
    }
    return cudart_leave_device(device, saved_device, status);
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
