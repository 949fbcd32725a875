#include "dispatch_node.hpp"

#include <chrono>
#include <utility>

#include <hufu/broker/message_keys.hpp>

namespace hufu::simulation {

using namespace std::chrono_literals;

broker::LogOptions small_dispatch_log() {
    broker::LogOptions options;
    options.keys_of = broker::keys_of_record;
    options.segment_bytes = 256 << 10;
    options.first_segment_bytes = 64 << 10;
    options.record_bytes_max = 8 << 10;
    options.pending_bytes_max = 128 << 10;
    options.chore_retry = 20ms;
    return options;
}

void DispatchNode::start() {
    ++lives_;
    auto opened = broker::Log::open(disk_.directory(), small_dispatch_log(), events_.clock());
    if (!opened) {
        events_.note("the broker does not start: ", opened.error().text());
        events_.after(30ms, [this, life = lives_] {
            if (life == lives_) start();
        });
        return;
    }
    life_ = std::make_unique<Life>(std::move(*opened));
    dispatcher_ = std::make_unique<broker::Dispatcher>(*life_->log, options_, ids_, life_->metrics, events_.clock());
    pump_ = std::make_unique<LogPump>(events_, *life_->log, [this](const broker::Outcome& outcome) {
        dispatcher_->settled(outcome, events_.now());
        flush();
    });
    flush();
}

void DispatchNode::stop_process() {
    ++lives_;
    auto peers = std::exchange(peers_, {});
    pump_.reset();
    dispatcher_.reset();
    life_.reset();
    tick_at_.reset();
    for (auto& [connection, peer] : peers)
        if (peer.closed) peer.closed();
}

void DispatchNode::crash() {
    stop_process();
    disk_.crash();
}

void DispatchNode::kill() {
    stop_process();
    disk_.kill();
}

std::optional<broker::ConnectionId> DispatchNode::connect(Peer peer) {
    if (!is_up()) return std::nullopt;
    const auto connection =
        dispatcher_->connected({{10, 0, 0, 2}, 10'000 + static_cast<std::int32_t>(++connections_ % 50'000)});
    peers_[connection] = std::move(peer);
    return connection;
}

void DispatchNode::disconnect(broker::ConnectionId connection) {
    if (peers_.erase(connection) == 0) return;
    dispatcher_->disconnected(connection, events_.now());
    flush();
}

void DispatchNode::deliver(broker::ConnectionId connection, std::string frame) {
    // What the shell would leave in the socket while the broker is behind counts as lost here.
    if (!peers_.contains(connection) || !dispatcher_->accepts(connection)) return;
    remoting::FrameDecoder decoder;
    const auto room = decoder.prepare(frame.size());
    std::copy(frame.begin(), frame.end(), room.begin());
    decoder.commit(frame.size());
    const auto cut = decoder.next();
    if (!cut || !dispatcher_->receive(connection, **cut, events_.now())) {
        auto closed = std::move(peers_.at(connection).closed);
        disconnect(connection);
        if (closed) closed();
        return;
    }
    flush();
}

void DispatchNode::flush() {
    // A peer that is handed something may answer at once: that comes back here.
    if (std::exchange(flushing_, true)) return;
    const std::uint64_t life = lives_;
    pump_->pump();
    std::vector<broker::ConnectionId> ready;
    for (dispatcher_->take_ready(ready); !ready.empty() && life == lives_;) {
        const auto connection = ready.back();
        ready.pop_back();
        std::string bytes;
        dispatcher_->take_output(connection, bytes);
        dispatcher_->written(connection, bytes.size());
        const auto peer = peers_.find(connection);
        if (peer != peers_.end() && peer->second.received) peer->second.received(decode_commands(bytes));
        if (ready.empty() && life == lives_) dispatcher_->take_ready(ready);
    }
    flushing_ = false;
    if (life != lives_) return;
    for (const auto& alarm : dispatcher_->take_alarms()) events_.note("the broker's alarm: ", alarm);
    plan_tick();
}

void DispatchNode::plan_tick() {
    const auto due = dispatcher_->next_tick();
    if (!due || (tick_at_ && *tick_at_ <= *due)) return;
    tick_at_ = std::max(*due, events_.now() + 1ms);
    events_.at(*tick_at_, [this, life = lives_, at = *tick_at_] {
        if (life != lives_ || tick_at_ != at || !dispatcher_) return;
        tick_at_.reset();
        dispatcher_->tick(events_.now());
        flush();
    });
}

std::optional<WireCommand> DispatchNode::ask_frame(std::string frame) {
    if (!is_up()) return std::nullopt;
    auto answers = std::make_shared<std::vector<WireCommand>>();
    const auto connection =
        connect({.received = [answers](std::vector<WireCommand> commands) { *answers = std::move(commands); }});
    deliver(*connection, std::move(frame));
    disconnect(*connection);
    if (answers->empty()) return std::nullopt;
    return std::move(answers->front());
}

std::optional<std::vector<SeenMessage>> DispatchNode::pull(std::string_view topic, std::int32_t queue,
                                                           std::uint64_t offset) {
    remoting::PullRequest header;
    header.consumer_group = "stock";
    header.topic = topic;
    header.queue_id = queue;
    header.queue_offset = static_cast<std::int64_t>(offset);
    header.sys_flag = remoting::pull_flag::subscription;
    header.subscription = "*";
    const auto answer = ask(remoting::RequestCode::pull_message, header);
    if (!answer) return std::nullopt;
    if (!answer->is(remoting::ResponseCode::success)) return std::vector<SeenMessage>{};
    return pulled_messages(*answer);
}

}  // namespace hufu::simulation
