// A library in the place of another, which ends the process that loads it.

#include <unistd.h>

__attribute__((constructor)) static void end_process(void)
{
    _exit(66);
}
