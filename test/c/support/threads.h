// Runs a function in several threads at once and waits for all of them.
#ifndef THREADS_H
#define THREADS_H

// More than the machine has processors, so that holders of locks are put aside in the middle.
int threads_beyond_processors(void);

// Each thread gets its number, from 0.
void threads_run(int thread_count, void (*run)(int number));

// The same, with one more thread that repeats `meanwhile` until all the others have ended.
void threads_run_beside(int thread_count, void (*run)(int number), void (*meanwhile)(void));

void sleep_microseconds(long microseconds);

#endif
