#include "broker_load.hpp"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <optional>
#include <stdexcept>

#include <hufu/remoting/headers.hpp>

namespace hufu::fault {
namespace {

constexpr std::int32_t queues = 5;
constexpr std::size_t window = 64;
constexpr std::uint64_t batch_messages = 8;

/// A request on its way: the messages from `first` on.
struct InFlight {
    std::int32_t opaque = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 1;
};

InFlight send_next(RawClient& client, QueueLedger& ledger, std::int32_t opaque) {
    const SendKind kind = kind_of(ledger.queue_id());
    InFlight sent{.opaque = opaque, .first = ledger.next()};
    if (kind != SendKind::batch) {
        client.send(opaque, topic, ledger.queue_id(), make_body(ledger.queue_id(), sent.first), kind != SendKind::no_wait);
        return sent;
    }
    std::vector<std::string> bodies{make_body(ledger.queue_id(), sent.first)};
    for (; sent.count < batch_messages; ++sent.count) {
        bodies.push_back(make_body(ledger.queue_id(), ledger.next()));
    }
    client.send_batch(opaque, topic, ledger.queue_id(), bodies);
    return sent;
}

/// Notes what the answer promises.
void take(const remoting::CommandView& answer, const InFlight& sent, QueueLedger& ledger) {
    const auto header = remoting::SendResponse::decode(answer);
    if (answer.response_code() != remoting::ResponseCode::success || !header) return;
    if (header->durability == remoting::durability::async && !ledger.every_answer_counts()) return;
    for (std::uint64_t i = 0; i < sent.count; ++i) {
        ledger.acknowledged(sent.first + i, header->queue_offset + static_cast<std::int64_t>(i));
    }
}

}  // namespace

SendKind kind_of(std::int32_t queue_id) {
    switch (queue_id) {
        case 2:
        case 3: return SendKind::batch;
        case 4: return SendKind::no_wait;
        default: return SendKind::single;
    }
}

Ledgers fresh_ledgers(bool every_answer_counts) {
    Ledgers ledgers;
    for (std::int32_t queue = 0; queue < queues; ++queue)
        ledgers.push_back(std::make_unique<QueueLedger>(queue, every_answer_counts));
    return ledgers;
}

void produce(std::uint16_t port, QueueLedger& ledger) {
    RawClient client{port};
    std::deque<InFlight> in_flight;
    std::int32_t opaque = 0;
    while (client.connected()) {
        while (in_flight.size() < window) in_flight.push_back(send_next(client, ledger, ++opaque));
        if (!client.flush()) return;
        const auto* answer = client.receive();
        if (answer == nullptr) return;
        const auto sent = std::find_if(in_flight.begin(), in_flight.end(),
                                       [&](const InFlight& one) { return one.opaque == answer->opaque; });
        if (sent == in_flight.end()) continue;
        take(*answer, *sent, ledger);
        in_flight.erase(sent);
    }
}

void consume(std::uint16_t port, QueueLedger& ledger) {
    RawClient client{port};
    std::int64_t offset = 0;
    while (client.connected()) {
        const auto stored = client.read_all(topic, ledger.queue_id(), offset);
        if (!stored) return;
        ledger.seen(*stored);
        if (!stored->empty()) offset = stored->back().queue_offset + 1;
    }
}

std::optional<remoting::ResponseCode> send_one(RawClient& client, QueueLedger& ledger) {
    const InFlight sent = send_next(client, ledger, 1);
    if (!client.flush()) return std::nullopt;
    const auto* answer = client.receive();
    if (answer == nullptr) return std::nullopt;
    take(*answer, sent, ledger);
    return answer->response_code();
}

Verdict read_back(std::uint16_t port, const Ledgers& ledgers) {
    Verdict verdict;
    for (const auto& ledger : ledgers) {
        RawClient client{port};
        const auto stored = client.read_all(topic, ledger->queue_id());
        if (!stored) throw std::runtime_error{"reading back queue " + std::to_string(ledger->queue_id()) + " failed"};
        verdict.add(ledger->check(*stored));
    }
    return verdict;
}

std::uint64_t acknowledged_in(const Ledgers& ledgers) {
    std::uint64_t count = 0;
    for (const auto& ledger : ledgers) count += ledger->acknowledged_count();
    return count;
}

void complain(const char* fault, const Verdict& verdict) {
    if (verdict.held()) return;
    std::fprintf(stderr, "%s: broken: lost %lu, duplicated %lu, reordered %lu, invented %lu, moved %lu\n", fault,
                 verdict.lost, verdict.duplicated, verdict.reordered, verdict.invented, verdict.moved);
}

}  // namespace hufu::fault
