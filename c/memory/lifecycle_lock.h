// The lock on the managers' lives. Creating and resetting hold it exclusively; code that touches
// managed memory holds it shared, so that no reset takes the memory away in the middle of a copy.
// Allocating and freeing need none of it: the pools have locks of their own.
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
