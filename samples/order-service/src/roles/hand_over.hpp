// Telling the others right after the commit, without an outbox: for events that may be lost when this process dies.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>

namespace shop {

/// Hands over what an order has to tell, in the order of its commits. An order has one turn at a time, from before the commit
/// until its messages were taken: two commits of one order are two moments, and without that their messages could change
/// places. The turns are this process's alone: one process serves all customers.
///
/// Between the commit and the end of the hand-over nothing but this process knows of the messages. If it dies there, the rows
/// have changed and nobody is told: that is what the outbox is for.
/// Thread-safe.
class HandOver {
public:
    /// Borrows `publisher`.
    explicit HandOver(hufu::Publisher& publisher) : publisher_{publisher} {}

    /// Runs `commit` and hands over the messages that it returns. Throws what `commit` throws. When the messages are not taken,
    /// throws their error (`retry`): the rows are committed, the messages are owed, and the order's next turn hands them over
    /// first, under their first ids, or does not begin.
    void turn(const std::string& order_id, const std::function<std::vector<hufu::Message>()>& commit);

    /// Wraps a handler of messages whose ordering key is the order: it runs in the order's turn, and not (`retry`) while
    /// something is owed.
    [[nodiscard]] hufu::Handler in_turn(hufu::Handler handler);

private:
    [[nodiscard]] std::mutex& place_of(const std::string& order_id);
    [[nodiscard]] std::vector<hufu::Message> owed_by(const std::string& order_id);
    void owe(const std::string& order_id, std::vector<hufu::Message> messages);
    void settle(const std::string& order_id);

    hufu::Publisher& publisher_;
    hufu::MessageIdGenerator ids_{hufu::system_clock(), hufu::system_random()};
    std::array<std::mutex, 64> places_;  // of orders, by hash
    std::mutex mutex_;
    std::map<std::string, std::vector<hufu::Message>> owed_;  // guarded by mutex_
};

}  // namespace shop
