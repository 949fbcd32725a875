#include "broker_load.hpp"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <optional>
#include <stdexcept>

#include <hufu/core/clock.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/properties.hpp>

namespace hufu::fault {
namespace {

constexpr std::int32_t queues = 6;
constexpr std::chrono::seconds delayed_within{10};  // delays are shorter by far
constexpr std::size_t window = 64;
constexpr std::uint64_t batch_messages = 8;

/// A request on its way: the messages from `first` on.
struct InFlight {
    std::int32_t opaque = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 1;
};

std::string properties_of(SendKind kind, std::uint64_t number) {
    std::string properties;
    if (kind == SendKind::no_wait) remoting::append_property(properties, remoting::property::wait, "false");
    if (kind == SendKind::delayed) {
        remoting::append_property(properties, remoting::property::timer_delay_ms, std::to_string(10 + number * 37 % 300));
    }
    return properties;
}

InFlight send_next(RawClient& client, QueueLedger& ledger, std::int32_t opaque) {
    const SendKind kind = kind_of(ledger.queue_id());
    InFlight sent{.opaque = opaque, .first = ledger.next()};
    if (kind != SendKind::batch) {
        client.send(opaque, topic, ledger.queue_id(), make_body(ledger.queue_id(), sent.first),
                    properties_of(kind, sent.first));
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
        case 5: return SendKind::delayed;
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

namespace {

std::vector<Stored> read_queue(std::uint16_t port, const QueueLedger& ledger) {
    RawClient client{port};
    auto stored = client.read_all(topic, ledger.queue_id());
    if (!stored) throw std::runtime_error{"reading back queue " + std::to_string(ledger.queue_id()) + " failed"};
    return std::move(*stored);
}

Verdict read_delayed(std::uint16_t port, const QueueLedger& ledger) {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + delayed_within;
    for (;;) {
        const Verdict verdict = ledger.check_unordered(read_queue(port, ledger));
        if (verdict.lost == 0 || clock.steady_now() > give_up) return verdict;
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{20}, {});
    }
}

}  // namespace

Verdict read_back(std::uint16_t port, const Ledgers& ledgers) {
    Verdict verdict;
    for (const auto& ledger : ledgers) {
        verdict.add(kind_of(ledger->queue_id()) == SendKind::delayed ? read_delayed(port, *ledger)
                                                                     : ledger->check(read_queue(port, *ledger)));
    }
    return verdict;
}

std::uint64_t acknowledged_in(const Ledgers& ledgers) {
    std::uint64_t count = 0;
    for (const auto& ledger : ledgers) count += ledger->acknowledged_count();
    return count;
}

void wait_acknowledged(const Ledgers& ledgers, std::uint64_t more) {
    std::vector<std::uint64_t> wanted;
    for (const auto& ledger : ledgers) {
        const bool promised = kind_of(ledger->queue_id()) != SendKind::no_wait || ledger->every_answer_counts();
        wanted.push_back(promised ? ledger->acknowledged_count() + more : 0);
    }
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + std::chrono::seconds{20};
    const auto reached = [&] {
        for (std::size_t queue = 0; queue < ledgers.size(); ++queue) {
            if (ledgers[queue]->acknowledged_count() < wanted[queue]) return false;
        }
        return true;
    };
    while (!reached() && clock.steady_now() < give_up) {
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{2}, {});
    }
}

void complain(const char* fault, const Verdict& verdict) {
    if (verdict.held()) return;
    std::fprintf(stderr, "%s: broken: lost %lu, duplicated %lu, reordered %lu, invented %lu, moved %lu\n", fault,
                 verdict.lost, verdict.duplicated, verdict.reordered, verdict.invented, verdict.moved);
}

}  // namespace hufu::fault
