// Access of GPUs to each other's memory. Copies between GPUs without it go through the host.

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "message.h"

enum { PAIRS_BYTE_SIZE_MAX = 256 };

// Pairs of GPUs that have no access to each other because CUDA failed, and the first such failure.
struct failures {
    int pair_count;
    size_t pairs_length;
    char pairs[PAIRS_BYTE_SIZE_MAX]; // as many as there is room for
    int error;
    const char *function;
};

static void add_failure(struct failures *failures, int device, int peer, int error,
                        const char *function)
{
    if (failures->pair_count++ == 0) {
        failures->error = error;
        failures->function = function;
    }
    char pair[32];
    int length = snprintf(pair, sizeof pair, "%s%d to %d", failures->pairs_length == 0 ? "" : ", ",
                          device, peer);
    if (failures->pairs_length + (size_t)length >= sizeof failures->pairs) return;
    memcpy(failures->pairs + failures->pairs_length, pair, (size_t)length + 1);
    failures->pairs_length += (size_t)length;
}

static enum memory_status report(const struct failures *failures)
{
    if (failures->pair_count == 0) return MEMORY_OK;
    return cudart_check(failures->error, failures->function,
                        "let GPUs access each other's memory (%d ways: %s%s); copies between them "
                        "take longer",
                        failures->pair_count, failures->pairs,
                        failures->pairs_length + 32 > sizeof failures->pairs ? " ..." : "");
}

static void enable_between(int device, int peer, struct failures *failures)
{
    int can_access = 0;
    int error = CUDART(cudaDeviceCanAccessPeer(&can_access, device, peer));
    if (error != 0) add_failure(failures, device, peer, error, "cudaDeviceCanAccessPeer");
    if (error != 0 || !can_access) return;
    struct device_scope scope;
    if (device_scope_enter(&scope, device) != MEMORY_OK) return; // which is in the message
    error = CUDART(cudaDeviceEnablePeerAccess(peer, 0));
    if (error == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) {
        cudart_clear_last_error();
    } else if (error != 0) {
        add_failure(failures, device, peer, error, "cudaDeviceEnablePeerAccess");
    }
    (void)device_scope_leave(&scope, MEMORY_OK);
}

enum memory_status peer_access_enable(const double *device_ids, int32_t device_count)
{
    message_clear();
    struct failures failures = {0};
    for (int32_t i = 0; i < device_count && !cuda_is_lost(); i++) {
        for (int32_t j = 0; j < device_count; j++) {
            if (i != j) enable_between((int)device_ids[i], (int)device_ids[j], &failures);
        }
    }
    enum memory_status status = report(&failures);
    bool has_message = memory_message()[0] != '\0';
    return status == MEMORY_OK && has_message ? MEMORY_INTERNAL : status;
}
