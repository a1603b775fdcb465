// The threads that own memory, streams and events.
//
// An owner has a number of 16 bits, so that a pool can keep it with each block. The number is the
// thread's until the thread has ended and all that it held was given back; then another may have it.
// Nothing is given back while a thread ends: whoever looks next, because a pool is full or statistics
// are read, takes the ended owners one by one. So no memory goes before the stream that uses it is done.
#ifndef OWNER_H
#define OWNER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    OWNER_PROCESS = 0, // of what no thread's end gives back
    OWNER_MAX = UINT16_MAX,
};

// The calling thread's number. OWNER_PROCESS where all numbers are taken.
uint32_t owner_of_thread(void);

// The number of owners whose threads have ended. It costs a load.
uint32_t owner_ended_count(void);

// Takes the owner that has waited longest since its thread ended. The caller gives back all that it
// held, and then its number by owner_release(); or, where not all could be given back, says by
// owner_end() that there is still something to do. False where there is none.
bool owner_take_ended(uint32_t *owner);

// Puts an owner behind all others whose threads have ended.
void owner_end(uint32_t owner);

void owner_release(uint32_t owner);

#endif
