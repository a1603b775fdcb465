#include "streams/event_record.h"

#include <stdlib.h>

#include "streams/capture.h"

struct event_record *event_record_new(void)
{
    struct event_record *record = calloc(1, sizeof *record);
    if (record != NULL) record->reference_count = 1;
    return record;
}

void event_record_keep(struct event_record *record)
{
    record->reference_count++;
}

void event_record_release(struct event_record *record)
{
    if (--record->reference_count != 0) return;
    if (record->point.stream != NULL) sync_point_release(&record->point);
    if (record->capture != NULL) {
        capture_release(record->capture);
        stream_release(record->captured_on);
    }
    free(record);
}

void event_record_perform(struct event_record *record)
{
    clock_gettime(CLOCK_MONOTONIC, &record->time);
}
