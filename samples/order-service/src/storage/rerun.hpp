// Running a transaction again when the database asks for it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace shop {

/// Calls `transaction`; again, after a short wait and at most a few times, when it throws a `hufu::Exception` that says
/// that nothing of it remains (`retry`, `abort_transaction`). The last failure is thrown on.
void rerun_while_allowed(const std::function<void()>& transaction);

/// `table` with `{serial}` replaced by the database's words for a key that counts up.
[[nodiscard]] std::string with_serial(std::string_view table, std::string_view serial);

}  // namespace shop
