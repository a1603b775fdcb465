// Memory that a program has dropped, as the garbage collector finds it.
//
// Each memory that lives longer than the job that made it has a record here. Its bytes are given to
// the JavaScript engine as those of an ArrayBuffer which the memory's object holds; so the engine says
// when the object is gone, in whatever realm it was, by calling collected_memory_note() from inside a
// collection. Nothing is freed in there: the record is put on its owner's list, and the owner's thread
// frees the memory and says so. Where the thread ends before, all that it owns is given back anyway.
#ifndef COLLECTED_MEMORY_H
#define COLLECTED_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

// Whether the owner's collector should be asked before a request of the owner is served worse than it
// was meant: the owner has memories that the collector may find, and it was not asked lately.
bool collected_memory_may_help(uint32_t owner);

// Forgets all that the owner has had. Its thread has ended.
void collected_memory_drop_owner(uint32_t owner);

#endif
