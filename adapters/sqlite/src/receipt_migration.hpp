// The step that brings receipts.
#pragma once

#include <hufu/outbox/migration.hpp>

namespace hufu::sqlite {

[[nodiscard]] outbox::Migration create_receipts();

}  // namespace hufu::sqlite
