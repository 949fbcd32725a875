// Requests with an idempotency key: the middleware in front of a role.
#pragma once

#include <hufu/beast/http_guard.hpp>
#include <hufu/idempotency/http.hpp>

#include "roles/role.hpp"
#include "storage/store.hpp"

namespace shop {

/// The guard's own answers look like this service's.
[[nodiscard]] hufu::idempotency::HttpGuardOptions edge_options();

/// What the server hands requests with a key to; empty when the role takes none. `store` and `edge` are borrowed for its life.
[[nodiscard]] hufu::beast::Application keyed_application(const Role& role, Store& store,
                                                         const hufu::idempotency::HttpGuard& edge);

}  // namespace shop
