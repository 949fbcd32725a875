// Carries out a redrive or a discard: reads, publishes, writes the audit.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <stop_token>
#include <string>

#include <hufu/core/clock.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/core/random.hpp>
#include <hufu/deadletter/redrive_machine.hpp>
#include <hufu/deadletter/topic_reader.hpp>

namespace hufu::deadletter {

/// Reads what of the audit was not read yet. Records that are none of Hufu's are counted and left out.
class AuditReader {
public:
    /// Borrows `reader` for its life.
    explicit AuditReader(TopicReader& reader) : reader_{reader} {}
    /// A broker without the audit topic has an empty audit.
    Result<void> read_into(Ledger& ledger);
    [[nodiscard]] std::uint64_t foreign() const noexcept { return foreign_; }

private:
    TopicReader& reader_;
    std::map<std::string, std::int64_t> next_;  // by queue
    std::uint64_t foreign_ = 0;
};

/// Who asks, and why: it goes into the audit.
struct Mandate {
    std::string actor = {};
    std::string reason = {};
    std::string asked = {};  ///< what for, in words
};

struct Pace {
    double per_second = 0;    ///< most letters a second; 0: as fast as the broker takes them
    std::size_t batch = 500;  ///< most letters published, and then audited, together
    /// An unreachable broker is waited for so long, then the job ends; what is settled stays settled.
    std::chrono::milliseconds patience{60'000};
    /// A job that wrote nothing for so long is taken for dead by the next one.
    std::chrono::milliseconds silence{10'000};
};

/// One job. `run` is called once.
///
/// Delivery: a letter counts as settled after the broker confirmed it and then its audit record. A job that dies between
/// the two sends up to `Pace::batch` letters a second time when it is run again, under their own ids, so that a guard
/// absorbs them. Letters that die again during the job lie behind its end and are not touched by it: it ends.
/// Two jobs on one dead-letter topic do not work at the same time: the later one waits for `Pace::silence`, and ends with
/// `busy` when the earlier one lives.
class Redriver {
public:
    struct Environment {
        TopicReader& reader;
        Publisher& publisher;
        Clock& clock = system_clock();
        Random& random = system_random();
    };
    /// Called after every page, on the thread of `run`, when what it tells is in the audit. An error ends the job.
    using OnPage = std::function<Result<void>(const std::vector<LetterOutcome>& outcomes, const RedriveFigures& figures)>;

    Redriver(std::string topic, RedriveOptions options, Mandate mandate, Pace pace, Environment environment);

    /// Works from the first letter to the one that was last when it began, or until `stop`. `cancelled` when stopped.
    Result<void> run(const OnPage& on_page, const std::stop_token& stop);
    [[nodiscard]] const RedriveFigures& figures() const noexcept { return machine_.figures(); }
    [[nodiscard]] const std::string& job() const noexcept { return job_; }
    /// Letters confirmed by the broker whose audit record is not: the next job sends them again.
    [[nodiscard]] std::uint64_t unrecorded() const noexcept { return unrecorded_; }

private:
    Result<void> begin(const std::stop_token& stop);
    Result<void> work(const OnPage& on_page, const std::stop_token& stop);
    Result<void> work_queue(const QueueRange& range, const OnPage& on_page, const std::stop_token& stop);
    Result<void> settle(RedriveMachine::Work work, const std::string& queue, const std::stop_token& stop);
    Result<void> publish(RedriveMachine::Work work, const std::stop_token& stop);
    Result<void> record(AuditRecord::Kind kind, std::string text, const std::stop_token& stop);
    Result<void> record_settled(const std::string& queue, const std::stop_token& stop);
    Result<void> write(const AuditRecord& record, const std::stop_token& stop);
    Result<void> still_ours(const std::stop_token& stop);
    Result<void> pause(std::size_t letters, const std::stop_token& stop);
    [[nodiscard]] AuditRecord record_of(AuditRecord::Kind kind, std::string text) const;
    std::vector<PublishOutcome> publish_and_wait(std::span<const Message> messages);

    const std::string topic_;
    const RedriveOptions options_;
    const Mandate mandate_;
    const Pace pace_;
    Environment environment_;
    MessageIdGenerator ids_;
    const std::string job_;
    Ledger ledger_;
    AuditReader audit_;
    RedriveMachine machine_;
    SteadyTime looked_at_{};  // into the audit, for a job that took this one for dead
    SteadyTime free_at_{};    // the rate: not before
    std::uint64_t unrecorded_ = 0;
};

/// Calls `each` with every letter of the topic, queue by queue, and how it was settled (null: open), until it says false.
Result<void> each_letter(TopicReader& reader, const Ledger& ledger, const std::string& topic,
                         const std::function<bool(DeadLetter letter, const Ledger::Settlement* settlement)>& each);

}  // namespace hufu::deadletter
