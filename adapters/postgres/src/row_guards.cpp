#include <hufu/postgres/locks.hpp>

#include <algorithm>

#include "effect_work.hpp"

namespace hufu::postgres {
namespace {

constexpr std::string_view about = "row guard";

/// "schema.table" with each part quoted.
std::string quoted_table(const pqxx::transaction_base& tx, const std::string& table) {
    const auto dot = table.find('.');
    if (dot == std::string::npos) return tx.quote_name(table);
    return tx.quote_name(table.substr(0, dot)) + "." + tx.quote_name(table.substr(dot + 1));
}

std::string where_key(const pqxx::transaction_base& tx, const RowPlace& place, const std::string& key) {
    return " where " + tx.quote_name(place.key_column) + " = " + tx.quote(key);
}

}  // namespace

std::int64_t advance_version(pqxx::transaction_base& tx, const RowPlace& place, const std::string& key,
                             std::int64_t expected) {
    const std::string table = quoted_table(tx, place.table);
    const std::string column = tx.quote_name(place.version_column);
    const std::string where = where_key(tx, place, key);
    const auto rows_of = [&](const std::string& sql) {
        return guarded<pqxx::result>(Setting::in_transaction, about, [&]() -> Result<pqxx::result> { return tx.exec(sql); })
            .value();
    };
    const auto advanced = rows_of("update " + table + " set " + column + " = " + column + " + 1" + where + " and " + column +
                                  " = " + std::to_string(expected) + " returning " + column);
    if (!advanced.empty()) return advanced[0][0].as<std::int64_t>();
    const auto found = rows_of("select " + column + " from " + table + where);
    const std::string row = "row " + key + " of " + place.table;
    if (found.empty()) throw Exception{Error{ErrorCode::not_found, Disposition::reject, row + " does not exist"}};
    throw Exception{Error{ErrorCode::conflict, Disposition::abort_transaction,
                          row + " is at version " + found[0][0].as<std::string>() + ", not " + std::to_string(expected) +
                              ": somebody changed it; roll back, read it again and decide anew"}};
}

bool lock_row(pqxx::transaction_base& tx, const RowPlace& place, const std::string& key, std::chrono::milliseconds wait) {
    const std::string limit = std::to_string(std::max<std::int64_t>(wait.count(), 1));
    return guarded<bool>(Setting::in_transaction, about,
                         [&]() -> Result<bool> {
                             const auto rows =
                                 tx.exec("select set_config('lock_timeout', " + tx.quote(limit) + ", true); select 1 from " +
                                         quoted_table(tx, place.table) + where_key(tx, place, key) + " for update");
                             return !rows.empty();
                         })
        .value();
}

}  // namespace hufu::postgres
