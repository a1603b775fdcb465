#include "streams/worker.h"

#include <signal.h>
#include <sys/prctl.h>

#include "process/library_pin.h"
#include "streams/stream_queue.h"

static void *work(void *argument)
{
    struct stream *stream = argument;
    // Delays are of some microseconds too, less than what sleeping otherwise takes longer.
    prctl(PR_SET_TIMERSLACK, 1);
    streams_lock();
    stream_perform_all(stream);
    stream_release(stream);
    streams_unlock();
    return NULL;
}

static bool start_detached(struct stream *stream)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_t thread;
    bool started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                   pthread_create(&thread, &attributes, work, stream) == 0;
    // It is still there: it needs the lock to end.
    if (started) pthread_setname_np(thread, "cudart_sim");
    pthread_attr_destroy(&attributes);
    return started;
}

bool worker_ensure(struct stream *stream)
{
    if (stream->has_worker) return true;
    library_pin();
    // The program's signal handlers are for its own threads.
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    stream->has_worker = start_detached(stream);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    return stream->has_worker;
}
