// The step that lets the guard be a plain insert.
#pragma once

#include <hufu/outbox/migration.hpp>

namespace hufu::postgres {

[[nodiscard]] outbox::Migration create_guard_horizon_checks();

}  // namespace hufu::postgres
