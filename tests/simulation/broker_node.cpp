#include "broker_node.hpp"

#include <chrono>

#include <hufu/broker/message_keys.hpp>
#include <hufu/remoting/checksum.hpp>
#include <hufu/remoting/record.hpp>

namespace hufu::simulation {

using namespace std::chrono_literals;

namespace {

broker::LogOptions small_log() {
    broker::LogOptions options;
    options.keys_of = broker::keys_of_record;
    options.segment_bytes = 32 << 10;
    options.first_segment_bytes = 16 << 10;
    options.record_bytes_max = 4 << 10;
    options.pending_bytes_max = 16 << 10;
    options.chore_retry = 20ms;
    return options;
}

std::string position_key(std::size_t queue) { return "position/" + std::to_string(queue); }

}  // namespace

void BrokerNode::start() {
    ++life_;
    auto opened = broker::Log::open(disk_.directory(), small_log(), events_.clock());
    if (!opened) {
        events_.after(30ms, [this, life = life_] {
            if (life == life_) start();
        });
        return;
    }
    log_ = std::move(*opened);
    pump_ = std::make_unique<LogPump>(events_, *log_, [this](const broker::Outcome& outcome) { settle(outcome); });
    handles_.clear();
    for (std::size_t queue = 0; queue < queues; ++queue) {
        handles_.push_back(log_->open_queue("orders", static_cast<std::int32_t>(queue)));
    }
    pump_->pump();
}

void BrokerNode::stop_process() {
    ++life_;
    waiting_.clear();
    pump_.reset();
    log_.reset();
}

void BrokerNode::crash() {
    stop_process();
    disk_.crash();
}

void BrokerNode::kill() {
    stop_process();
    disk_.kill();
}

void BrokerNode::publish(std::size_t queue, const std::vector<std::string>& bodies, Reply reply) {
    std::uint64_t ticket = 0;
    for (const std::string& body : bodies) {
        remoting::Record record;
        record.queue_id = static_cast<std::int32_t>(queue);
        record.body = body;
        record.body_crc = remoting::body_checksum(body);
        record.topic = "orders";
        std::vector<std::byte> bytes(remoting::record_size(record));
        remoting::encode_record(bytes, record);
        const auto appended = log_->append(handles_[queue], 0, bytes);
        if (!appended) return reply(false);
        ticket = appended->ticket;
    }
    waiting_.push_back({ticket, std::move(reply)});
    pump_->pump();
}

void BrokerNode::settle(const broker::Outcome& outcome) {
    while (!waiting_.empty() && waiting_.front().ticket <= outcome.through) {
        const Reply reply = std::move(waiting_.front().reply);
        waiting_.pop_front();
        reply(outcome.durable);
    }
}

BrokerNode::Pulled BrokerNode::pull(std::size_t queue, std::uint64_t offset, std::uint32_t max) {
    Pulled pulled;
    std::vector<std::byte> bytes;
    broker::ReadLimits limits;
    limits.records_max = max;
    const auto result = log_->read(handles_[queue], offset, limits, {}, bytes);
    pulled.next_offset = result.next_offset;
    for (std::span<const std::byte> rest = bytes; !rest.empty();) {
        const auto record = remoting::decode_record(rest);
        if (!record) {
            pulled.messages.push_back({offset, "not a record", false});
            break;
        }
        pulled.messages.push_back({static_cast<std::uint64_t>(record->queue_offset), std::string{record->body},
                                   remoting::body_checksum(record->body) == record->body_crc});
        rest = rest.subspan(remoting::record_size(*record));
    }
    return pulled;
}

void BrokerNode::commit_position(std::size_t queue, std::uint64_t offset) {
    // Refused while the log is fenced or full: the position is sent again later.
    if (log_->put_state(position_key(queue), std::to_string(offset))) pump_->pump();
}

std::uint64_t BrokerNode::committed_position(std::size_t queue) {
    const auto text = log_->state(position_key(queue));
    const std::uint64_t position = text ? std::stoull(std::string{*text}) : 0;
    return std::min(position, log_->max_offset(handles_[queue]));
}

std::uint64_t BrokerNode::max_offset(std::size_t queue) const { return log_->max_offset(handles_[queue]); }

}  // namespace hufu::simulation
