// A pqxx transaction as the port that guards and locks drive.
#pragma once

#include <pqxx/pqxx>

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
    explicit EffectWork(pqxx::connection& connection) : connection_{connection} {}

    Result<void> begin() override {
        return guarded<void>(Setting::in_transaction, "guarded effect", [&]() -> Result<void> {
            work_.emplace(connection_);
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
    std::optional<pqxx::work> work_;
};

}  // namespace hufu::postgres
