#include "streams/operation.h"

#include "memory/staging.h"
#include "process/delay.h"
#include "process/thread_state.h"

static void call_host_function(const struct operation *operation)
{
    thread_state.is_in_host_function = true;
    operation->host_function.function(operation->host_function.argument);
    thread_state.is_in_host_function = false;
}

cudaError_t operation_run(struct operation *operation)
{
    delay_sleep(operation->delay_ns);
    if (operation->fault != cudaSuccess) return operation->fault;
    switch (operation->kind) {
    case OPERATION_COPY:
        copy_run(&operation->copy);
        break;
    case OPERATION_FILL:
        fill_run(&operation->fill);
        break;
    case OPERATION_EVENT_RECORD:
        event_record_perform(operation->record);
        break;
    case OPERATION_EVENT_WAIT:
        break;
    case OPERATION_HOST_FUNCTION:
        call_host_function(operation);
        break;
    }
    return cudaSuccess;
}

void operation_clear(struct operation *operation)
{
    sync_point_list_release(&operation->after);
    switch (operation->kind) {
    case OPERATION_COPY:
        staging_free(operation->copy.staged, operation->copy.byte_size);
        break;
    case OPERATION_EVENT_RECORD:
        event_record_release(operation->record);
        break;
    case OPERATION_FILL:
    case OPERATION_EVENT_WAIT:
    case OPERATION_HOST_FUNCTION:
        break;
    }
}
