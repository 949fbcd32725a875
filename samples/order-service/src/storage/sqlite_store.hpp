// Orders, payments and stock in a SQLite file.
#pragma once

#include <memory>
#include <string>

#include "storage/store.hpp"

namespace shop {

[[nodiscard]] std::unique_ptr<Store> open_sqlite_store(const std::string& path);

}  // namespace shop
