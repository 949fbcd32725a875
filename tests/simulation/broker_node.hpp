// The bundled broker's log on a simulated disk, with just enough around it to publish, pull and keep positions.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/broker/log.hpp>

#include "event_queue.hpp"
#include "log_pump.hpp"
#include "sim_disk.hpp"

namespace hufu::simulation {

/// A broker process. Its disk outlives its crashes. Requests reach it at an instant; the caller adds the network.
class BrokerNode {
public:
    static constexpr std::size_t queues = 4;

    struct Stored {
        std::uint64_t offset = 0;
        std::string body;
        bool intact = true;  ///< the body matches its checksum
    };
    struct Pulled {
        std::vector<Stored> messages;
        std::uint64_t next_offset = 0;
    };
    /// True: durable. False: refused, or nobody knows.
    using Reply = std::function<void(bool)>;

    BrokerNode(EventQueue& events, SimDisk& disk) : events_{events}, disk_{disk} {}

    /// Opens the log; tries again after a while when the disk refuses.
    void start();
    /// Power is cut: process and unsynced pages are gone (which of them, the disk decides).
    void crash();
    /// Only the process dies: the page cache stays.
    void kill();
    [[nodiscard]] bool is_up() const { return log_ != nullptr; }
    /// Changes with every start; answers of an earlier life never arrive.
    [[nodiscard]] std::uint64_t life() const { return life_; }

    void publish(std::size_t queue, const std::vector<std::string>& bodies, Reply reply);
    [[nodiscard]] Pulled pull(std::size_t queue, std::uint64_t offset, std::uint32_t max);
    void commit_position(std::size_t queue, std::uint64_t offset);
    [[nodiscard]] std::uint64_t committed_position(std::size_t queue);
    [[nodiscard]] std::uint64_t max_offset(std::size_t queue) const;

private:
    void settle(const broker::Outcome& outcome);
    void stop_process();

    struct Waiting {
        std::uint64_t ticket;
        Reply reply;
    };

    EventQueue& events_;
    SimDisk& disk_;
    std::unique_ptr<broker::Log> log_;
    std::vector<broker::QueueHandle> handles_;
    std::deque<Waiting> waiting_;
    std::unique_ptr<LogPump> pump_;
    std::uint64_t life_ = 0;
};

}  // namespace hufu::simulation
