// "There may be a new row": hints from writers to the relay. A lost hint costs latency only; polling is the truth.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>

namespace hufu::outbox {

/// Told after a commit that appended rows. Thread-safe; cheap; never blocks, never fails.
class WakeHint {
public:
    virtual ~WakeHint() = default;
    virtual void wake() noexcept = 0;
};

/// Hints to the relays of other processes on this host, by datagrams to abstract Unix sockets named after `lane_name`
/// (any text that both sides derive from the same store and lane; it is hashed). Nobody listening is fine.
class DatagramHint final : public WakeHint {
public:
    explicit DatagramHint(std::string_view lane_name);
    ~DatagramHint() override;
    DatagramHint(const DatagramHint&) = delete;
    DatagramHint& operator=(const DatagramHint&) = delete;
    void wake() noexcept override;

private:
    int socket_ = -1;
    std::string address_;
};

/// Receives such hints on a thread of its own and passes each (or several as one) to `target`, which must outlive it.
/// Up to four receivers of one name can listen at a time; all get every hint.
class DatagramHintReceiver {
public:
    /// `busy` when four are listening already, `io` when the system refuses a socket. The relay works without, by polling.
    static Result<std::unique_ptr<DatagramHintReceiver>> open(std::string_view lane_name, WakeHint& target);
    ~DatagramHintReceiver();  ///< No call to `target` after it returns.
    DatagramHintReceiver(const DatagramHintReceiver&) = delete;
    DatagramHintReceiver& operator=(const DatagramHintReceiver&) = delete;

private:
    struct Impl;
    explicit DatagramHintReceiver(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::outbox
