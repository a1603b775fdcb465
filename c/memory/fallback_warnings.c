#include "memory/fallback_warnings.h"

_Atomic uint8_t fallback_warned[FALLBACK_ACCOUNT_MAX + 1][FALLBACK_NO_GPU + 1][FALLBACK_KIND_COUNT];

void fallback_forget_account(uint32_t account)
{
    for (int device = 0; device <= FALLBACK_NO_GPU; device++) {
        for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++) {
            // To write to what is 0 would take memory.
            if (fallback_warned[account][device][kind] != 0) {
                fallback_warned[account][device][kind] = 0;
            }
        }
    }
}
