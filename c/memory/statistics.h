// What the managers say of themselves.
#ifndef STATISTICS_H
#define STATISTICS_H

// Takes back what no stream, no thread and no view needs any more, in all pools.
void bring_statistics_up_to_date(void);

#endif
