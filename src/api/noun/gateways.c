#include <stdlib.h>

#include "api/http/request.h"
#include "api/json/view.h"
#include "api/noun/handlers.h"

void serve_gateways_list(const struct request *request, struct answer *answer) {
    struct gateway_info *gateways = NULL;
    size_t count = 0;
    struct problem problem = {0};
    if (service_gateway_list(request->service, &request->caller, &gateways, &count, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    answer_list_open(answer, NULL);
    for (size_t i = 0; i < count; i++) {
        answer_list_item(answer, view_gateway(&gateways[i]));
    }
    answer_list_close(answer, NULL);
    free(gateways);
}
