// What threads leave behind that end without giving back what they own.
//
// A thread may end in the middle of anything, and a GPU may still be working for it then. So what it
// owned goes back in the order of its streams, as memory does that is freed on a stream: a block is
// pending until every stream of the thread has done what it was given.
#ifndef ENDED_OWNERS_H
#define ENDED_OWNERS_H

// Gives back what threads owned that have ended: memory, holds, streams and events. It costs a load
// where none has. What a GPU may still use and CUDA does not put in order, and what CUDA does not let go, is
// tried again by the next call. No GPU is waited for. The caller holds no lock.
void ended_owners_clean_up(void);

// The same for callers that may wait for GPUs, after which less is left to the next call.
void ended_owners_clean_up_and_wait(void);

#endif
