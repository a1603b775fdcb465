// Makes the system refuse memory: malloc, mmap, mprotect, posix_memalign and tsearch of everything
// that is linked with -Wl,--wrap=... of these and of munmap, which is counted.
#ifndef FAILING_CALLS_H
#define FAILING_CALLS_H

#include <stdbool.h>
#include <stdint.h>

// The nth call from now fails, and, `for_good`, so does every one after it; none with nth 0.
void fail_call(uint64_t nth, bool for_good);

// Grows with every call that was made to fail.
extern uint64_t failed_call_count;

// Maps that were made and not given back.
extern int64_t live_map_count;

#endif
