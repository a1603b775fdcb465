// Keeping the library itself in the process.
#ifndef LIBRARY_PIN_H
#define LIBRARY_PIN_H

// Keeps the library loaded even when it is closed with dlclose, because its code runs on threads of
// its own, and when a thread of the program ends.
void library_pin(void);

#endif
