// Looking at a client's subscription before it starts: 46.
#include <hufu/remoting/client_check.hpp>

#include "state.hpp"

namespace hufu::broker {

static void handle_check_client(DispatchState& state, const Request& request) {
    constexpr std::size_t body_bytes_max = 256U << 10U;
    if (request.command.body.size() > body_bytes_max)
        return state.refuse(request, ResponseCode::invalid_parameter,
                            "the body has " + std::to_string(request.command.body.size()) + " bytes; at most " +
                                std::to_string(body_bytes_max) + " are allowed here");
    const auto check = remoting::ClientCheck::parse(request.command.body);
    if (!check) return state.refuse(request, ResponseCode::invalid_parameter, check.error().text());
    if (!check->subscription) return state.succeed(request);
    const CompiledFilter compiled = state.filters.get(check->subscription->expression_type, check->subscription->expression);
    if (!compiled.fault.empty()) return state.refuse(request, compiled.code, compiled.fault);
    state.succeed(request);
}

void add_filter_handlers(HandlerTable& table) { table.add(remoting::RequestCode::check_client_config, handle_check_client); }

}  // namespace hufu::broker
