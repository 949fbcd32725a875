// Orders, payments and stock in a PostgreSQL database.
#pragma once

#include <memory>
#include <string>

#include "storage/store.hpp"

namespace shop {

[[nodiscard]] std::unique_ptr<Store> open_postgres_store(const std::string& url);

/// Creates the empty database `name` on the server behind `url`. Throws `hufu::Exception`.
void create_postgres_database(const std::string& url, const std::string& name);

}  // namespace shop
