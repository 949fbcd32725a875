// The step that brings receipts.
#pragma once

#include <hufu/outbox/migration.hpp>

namespace hufu::postgres {

[[nodiscard]] outbox::Migration create_receipts();

}  // namespace hufu::postgres
