// What is written down so that a stranger can check the promises by reading the databases.
#pragma once

#include <optional>
#include <string_view>

#include <hufu/core/message.hpp>

#include "domain/event.hpp"
#include "storage/store.hpp"

namespace shop {

/// Every service has these tables. They only grow, and no key of theirs hides a double: a second effect of the same
/// event is a second row.
///
/// `events`: what this service told the others, written in the transaction that appends the message.
/// `effects`: what a message did here, written in the effect's own transaction; `place` is the order in which effects
/// took place, `seq` the event's version.
/// `absorbed`: deliveries that the guard turned away.
inline constexpr std::string_view evidence_tables[] = {
    "create table if not exists events (place {serial}, topic text not null, order_id text not null, seq bigint not null,"
    " kind text not null, committed_at_us bigint not null)",
    "create table if not exists effects (place {serial}, topic text not null, order_id text not null, seq bigint not null,"
    " kind text not null, message_id text not null, committed_at_us bigint not null, effect_at_us bigint not null)",
    "create table if not exists absorbed (place {serial}, message_id text not null, at_us bigint not null)",
};

/// The evidence alone, for an event whose message is sent with this transaction by `Store::send`.
void record_event(Transaction& tx, const Event& event);

/// Appends the event's message to the outbox, with its evidence. `deliver_at` makes it a delayed one.
void announce(Transaction& tx, const Event& event, std::optional<hufu::SystemTime> deliver_at = {});

/// Writes down that `message` took effect in this transaction.
void record_effect(Transaction& tx, const Event& event, const hufu::Message& message);

/// Writes down that a duplicate of `message` was turned away.
void record_absorbed(Transaction& tx, const hufu::Message& message);

}  // namespace shop
