// The bundled broker, whole but for its sockets: dispatcher and log on a simulated disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/broker/log.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/metrics.hpp>

#include "event_queue.hpp"
#include "log_pump.hpp"
#include "sim_disk.hpp"
#include "wire.hpp"

namespace hufu::simulation {

/// A small log: segments turn over within a run.
[[nodiscard]] broker::LogOptions small_dispatch_log();

/// A broker process. Its disk outlives its crashes. Frames reach it at an instant; whoever sends adds the network.
class DispatchNode {
public:
    struct Peer {
        std::function<void(std::vector<WireCommand>)> received = {};
        std::function<void()> closed = {};  ///< the broker is gone
    };

    DispatchNode(EventQueue& events, SimDisk& disk, MessageIdGenerator& ids, broker::DispatcherOptions options)
        : events_{events}, disk_{disk}, ids_{ids}, options_{std::move(options)} {}

    /// Opens the log; tries again after a while when the disk refuses.
    void start();
    /// Power is cut: process and unsynced pages are gone (which of them, the disk decides).
    void crash();
    /// Only the process dies: the page cache stays.
    void kill();
    [[nodiscard]] bool is_up() const { return dispatcher_ != nullptr; }

    /// Nothing while the broker is down.
    std::optional<broker::ConnectionId> connect(Peer peer);
    void disconnect(broker::ConnectionId connection);
    void deliver(broker::ConnectionId connection, std::string frame);

    /// A request whose answer does not wait for the disk, from inside the machine; nothing when it waits or the broker is down.
    template <class Header>
    std::optional<WireCommand> ask(remoting::RequestCode code, const Header& header, std::string_view body = {}) {
        return ask_frame(request_frame(code, 7, header, body));
    }
    /// What a consumer would be handed from `offset` on; nothing while the broker is down.
    [[nodiscard]] std::optional<std::vector<SeenMessage>> pull(std::string_view topic, std::int32_t queue,
                                                               std::uint64_t offset);

private:
    struct Life {
        explicit Life(std::unique_ptr<broker::Log> opened) : log{std::move(opened)} {}
        std::unique_ptr<broker::Log> log;
        MetricsRegistry metrics;
    };
    std::optional<WireCommand> ask_frame(std::string frame);
    void stop_process();
    /// After anything happened inside.
    void flush();
    void plan_tick();

    EventQueue& events_;
    SimDisk& disk_;
    MessageIdGenerator& ids_;
    broker::DispatcherOptions options_;
    std::unique_ptr<Life> life_;
    std::unique_ptr<broker::Dispatcher> dispatcher_;
    std::unique_ptr<LogPump> pump_;
    std::map<broker::ConnectionId, Peer> peers_;
    std::uint64_t lives_ = 0;
    std::uint64_t connections_ = 0;  // each has a port of its own
    std::optional<SteadyTime> tick_at_;
    bool flushing_ = false;
};

}  // namespace hufu::simulation
