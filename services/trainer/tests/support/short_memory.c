/* Preloaded into a trainer: memory for tensors runs out where one alone would take more than LIMIT bytes. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

int posix_memalign(void **place, size_t alignment, size_t bytes) {
    void *found = bytes > LIMIT ? NULL : memalign(alignment, bytes);
    if (!found) {
        return ENOMEM;
    }
    *place = found;
    return 0;
}
