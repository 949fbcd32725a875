// The check before every handler: who asks, and may he.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/metrics.hpp>
#include <hufu/core/token_bucket.hpp>

#include "access_table.hpp"

namespace hufu::broker {

class DispatchState;
struct Request;

/// The accounts in force and the lines for the operator.
class AccessControl {
public:
    explicit AccessControl(MetricsRegistry& metrics)
        : refused{metrics.counter("hufu_broker_access_refused_total", "Requests refused by access control")} {}

    /// Null: everybody may do everything.
    void set(std::shared_ptr<const AccessTable> table) { table_ = std::move(table); }
    [[nodiscard]] const AccessTable* table() const noexcept { return table_.get(); }

    /// A line for the audit log. A burst of them is cut short, and the next line says how many are missing.
    void audit(std::string line, SteadyTime now);
    [[nodiscard]] std::vector<std::string> take_audit() { return std::exchange(audit_, {}); }

    Counter& refused;

private:
    std::shared_ptr<const AccessTable> table_;
    std::vector<std::string> audit_;
    TokenBucket audit_rate_{20, 50};
    std::uint64_t unwritten_ = 0;
};

/// Whether the handler of the request may run. Sets `request.account`. When not, the request is answered and noted.
[[nodiscard]] bool admit(DispatchState& state, Request& request);
/// For handlers that learn only on the way which topic they touch: call before anything is changed or shown. When the
/// answer is no, the request is answered and noted.
[[nodiscard]] bool admit_topic(DispatchState& state, const Request& request, Right right, std::string_view topic);

}  // namespace hufu::broker
