// A role at work: its database, its HTTP edge, its consumers and, if wanted, its relay.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <hufu/core/error.hpp>
#include <hufu/core/log.hpp>
#include <hufu/degradation/buffer.hpp>
#include <stop_token>

#include "http/server.hpp"
#include "roles/role.hpp"

namespace shop {

struct ServiceOptions {
    std::string role;          ///< order, payment or stock
    std::string store;         ///< sqlite:PATH or postgresql://…
    std::string broker;        ///< rocketmq://HOST:PORT or embedded:DIR
    std::string redis = {};    ///< where the order service's events wait (Telling::hand_over): redis://…
    std::string journal = {};  ///< and journal:DIR
    hufu::degradation::Loss tolerates = hufu::degradation::Loss::nothing;  ///< of those events
    HttpServerOptions http = {};
    RoleSettings settings = {};
    bool relay = true;  ///< carry this service's events in this process; else run `hufu relay` beside it
    std::chrono::milliseconds relay_lease{5'000};  ///< how long a killed relay's lane waits for the next one
    std::size_t effects_max = 8;                   ///< at the same time, per reaction
    std::chrono::seconds guard_window = std::chrono::hours{7 * 24};  ///< how long a handled message is remembered
    std::chrono::seconds replay{0};                                  ///< how far back somebody may replay or redrive
};

/// Serves until `stop` is asked for, then finishes what has begun. Throws `hufu::Exception` when it cannot start, or when
/// a consumer or the relay cannot go on.
void serve(const ServiceOptions& options, hufu::Log& log, std::stop_token stop);

}  // namespace shop
