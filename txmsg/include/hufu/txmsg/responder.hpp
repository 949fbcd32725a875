// Answers the broker's checks for a service.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/log.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/txmsg/half_publisher.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::txmsg {

/// A checker of the user's: was this transaction committed? `unknown` asks to be asked again. Called on a thread of the
/// responder, several at once. An exception counts as `unknown`. Should return soon after the stop token asks.
///
/// It has no fence: between its `rollback` and a local transaction that commits later nobody stands. The verdict table has.
using Checker = std::function<Verdict(const Check&, std::stop_token)>;

struct ResponderOptions {
    std::string group = {};
    std::set<std::string> handlers = {};           ///< answered from the verdict store, beside "" (no handler)
    std::map<std::string, Checker> checkers = {};  ///< by handler (message type): answered by these
    std::chrono::milliseconds answer_within{10'000};
    std::size_t running_per_handler = 4;  ///< threads are made when needed, at most this many per handler
    std::size_t waiting_max = 10'000;     ///< checks that wait for a thread; more are answered `unknown`
    MetricsRegistry* metrics = nullptr;   ///< hufu_tx_checks_total and others, by group; outlives the responder
    Log* log = nullptr;                   ///< outlives the responder
};

/// Registers the service at the brokers and answers what they ask, from its construction to its destruction. Any process of
/// the service can answer for all of them: what it says comes from the verdict store, not from what this process remembers.
/// Construct it before the first send (a producer of an adapter does): a process that has just started then answers for
/// what another one left behind.
///
/// Thread-safe. Borrows `halves`, `store` and `clock`. A check is answered within `answer_within`, with `unknown` where
/// nothing better is known by then; silence is kept about another store's transactions and about handlers that are not
/// registered. See `ResponderMachine`.
class Responder {
public:
    /// `store` null: only `checkers` answer. Throws `hufu::Exception` when the store cannot tell its identity (database
    /// away, schema missing, a standby) or the publisher refuses the group.
    Responder(HalfPublisher& halves, VerdictStore* store, ResponderOptions options, Clock& clock = system_clock());
    /// Unregisters, leaves unanswered what waits, and returns when running checkers have returned.
    ~Responder();
    Responder(const Responder&) = delete;
    Responder& operator=(const Responder&) = delete;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hufu::txmsg
