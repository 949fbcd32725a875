#include "roles/keyed_requests.hpp"

#include "domain/order_json.hpp"
#include "http/server.hpp"

namespace shop {

hufu::idempotency::HttpGuardOptions edge_options() {
    return {
        .group = "http", .refusal = [](unsigned status, const std::string& detail) {
            const Refusal refusal{status == 409 ? Refused::conflict : Refused::invalid, "idempotency-key", "", detail};
            return hufu::idempotency::HttpReply{.headers = {{"content-type", "application/json"}}, .body = to_json(refusal)};
        }};
}

hufu::beast::Application keyed_application(const Role& role, Store& store, const hufu::idempotency::HttpGuard& edge) {
    if (!role.keyed) return {};
    return hufu::beast::guarded<Transaction&>(store.answering(edge),
                                              [keyed = role.keyed](Transaction& tx, const hufu::beast::Request& request) {
                                                  return response_of(keyed(tx, request_of(request)), request);
                                              });
}

}  // namespace shop
