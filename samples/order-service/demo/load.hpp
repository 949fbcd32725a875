// Customers: place orders over HTTP at a bounded rate and write down what was accepted.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <hufu/core/error.hpp>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "http/message.hpp"
#include "ledger.hpp"

namespace shop::demo {

struct LoadOptions {
    std::uint16_t port = 0;
    std::uint64_t first = 0;   ///< number of the first order
    std::uint64_t orders = 0;  ///< number after the last one
    double orders_per_second = 250;
    std::size_t connections = 8;
    std::size_t skus = 50;
};

/// What becomes of an order, decided by its number: most are paid, some cancelled, some forgotten.
enum class Plan : std::uint8_t { pay, cancel, forget };
[[nodiscard]] Plan plan_of(std::uint64_t number) noexcept;
[[nodiscard]] std::string order_id(std::uint64_t number);
[[nodiscard]] std::string sku(std::uint64_t number);
[[nodiscard]] std::string order_body(std::uint64_t number, std::size_t skus);

/// A closed loop per connection, paced so that all together do not pass the rate. A request whose answer was lost is
/// repeated with the same order id until there is one, so nothing is left in doubt.
class Load {
public:
    /// Starts at once. `ledger` is borrowed.
    Load(LoadOptions options, LedgerWriter& ledger);
    ~Load();  ///< Stops early if it was not finished.
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    /// Orders accepted, those before `first` included.
    [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_; }
    [[nodiscard]] bool finished() const noexcept { return running_ == 0; }
    /// Requests whose answer was lost and that were repeated.
    [[nodiscard]] std::uint64_t in_doubt() const noexcept { return in_doubt_; }
    /// Repeated requests that got the stored answer: the first one had been accepted.
    [[nodiscard]] std::uint64_t replayed() const noexcept { return replayed_; }
    /// Waits for the end; throws what stopped a customer: an answer no order should get.
    void join();

private:
    void run(std::stop_token stop);
    void serve(class Customer& customer, std::uint64_t number);

    LoadOptions options_;
    LedgerWriter& ledger_;
    std::atomic<std::uint64_t> next_;
    std::atomic<std::uint64_t> accepted_;
    std::atomic<std::uint64_t> in_doubt_{0};
    std::atomic<std::uint64_t> replayed_{0};
    std::atomic<std::size_t> running_{0};
    std::mutex mutex_;
    std::exception_ptr failure_;  // guarded by mutex_
    std::vector<std::jthread> threads_;
};

}  // namespace shop::demo
