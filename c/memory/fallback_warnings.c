#include "memory/fallback_warnings.h"

_Atomic uint8_t fallback_warned[FALLBACK_ACCOUNT_MAX + 1][FALLBACK_NO_GPU + 1][FALLBACK_KIND_COUNT];
