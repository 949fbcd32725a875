// A shop that asks for receipts, two services that owe them, their relays and the broker, as processes that are killed.
#pragma once

#include <map>
#include <string>
#include <thread>
#include <vector>

#include <hufu/core/random.hpp>
#include <hufu/test_support/child.hpp>
#include <hufu/test_support/postgres_server.hpp>

#include "receipts_judge.hpp"

namespace hufu::fault {

/// What dies, and where.
struct ReceiptDeath {
    const char* victim;  ///< stock, shop_relay, stock_relay, database, broker
    const char* step;    ///< of the consumer: before_effect, before_commit, after_commit; else any_time, or away for a while
};
inline constexpr ReceiptDeath receipt_deaths[] = {
    {"stock", "before_effect"}, {"stock", "before_commit"}, {"stock", "after_commit"},   {"stock", "away"},
    {"shop_relay", "any_time"}, {"shop_relay", "away"},     {"stock_relay", "any_time"}, {"stock_relay", "away"},
    {"database", "any_time"},   {"broker", "any_time"},
};

struct ReceiptPrograms {
    std::string folder;      ///< of hufu, hufu-broker and hufu-fault-receipts-consumer
    bool unguarded = false;  ///< the consumers have no guard: the judge must see effects twice
};

class ReceiptScene {
public:
    ReceiptScene(const ReceiptPrograms& programs, const std::string& root);

    /// Appends `count` messages in their own transactions while the victim dies and comes back, and waits until each is
    /// completed or parked (a minute at most).
    void round(const ReceiptDeath& death, int count, Random& random);
    /// Lets late re-sends show themselves, then reads everything.
    ReceiptVerdictCounts verdict();
    [[nodiscard]] std::uint64_t kills() const { return kills_; }

private:
    void start_broker();
    void start_relay(const std::string& name);
    void start_consumer(const std::string& group, const std::string& step, int nth);
    void append(bool refuse);
    void kill(const ReceiptDeath& death, Random& random);
    bool all_ended();
    void read_copies(std::uint64_t& copies, CopiesAgain& again);
    [[nodiscard]] std::string broker_url() const { return "rocketmq://127.0.0.1:" + std::to_string(port_); }

    ReceiptPrograms programs_;
    std::string root_;
    test_support::PostgresServer server_;
    std::map<std::string, std::string> databases_;  ///< shop, stock, points
    std::uint16_t port_ = 0;
    test_support::Child broker_;
    std::map<std::string, test_support::Child> relays_;
    std::map<std::string, test_support::Child> consumers_;
    std::uint64_t kills_ = 0;
};

}  // namespace hufu::fault
