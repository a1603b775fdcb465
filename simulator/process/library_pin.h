// The library itself, in the process.
#ifndef LIBRARY_PIN_H
#define LIBRARY_PIN_H

// Keeps the library loaded whatever is closed: its threads, and what runs when a thread ends, are in
// it.
void library_pin(void);

#endif
