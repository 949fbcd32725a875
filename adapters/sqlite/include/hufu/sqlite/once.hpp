// One effect per message and consumer group, in one SQLite transaction.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <hufu/core/handler.hpp>
#include <hufu/idempotency/grade.hpp>
#include <hufu/idempotency/http.hpp>
#include <hufu/idempotency/once.hpp>
#include <hufu/idempotency/outgoing.hpp>
#include <hufu/sqlite/database.hpp>

namespace hufu::sqlite {

/// What a user writes: changes rows, appends messages, says how it went. Must neither commit nor roll back. An exception
/// rolls everything back and counts as `retry`. Return `idempotency::EffectResult` to keep bytes for duplicates.
using Effect = std::function<idempotency::EffectResult(Transaction&, const Message&)>;

/// Wraps `effect` for a consumer: guard row (inserted first), the effect's rows and its outgoing messages are one
/// transaction. The effect of a message takes place once for `group`, however often the message is delivered, here or in
/// other processes; duplicates end as `already_done`.
///
/// Where the message asks `group` for a receipt (`outbox::Receipts`), it is appended to this file's outbox in the same
/// transaction; a duplicate appends it again, `reject` a refusal. A relay on this outbox carries them to the sender.
///
/// The handler may run on many threads at once; effects on one file take turns. `database` outlives it.
///
///     consumer.run(hufu::sqlite::once(database, "stock", [&](hufu::sqlite::Transaction& tx, const hufu::Message& message) {
///         reserve_stock(tx, parse_order(message));
///         return hufu::Handled::done;
///     }), stop);
[[nodiscard]] Handler once(Database& database, std::string group, Effect effect);

/// An effect that sends: what it adds to `Outgoing` commits with it.
using Process = std::function<idempotency::EffectResult(Transaction&, const Message&, idempotency::Outgoing& outgoing)>;

/// Consume, process, produce in one call: guard row, effect and outgoing messages are one transaction. What is sent has ids
/// that follow from group, incoming id and place (`idempotency::derived_id`), the same however often the effect is run.
[[nodiscard]] Handler once(Database& database, std::string group, Process process);
/// `process` as an effect, for whatever takes one.
[[nodiscard]] Effect sending(std::string group, Process process);

/// The same for batches: the guard rows and effects of up to `ConsumerOptions::batch_max` messages are one transaction with one
/// commit. A message that fails takes no other with it (`idempotency::run_once_batch`).
[[nodiscard]] BatchHandler once_batch(Database& database, std::string group, Effect effect);
[[nodiscard]] BatchHandler once_batch(Database& database, std::string group, Process process);
/// Says beforehand for how long messages are remembered and how late duplicates may come. Throws `hufu::Exception` with the
/// arithmetic where the window is too short (`idempotency::check`). Clean up by the same declaration (`purge_guards`).
[[nodiscard]] Handler once(Database& database, const idempotency::GuardDeclaration& declaration, Effect effect);

/// The same for one message, with the stored result: for edges that answer a caller. `first_stored_at` is when the
/// message (or request) was first accepted anywhere; see `idempotency::first_stored_at`.
[[nodiscard]] idempotency::OnceOutcome run_once(Database& database, const idempotency::GuardKey& key,
                                                SystemTime first_stored_at,
                                                const std::function<idempotency::EffectResult(Transaction&)>& effect);

/// The HTTP edge on this database: guard row, the application's changes and its answer are one transaction. A repeated request
/// waits for its turn on the file, up to the database's busy time-out, and is answered 409 then. A request without a key runs in
/// a transaction that is committed unless it answers 500 or more. Exceptions of `application` pass through, after the roll-back.
[[nodiscard]] idempotency::HttpReply answer_once(Database& database, const idempotency::HttpGuard& edge,
                                                 const idempotency::HttpCall& call,
                                                 const std::function<idempotency::HttpReply(Transaction&)>& application);

using idempotency::clock_allowance;
using idempotency::Purged;

/// Deletes the guard rows of the declared group that are older than its window, in short transactions, and first moves the
/// group's horizon up to `clock_allowance` after the cut. Refuses what `idempotency::check_retention` does.
Result<Purged> purge_guards(Database& database, const idempotency::GuardDeclaration& declaration);
/// The same where nobody has declared how late duplicates may come: `retention` must exceed how long a message can live.
Result<Purged> purge_guards(Database& database, const std::string& group, std::chrono::hours retention);

/// The groups that have guard rows, at most a thousand of them.
Result<std::vector<std::string>> guard_groups(Database& database);

}  // namespace hufu::sqlite
