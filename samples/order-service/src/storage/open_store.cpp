#include <hufu/core/error.hpp>

#include "storage/postgres_store.hpp"
#include "storage/sqlite_store.hpp"
#include "storage/store.hpp"

namespace shop {

std::unique_ptr<Store> open_store(const std::string& url) {
    constexpr std::string_view sqlite = "sqlite:";
    if (url.starts_with(sqlite)) return open_sqlite_store(url.substr(sqlite.size()));
    if (url.starts_with("postgresql://") || url.starts_with("postgres://")) return open_postgres_store(url);
    throw hufu::Exception{
        {hufu::ErrorCode::invalid_argument, hufu::Disposition::reject,
         "--store \"" + url + "\" is no database this service knows: give sqlite:/path/orders.db or postgresql://…"}};
}

}  // namespace shop
