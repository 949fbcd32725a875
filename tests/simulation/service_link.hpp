// A service's way to the bundled broker: frames get lost, doubled, late and out of order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dispatch_node.hpp"
#include "event_queue.hpp"
#include "wire.hpp"

namespace hufu::simulation {

/// The connection of one process. Destroyed with it; what is on its way still arrives.
class ServiceLink {
public:
    using Frame = std::function<std::string(std::int32_t opaque)>;
    using Answer = std::function<void(std::optional<WireCommand>)>;
    using Request = std::function<void(const WireCommand&)>;

    /// `groups` are announced in every heartbeat; `on_request` gets what the broker asks.
    ServiceLink(std::string client_id, std::vector<std::string> groups, EventQueue& events, DispatchNode& broker,
                Request on_request);
    ~ServiceLink();
    ServiceLink(const ServiceLink&) = delete;
    ServiceLink& operator=(const ServiceLink&) = delete;

    /// Sends, and waits so long for the answer. Nothing: it was lost, or the broker is away.
    void call(const Frame& frame, EventQueue::Duration wait, Answer answer);
    void tell(const std::string& frame) { transmit(frame); }
    void reset();

private:
    void connect();
    void beat();
    void transmit(const std::string& frame);
    void arrived(const WireCommand& command);
    template <class Event>
    void later(EventQueue::Duration low, EventQueue::Duration high, Event event);

    const std::string client_id_;
    const std::vector<std::string> groups_;
    EventQueue& events_;
    DispatchNode& broker_;
    Request on_request_;
    std::optional<broker::ConnectionId> connection_;
    std::int32_t opaque_ = 0;
    std::map<std::int32_t, Answer> waiting_;
    std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace hufu::simulation
