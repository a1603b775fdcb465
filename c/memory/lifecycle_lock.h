// The lock on the managers' lives. Creating and resetting hold it exclusively. Copies hold it shared,
// and so does all that looks at pending blocks, so that no reset takes memory, or the events of
// streams, away in the middle of it. Allocating and freeing otherwise need none of it: the pools have
// locks of their own.

//
// It is not recursive. A thread that waits for it exclusively goes before threads that come for it
// shared later: copies that follow each other without a pause would otherwise keep a reset out for
// ever.
#ifndef LIFECYCLE_LOCK_H
#define LIFECYCLE_LOCK_H

void lifecycle_lock_exclusive(void);
void lifecycle_lock_shared(void);
void lifecycle_unlock(void);

#endif
