// The lock on the managers' lives. Creating and resetting hold it exclusively; whoever touches
// managed memory holds it shared, so that no reset takes the memory away in the middle of a copy.
// Allocating and freeing need none of it: the pools have locks of their own.
#ifndef LIFECYCLE_H
#define LIFECYCLE_H

void lifecycle_lock_exclusive(void);
void lifecycle_lock_shared(void);
void lifecycle_unlock(void);

#endif
