// What rows, visible messages and the verdicts that services gave say about the transactions. Nothing else is asked.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

namespace hufu::fault {

struct TxFaults {
    std::uint64_t rows_without_message = 0;
    std::uint64_t message_without_rows = 0;
    std::uint64_t committed_twice = 0;
    std::uint64_t visible_before_commit = 0;

    void add(const TxFaults& other);
    [[nodiscard]] std::uint64_t sum() const {
        return rows_without_message + message_without_rows + committed_twice + visible_before_commit;
    }
};

struct TxVerdict {
    std::uint64_t rows = 0;            ///< committed transactions
    std::uint64_t messages = 0;        ///< visible
    std::uint64_t repeats = 0;         ///< of messages that were forwarded: under the same id, for a guard to absorb
    std::uint64_t wrong_verdicts = 0;  ///< said to the broker, and not what the database says
    TxFaults ours;
    /// What a broker that is not ours made of the right verdicts: it was told the truth, and showed something else.
    TxFaults original;

    void add(const TxVerdict& other);
    [[nodiscard]] bool held() const { return ours.sum() + wrong_verdicts == 0; }
};

/// Where things are. `scene` names topics and groups.
struct TxPlace {
    std::string scene;
    std::string database;
    std::string broker;  ///< where messages become visible
};

/// Sends what marks the beginning and the end of a scene: makes both topics, and ends the judge's reading.
void send_marks(const TxPlace& place, const std::string& body);
inline constexpr const char* first_words = "the beginning";
inline constexpr const char* last_words = "the end";

/// Reads along while things are killed: a message whose row is not committed when it is seen came too early.
class Watcher {
public:
    explicit Watcher(TxPlace place);
    ~Watcher();
    /// Bodies whose row was not there.
    [[nodiscard]] std::set<std::string> too_early();
    /// How many messages were seen, copies not counted.
    [[nodiscard]] std::size_t count();
    /// Whether every row of the database has been seen in each of its topics; false while the database is away.
    [[nodiscard]] bool all_rows_seen();

private:
    void watch(const std::stop_token& stop);

    const TxPlace place_;
    std::mutex mutex_;
    std::set<std::string> too_early_;                     // guarded by mutex_
    std::set<std::pair<std::string, std::string>> seen_;  // body and topic; guarded by mutex_
    std::jthread thread_;
};

/// What was said to the broker, by id: commit, rollback, or both.
struct Said {
    bool commit = false;
    bool rollback = false;
};
using AllSaid = std::map<std::string, Said>;

struct JudgeRules {
    bool broker_is_ours = true;
    bool forwarded = false;  ///< a message may come again under its id
};

/// Reads both topics from their beginning, up to messages sent for the purpose, and compares with rows and verdicts.
TxVerdict judge(const TxPlace& place, const std::set<std::string>& too_early, const AllSaid& said, const JudgeRules& rules);

}  // namespace hufu::fault
