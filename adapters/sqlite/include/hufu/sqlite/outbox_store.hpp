// The outbox of a SQLite file as the relay and the command line see it.
#pragma once

#include <memory>

#include <hufu/outbox/store.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// The lane of `database`. Each call on its ports is one short transaction (BEGIN IMMEDIATE where it writes), so business
/// transactions wait for a relay's batch at most. Rows become visible in sequence order (one writer at a time; numbers are
/// never reused). The lease runs on `Database::clock`, which for all processes on a host is the same wall clock.
///
/// Deleting confirmed rows is less durable than other commits: a power cut may bring rows back, which are then sent twice.
[[nodiscard]] std::unique_ptr<outbox::Store> outbox_store(std::shared_ptr<Database> database);

}  // namespace hufu::sqlite
