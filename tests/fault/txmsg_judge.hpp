// What rows and visible messages say about the transactions. Nothing else is asked.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace hufu::fault {

struct TxVerdict {
    std::uint64_t rows = 0;      ///< committed transactions
    std::uint64_t messages = 0;  ///< visible
    std::uint64_t rows_without_message = 0;
    std::uint64_t message_without_rows = 0;
    std::uint64_t committed_twice = 0;
    std::uint64_t visible_before_commit = 0;

    void add(const TxVerdict& other);
    [[nodiscard]] bool held() const {
        return rows_without_message + message_without_rows + committed_twice + visible_before_commit == 0;
    }
};

/// Reads along while things are killed: a message whose row is not committed when it is seen came too early.
class Watcher {
public:
    Watcher(std::string database, std::string broker);
    ~Watcher();
    /// Bodies whose row was not there.
    [[nodiscard]] std::set<std::string> too_early();

private:
    void watch(const std::stop_token& stop);

    const std::string database_;
    const std::string broker_;
    std::mutex mutex_;
    std::set<std::string> too_early_;  // guarded by mutex_
    std::jthread thread_;
};

/// Reads both topics from their beginning, up to messages sent for the purpose, and compares with the rows.
TxVerdict judge(const std::string& database, const std::string& broker, const std::set<std::string>& too_early);

}  // namespace hufu::fault
