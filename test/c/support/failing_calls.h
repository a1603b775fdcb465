// Makes the system refuse memory. In programs that are linked with -Wl,--wrap=... for each of them,
// malloc, mmap, mprotect, posix_memalign and tsearch can be made to fail, and maps are counted.
#ifndef FAILING_CALLS_H
#define FAILING_CALLS_H

#include <stdbool.h>
#include <stdint.h>

// Makes the nth call from now fail, and with `for_good` every later one too. With 0 none fails.
void fail_call(uint64_t nth, bool for_good);

// The number of calls that were made to fail.
extern uint64_t failed_call_count;

// The number of maps that were made and not unmapped.
extern int64_t live_map_count;

#endif
