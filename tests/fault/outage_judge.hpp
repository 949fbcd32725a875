// The consumer behind the broker: one effect per message, in a database, and what that database says in the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include <hufu/core/publisher.hpp>
#include <hufu/core/subscription.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::fault {

struct EffectCount {
    std::uint64_t effects = 0;
    std::uint64_t doubles = 0;    ///< messages with more than one effect
    std::uint64_t reordered = 0;  ///< effects of a key that came after a later one of it
    std::uint64_t gaps = 0;       ///< numbers of a key that are missing below its highest
};

/// Group "stock" on topic "orders", with `effect_once` on a file of its own.
class EffectBook {
public:
    EffectBook(const std::string& broker_url, const std::string& file);
    ~EffectBook();
    EffectBook(const EffectBook&) = delete;
    EffectBook& operator=(const EffectBook&) = delete;

    [[nodiscard]] std::uint64_t effects();
    [[nodiscard]] EffectCount count();
    /// Deliveries that the guard absorbed.
    [[nodiscard]] std::uint64_t copies() const noexcept { return copies_; }

private:
    sqlite::Database database_;
    std::unique_ptr<Subscription> subscription_;
    std::unique_ptr<Publisher> dead_letters_;
    std::atomic<std::uint64_t> copies_ = 0;
    std::jthread thread_;
};

}  // namespace hufu::fault
