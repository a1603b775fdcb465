// Runs a function in several threads at once and waits for all of them.
#ifndef THREADS_H
#define THREADS_H

// A count above that of the processors, so that threads are preempted while they hold locks.
int threads_beyond_processors(void);

// Each thread is called with its number, from 0.
void threads_run(int thread_count, void (*run)(int number));

// Does the same, while one more thread repeats `meanwhile` until all the others have ended.
void threads_run_beside(int thread_count, void (*run)(int number), void (*meanwhile)(void));

void sleep_microseconds(long microseconds);

#endif
