#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { THREAD_COUNT_MAX = 64 };

int threads_beyond_processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN) + 6;
    return count < THREAD_COUNT_MAX ? (int)count : THREAD_COUNT_MAX;
}

struct task {
    pthread_t thread;
    int number;
    void (*run)(int number);
};

static void *run_task(void *argument)
{
    struct task *task = argument;
    task->run(task->number);
    return NULL;
}

static void start(struct task *tasks, int thread_count, void (*run)(int number))
{
    for (int i = 0; i < thread_count; i++) {
        tasks[i] = (struct task){.number = i, .run = run};
        int error = pthread_create(&tasks[i].thread, NULL, run_task, &tasks[i]);
        CHECK(error == 0, "pthread_create: error %d", error);
    }
}

static void join(struct task *tasks, int thread_count)
{
    for (int i = 0; i < thread_count; i++) pthread_join(tasks[i].thread, NULL);
}

void threads_run(int thread_count, void (*run)(int number))
{
    struct task tasks[THREAD_COUNT_MAX];
    start(tasks, thread_count, run);
    join(tasks, thread_count);
}

static atomic_bool others_have_ended;
static void (*repeated)(void);

static void repeat(int number)
{
    (void)number;
    while (!others_have_ended) repeated();
}

void threads_run_beside(int thread_count, void (*run)(int number), void (*meanwhile)(void))
{
    struct task tasks[THREAD_COUNT_MAX], beside;
    others_have_ended = false;
    repeated = meanwhile;
    start(&beside, 1, repeat);
    start(tasks, thread_count, run);
    join(tasks, thread_count);
    others_have_ended = true;
    join(&beside, 1);
}

void sleep_microseconds(long microseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}
