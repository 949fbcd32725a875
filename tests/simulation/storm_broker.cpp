#include "storm_broker.hpp"

#include <chrono>

#include <hufu/broker/message_keys.hpp>

namespace hufu::simulation {

using namespace std::chrono_literals;

namespace {

broker::LogOptions storm_log() {
    broker::LogOptions options;
    options.keys_of = broker::keys_of_record;
    options.segment_bytes = 1U << 20U;
    options.first_segment_bytes = 64U << 10U;
    options.record_bytes_max = 8U << 10U;
    options.pending_bytes_max = 64U << 20U;
    return options;
}

broker::DispatcherOptions storm_options() {
    broker::DispatcherOptions options;
    options.advertised = {{10, 0, 0, 1}, 10911};
    options.default_queues = 1;
    options.transactions.first_check = 1h;  // the storm brings its own answers to checks
    return options;
}

}  // namespace

StormBroker::StormBroker(std::uint64_t seed, Answered answered) : random_{seed}, answered_{std::move(answered)} { start(); }

void StormBroker::start() {
    metrics_ = std::make_unique<MetricsRegistry>();
    log_ = broker::Log::open(disk_.directory(), storm_log(), clock_).value();
    dispatcher_ = std::make_unique<broker::Dispatcher>(*log_, storm_options(), ids_, *metrics_, clock_);
    client_ = dispatcher_->connected({{10, 0, 0, 2}, 4711});
}

void StormBroker::restart(bool power) {
    dispatcher_.reset();
    log_.reset();
    power ? disk_.crash() : disk_.kill();
    clock_.advance(1s);
    start();
}

void StormBroker::receive(std::string frame) {
    remoting::FrameDecoder decoder;
    const auto room = decoder.prepare(frame.size());
    std::copy(frame.begin(), frame.end(), room.begin());
    decoder.commit(frame.size());
    dispatcher_->receive(client_, *decoder.next().value(), clock_.steady_now()).value();
    drain();
}

void StormBroker::settle() {
    for (;;) {
        broker::Outcome outcome;
        if (auto* group = log_->take_group()) {
            auto done = broker::Log::write(*group);
            if (done) done = broker::Log::sync(*group);
            outcome = done ? log_->completed(group) : log_->failed(group, done.error());
        } else if (auto chore = log_->take_chore()) {
            chore->run();
            outcome = log_->finished(std::move(chore));
        } else {
            return;
        }
        if (outcome.through > 0) dispatcher_->settled(outcome, clock_.steady_now());
        drain();
    }
}

void StormBroker::write_behind() {
    while (auto* group = log_->take_group()) static_cast<void>(broker::Log::write(*group));
}

void StormBroker::drain() {
    std::vector<broker::ConnectionId> ready;
    dispatcher_->take_ready(ready);
    for (const auto connection : ready) {
        std::string bytes;
        dispatcher_->take_output(connection, bytes);
        dispatcher_->written(connection, bytes.size());
        for (const WireCommand& command : decode_commands(bytes)) answered_(command);
    }
}

std::vector<SeenMessage> StormBroker::pull(std::string_view topic, std::int32_t queue, std::uint64_t offset) {
    remoting::PullRequest header;
    header.consumer_group = "stock";
    header.topic = topic;
    header.queue_id = queue;
    header.queue_offset = static_cast<std::int64_t>(offset);
    header.messages_max = 1000;
    header.sys_flag = remoting::pull_flag::subscription;
    header.subscription = "*";
    std::vector<SeenMessage> messages;
    const Answered outer = std::exchange(answered_, [&](const WireCommand& answer) {
        if (answer.is(remoting::ResponseCode::success)) messages = pulled_messages(answer);
    });
    receive(request_frame(remoting::RequestCode::pull_message, -1, header));
    answered_ = outer;
    return messages;
}

}  // namespace hufu::simulation
