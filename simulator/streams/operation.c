#include "streams/operation.h"

#include "memory/staging.h"
#include "process/delay.h"
#include "process/thread_state.h"
#include "streams/event_record.h"

static void run_call(const struct operation *operation)
{
    thread_state.in_host_function = true;
    operation->call.function(operation->call.argument);
    thread_state.in_host_function = false;
}

cudaError_t operation_run(struct operation *operation)
{
    delay_pass(operation->delay_ns);
    if (operation->fault != cudaSuccess) return operation->fault;
    switch (operation->kind) {
    case OPERATION_COPY:
        copy_run(&operation->copy);
        break;
    case OPERATION_FILL:
        fill_run(&operation->fill);
        break;
    case OPERATION_STAMP:
        event_record_stamp(operation->record);
        break;
    case OPERATION_CALL:
        run_call(operation);
        break;
    case OPERATION_WAIT:
        break;
    }
    return cudaSuccess;
}

void operation_clear(struct operation *operation)
{
    point_list_release(&operation->after);
    if (operation->kind == OPERATION_COPY) {
        staging_release(operation->copy.staged, operation->copy.size);
    } else if (operation->kind == OPERATION_STAMP) event_record_release(operation->record);
}
