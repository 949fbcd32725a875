// What producers sent and were promised, and whether a broker's queues agree.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raw_client.hpp"

namespace hufu::fault {

/// The content of message number `number` of a queue: its own name, then filling that only this number has.
[[nodiscard]] std::string make_body(std::int32_t queue_id, std::uint64_t number);

/// Counts of broken promises; all zero when the promise held.
struct Verdict {
    std::uint64_t lost = 0;        ///< acknowledged, and not there
    std::uint64_t duplicated = 0;  ///< there twice, though sent once
    std::uint64_t reordered = 0;   ///< after a message that was sent later on the same queue
    std::uint64_t invented = 0;    ///< never sent, or with other content
    std::uint64_t moved = 0;       ///< acknowledged or read at another queue offset than it has now
    [[nodiscard]] bool held() const { return lost + duplicated + reordered + invented + moved == 0; }
    void add(const Verdict& other);
};

/// One queue's history. One producer thread calls `next` and `acknowledged`, one reader thread `seen`.
class QueueLedger {
public:
    /// `every_answer_counts`: answers that say they came before the flush are held against the broker as well, to see
    /// that broken promises are found.
    explicit QueueLedger(std::int32_t queue_id, bool every_answer_counts = false)
        : queue_id_{queue_id}, every_answer_counts_{every_answer_counts} {}

    [[nodiscard]] std::int32_t queue_id() const { return queue_id_; }
    [[nodiscard]] bool every_answer_counts() const { return every_answer_counts_; }
    /// Number of the next message; from here on it may be in the queue.
    std::uint64_t next();
    void acknowledged(std::uint64_t number, std::int64_t queue_offset);
    /// A consumer was served this, so it must stay.
    void seen(const std::vector<Stored>& stored);
    [[nodiscard]] std::uint64_t acknowledged_count() const;

    [[nodiscard]] Verdict check(const std::vector<Stored>& stored) const;
    /// The same where messages come in an order of their own, and at other offsets than the answers named.
    [[nodiscard]] Verdict check_unordered(const std::vector<Stored>& stored) const;

private:
    const std::int32_t queue_id_;
    const bool every_answer_counts_;
    mutable std::mutex mutex_;
    std::uint64_t attempted_ = 0;                         // guarded by mutex_
    std::map<std::uint64_t, std::int64_t> acknowledged_;  // number -> queue offset, guarded by mutex_
    std::map<std::int64_t, std::string> seen_;            // queue offset -> body, guarded by mutex_
};

}  // namespace hufu::fault
