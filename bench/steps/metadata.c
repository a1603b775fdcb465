// metadata POOL-LIBRARY CUDART LIVE-BLOCKS
//
// Says in a message (see harness/child/messages.ts) the resident bytes that an idle pool of 80 GiB
// costs, and those of a pool with this many live blocks: when it was filled, and when each block
// was replaced some times.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../native/pool_library.h"
#include "../native/random.h"

enum { REPLACEMENTS_PER_BLOCK = 4 };

#define IDLE_POOL_BYTE_SIZE (80.0 * 1024 * 1024 * 1024)

// Returns how many bytes of this process's memory are in RAM, counted page by page.
static double resident_byte_size(void)
{
    // The buffer is static, since memory that is allocated here would count.
    static char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    if (file == NULL) fail("/proc/self/smaps_rollup cannot be read");
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "Rss: %llu kB", &kib) != 1) {}
    fclose(file);
    return (double)kib * 1024;
}

static double measure_idle(const struct pool_library *library)
{
    double before = resident_byte_size();
    pool_library_create(library, IDLE_POOL_BYTE_SIZE);
    double idle = resident_byte_size() - before;
    library->reset();
    return idle;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 4) fail("usage: metadata POOL-LIBRARY CUDART LIVE-BLOCKS");
    struct pool_library library = pool_library_open(arguments[1], arguments[2]);
    uint32_t live_block_count = (uint32_t)strtoul(arguments[3], NULL, 10);
    uint64_t random_state = 1;
    double *addresses = allocate_or_fail(live_block_count, sizeof *addresses);
    for (uint32_t i = 0; i < live_block_count; i++) addresses[i] = 1; // makes the pages real

    pool_library_create(&library, 4096); // whatever the first use costs, the runtime's included
    pool_library_free(&library, pool_library_alloc(&library, 1));
    library.reset();
    resident_byte_size();
    double idle = measure_idle(&library);

    double capacity = 1.5 * RANDOM_BYTE_SIZE_MEAN * live_block_count;
    double before = resident_byte_size();
    pool_library_create(&library, capacity);
    for (uint32_t i = 0; i < live_block_count; i++) {
        addresses[i] = pool_library_alloc(&library, random_byte_size(&random_state));
    }
    double filled = resident_byte_size() - before;
    for (uint64_t i = 0; i < (uint64_t)REPLACEMENTS_PER_BLOCK * live_block_count; i++) {
        double *address = &addresses[random_below(&random_state, live_block_count)];
        pool_library_free(&library, *address);
        *address = pool_library_alloc(&library, random_byte_size(&random_state));
    }
    double replaced = resident_byte_size() - before;
    printf(
        "{\"kind\":\"metadata\",\"idle\":%.0f,\"capacity\":%.0f,\"filled\":%.0f,\"replaced\":%.0f}\n",
        idle, capacity, filled, replaced);
    return 0;
}
