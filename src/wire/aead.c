#include "wire/aead.h"

#include <string.h>

/* Fastest first: the first supported one is what "auto" takes. */
static const struct aead_ops *const all[] = {
#ifdef HAVE_IPSEC_MB
    &aead_ipsec_mb,
#endif
    &aead_sodium,
};

const struct aead_ops *aead_choose(const char *name) {
    bool any = !name || strcmp(name, "auto") == 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if ((any || strcmp(name, all[i]->name) == 0) && all[i]->supported()) {
            return all[i];
        }
    }
    return NULL;
}
