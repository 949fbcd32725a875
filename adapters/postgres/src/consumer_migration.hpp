// The step that brings what consumers remember.
#pragma once

#include <hufu/outbox/migration.hpp>

namespace hufu::postgres {

[[nodiscard]] outbox::Migration create_consumer_memory();

}  // namespace hufu::postgres
