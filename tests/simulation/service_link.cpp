#include "service_link.hpp"

#include <chrono>
#include <utility>

#include <hufu/remoting/bodies.hpp>

namespace hufu::simulation {

using namespace std::chrono_literals;

ServiceLink::ServiceLink(std::string client_id, std::vector<std::string> groups, EventQueue& events, DispatchNode& broker,
                         Request on_request)
    : client_id_{std::move(client_id)},
      groups_{std::move(groups)},
      events_{events},
      broker_{broker},
      on_request_{std::move(on_request)} {
    connect();
    later(1ms, 20ms, [this] { beat(); });
}

ServiceLink::~ServiceLink() {
    if (connection_) broker_.disconnect(*connection_);
}

template <class Event>
void ServiceLink::later(EventQueue::Duration low, EventQueue::Duration high, Event event) {
    events_.between(low, high, [alive = std::weak_ptr{alive_}, event = std::move(event)] {
        if (!alive.expired()) event();
    });
}

void ServiceLink::connect() {
    DispatchNode::Peer peer;
    peer.received = [this, alive = std::weak_ptr{alive_}](std::vector<WireCommand> commands) {
        if (alive.expired()) return;
        for (const WireCommand& command : commands) {
            if (events_.chance(80)) continue;
            later(30us, 400us, [this, command] { arrived(command); });
            if (events_.chance(80)) later(1ms, 500ms, [this, command] { arrived(command); });
        }
    };
    peer.closed = [this, alive = std::weak_ptr{alive_}] {
        if (alive.expired()) return;
        connection_.reset();
        later(1ms, 30ms, [this] { connect(); });
    };
    connection_ = broker_.connect(std::move(peer));
    if (!connection_) return later(5ms, 30ms, [this] { connect(); });
    remoting::Heartbeat heartbeat;
    heartbeat.client_id = client_id_;
    heartbeat.producer_groups = groups_;
    transmit(request_frame(remoting::RequestCode::heartbeat, ++opaque_, remoting::NoFields{}, heartbeat.to_json()));
}

void ServiceLink::beat() {
    remoting::Heartbeat heartbeat;
    heartbeat.client_id = client_id_;
    heartbeat.producer_groups = groups_;
    transmit(request_frame(remoting::RequestCode::heartbeat, ++opaque_, remoting::NoFields{}, heartbeat.to_json()));
    later(400ms, 600ms, [this] { beat(); });
}

void ServiceLink::reset() {
    if (!connection_) return;
    broker_.disconnect(*connection_);
    connection_.reset();
    later(1ms, 10ms, [this] { connect(); });
}

void ServiceLink::transmit(const std::string& frame) {
    if (connection_ && !events_.chance(60)) {
        events_.between(30us, 400us,
                        [&broker = broker_, connection = *connection_, frame] { broker.deliver(connection, frame); });
    }
    if (!events_.chance(25)) return;
    // A copy that comes late, over a way of its own: perhaps after its sender is gone and everything is decided.
    const EventQueue::Duration latest = events_.chance(4) ? EventQueue::Duration{90min} : EventQueue::Duration{2s};
    events_.between(1ms, latest, [&broker = broker_, frame] {
        const auto connection = broker.connect({});
        if (!connection) return;
        broker.deliver(*connection, frame);
        broker.disconnect(*connection);
    });
}

void ServiceLink::call(const Frame& frame, EventQueue::Duration wait, Answer answer) {
    const std::int32_t opaque = ++opaque_;
    waiting_.emplace(opaque, std::move(answer));
    transmit(frame(opaque));
    later(wait, wait, [this, opaque] {
        const auto found = waiting_.find(opaque);
        if (found == waiting_.end()) return;
        const Answer late = std::move(found->second);
        waiting_.erase(found);
        late(std::nullopt);
    });
}

void ServiceLink::arrived(const WireCommand& command) {
    if (!command.response) return on_request_(command);
    const auto found = waiting_.find(command.opaque);
    if (found == waiting_.end()) return;
    const Answer answer = std::move(found->second);
    waiting_.erase(found);
    answer(command);
}

}  // namespace hufu::simulation
