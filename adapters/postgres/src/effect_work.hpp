// A pqxx transaction as the port that guards and locks drive.
#pragma once

#include <pqxx/pqxx>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>

#include <hufu/idempotency/guard.hpp>

#include "pqxx_errors.hpp"

namespace hufu::postgres {

/// Runs `action`; what pqxx throws becomes the result's error.
template <class Value, class Action>
Result<Value> guarded(Setting setting, std::string_view about, const Action& action) {
    try {
        return action();
    } catch (const std::exception&) {
        return current_pqxx_error(setting, about);
    }
}

/// One transaction at a time on a borrowed connection.
class EffectWork : public idempotency::EffectTransaction {
public:
    /// `lock_wait`: how long a statement waits for another's lock, the guard's among them; none: the server's own limit.
    explicit EffectWork(pqxx::connection& connection, std::optional<std::chrono::milliseconds> lock_wait = {})
        : connection_{connection}, lock_wait_{lock_wait} {}

    Result<void> begin() override {
        return guarded<void>(Setting::in_transaction, "guarded effect", [&]() -> Result<void> {
            work_.emplace(connection_);
            if (lock_wait_) {
                const auto ms = std::max<std::int64_t>(lock_wait_->count(), 1);
                work_->exec("set local lock_timeout = " + std::to_string(ms));
            }
            return {};
        });
    }
    Result<void> commit() override {
        auto committed = guarded<void>(Setting::committing, "guarded effect", [&]() -> Result<void> {
            work_->commit();
            return {};
        });
        work_.reset();
        return committed;
    }
    void roll_back() noexcept override { work_.reset(); }

    [[nodiscard]] pqxx::work& work() { return *work_; }

private:
    pqxx::connection& connection_;
    std::optional<std::chrono::milliseconds> lock_wait_;
    std::optional<pqxx::work> work_;
};

}  // namespace hufu::postgres
