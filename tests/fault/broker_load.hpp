// Producers and consumers of the fault runs: sends of every kind, and a ledger of what was promised.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker_ledger.hpp"
#include "raw_client.hpp"

namespace hufu::fault {

inline constexpr std::string_view topic = "fault";

/// How the messages of a queue are sent.
enum class SendKind : std::uint8_t {
    single,
    batch,    ///< eight at a time: all of them are there, or none
    delayed,  ///< for a few hundred milliseconds: there once, in whatever order
    no_wait,  ///< WAIT=false: answered before the flush, so nothing is promised but order and content
};

[[nodiscard]] SendKind kind_of(std::int32_t queue_id);

using Ledgers = std::vector<std::unique_ptr<QueueLedger>>;

/// One for each queue, all kinds among them; see QueueLedger for the flag.
[[nodiscard]] Ledgers fresh_ledgers(bool every_answer_counts);

/// Publishes to one queue, `window` requests in flight, until the connection is lost.
void produce(std::uint16_t port, QueueLedger& ledger);
/// Reads what is readable, again and again: what a consumer was served must stay.
void consume(std::uint16_t port, QueueLedger& ledger);
/// Sends one message or batch and waits for the answer; the answer's code, or nothing when the connection is gone.
std::optional<remoting::ResponseCode> send_one(RawClient& client, QueueLedger& ledger);

/// Reads every queue and compares; delayed messages are given time to come. Throws when a queue cannot be read.
[[nodiscard]] Verdict read_back(std::uint16_t port, const Ledgers& ledgers);
[[nodiscard]] std::uint64_t acknowledged_in(const Ledgers& ledgers);

/// Waits, for 20 s at most, until every queue that is promised anything has `more` acknowledged messages than now: however
/// slow the machine is, there is load of each kind.
void wait_acknowledged(const Ledgers& ledgers, std::uint64_t more);

/// Says what is broken on standard error, if anything is.
void complain(const char* fault, const Verdict& verdict);

}  // namespace hufu::fault
