#include "api/api.h"

#include "api/http/server.h"
#include "api/noun/routes.h"

int api_start(const struct api_config *config, struct api **ret_api) {
    return server_start(config, &routes, ret_api);
}
