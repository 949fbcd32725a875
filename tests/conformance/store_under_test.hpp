// What a store brings to the conformance suite.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <hufu/core/consumer_ports.hpp>
#include <hufu/core/handler.hpp>
#include <hufu/core/message.hpp>
#include <hufu/idempotency/once.hpp>
#include <hufu/idempotency/outgoing.hpp>
#include <hufu/outbox/store.hpp>
#include <hufu/txmsg/producer.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::conformance {

/// A transaction producer of the store's adapter.
class ProducerUnderTest {
public:
    virtual ~ProducerUnderTest() = default;
    /// The local transaction inserts an entry, then does what `local` says (it may throw).
    virtual txmsg::TransactionResult send(std::vector<Message> messages, const std::function<txmsg::Decision()>& local) = 0;
};

/// One fresh database with Hufu's schema and a table of effects, for one test. Failures to set things up throw.
class StoreUnderTest {
public:
    virtual ~StoreUnderTest() = default;

    [[nodiscard]] virtual outbox::Store& store() = 0;

    /// Appends `messages` in one transaction, with a business row, and commits it or rolls it back.
    virtual void append(const std::vector<Message>& messages, bool commit = true) = 0;
    /// Appends one message that asks for receipts.
    virtual void append_asking(const Message& message, const outbox::Receipts& receipts, bool commit = true) = 0;
    /// Makes every message that was sent overdue, as if time had passed.
    virtual void make_receipts_overdue() = 0;
    /// Leaves an overdue row of `id`, whatever else is known of it.
    virtual void leave_due_row(const MessageId& id) = 0;
    /// Delivers `message` to a consumer of `group` made by the adapter's `once`; the effect as in `deliver`.
    virtual HandlerResult consume(const std::string& group, const Message& message,
                                  const std::function<idempotency::EffectResult()>& effect) = 0;
    /// Lets the running lease end, as if its time had passed.
    virtual void expire_lease() = 0;
    /// Makes every delayed row due, as if time had passed.
    virtual void make_delayed_due() = 0;

    /// Delivers `id`, guarded for `group`. The effect adds one to a counter in the same transaction; `effect` then decides.
    virtual idempotency::OnceOutcome deliver(const std::string& group, const MessageId& id, SystemTime first_stored_at,
                                             const std::function<idempotency::EffectResult()>& effect) = 0;
    /// A handler that adds one to the counter and sends what `effect` says, on connections of its own: for use in a forked
    /// process too.
    [[nodiscard]] virtual Handler processor(
        const std::string& group,
        std::function<idempotency::EffectResult(const Message&, idempotency::Outgoing&)> effect) = 0;
    /// A handler of batches, each effect of which adds one to the counter.
    [[nodiscard]] virtual BatchHandler batch_handler(const std::string& group,
                                                     std::function<idempotency::EffectResult(const Message&)> effect) = 0;
    [[nodiscard]] virtual std::unique_ptr<ParkedKeys> parked_keys(const std::string& group) = 0;
    [[nodiscard]] virtual std::unique_ptr<AttemptRows> attempt_rows(const std::string& group) = 0;
    [[nodiscard]] virtual Result<void> reopen_parked_key(const std::string& group, const ConsumerKey& key,
                                                         const outbox::AuditNote& note) = 0;
    [[nodiscard]] virtual Result<std::uint64_t> purge_attempt_rows(const std::string& group, std::chrono::seconds age) = 0;
    /// The counter, as committed.
    [[nodiscard]] virtual int effects() = 0;
    /// Deletes the group's guard rows that are older than an hour, after making all of them two hours old.
    virtual void purge_old_guards(const std::string& group) = 0;

    /// The longest that `verdicts()` may wait for a lock.
    static constexpr std::chrono::milliseconds check_wait{300};
    [[nodiscard]] virtual txmsg::VerdictStore& verdicts() = 0;
    [[nodiscard]] virtual std::unique_ptr<ProducerUnderTest> producer(txmsg::HalfPublisher& halves, std::string group,
                                                                      Clock& clock) = 0;
    /// How many entries are committed.
    [[nodiscard]] virtual int entries() = 0;
    /// Makes every verdict two hours older than it is.
    virtual void age_verdicts() = 0;
    virtual std::int64_t verdict_rows() = 0;
    virtual void drop_verdict_table() = 0;

    /// The database's clock.
    [[nodiscard]] virtual SystemTime now() = 0;
};

/// How a store joins: INSTANTIATE_TEST_SUITE_P(Name, OutboxStore, testing::Values(Factory{…})), the same for Guard.
struct Factory {
    std::string name;
    std::function<std::unique_ptr<StoreUnderTest>()> make;
};

inline void PrintTo(const Factory& factory, std::ostream* out) { *out << factory.name; }

}  // namespace hufu::conformance
