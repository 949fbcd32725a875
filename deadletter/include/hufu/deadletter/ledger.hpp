// The audit of dead letters: who settled which of them, when and why. It is also what makes a job resumable.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <hufu/core/error.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/deadletter/letter.hpp>
#include <hufu/deadletter/topic_reader.hpp>

namespace hufu::deadletter {

/// The topic the audit lies in, on the broker of the dead letters themselves: it survives with them, every operator sees
/// it, and a broker that keeps topics for a time keeps a record longer than the letter it is about (which is older).
inline constexpr std::string_view audit_topic = "hufu-dlq-audit";

enum class Act : std::uint8_t { redrive, discard };
[[nodiscard]] std::string_view to_string(Act act) noexcept;

struct SettledLetter {
    std::int64_t offset = 0;
    MessageId id = {};
    friend bool operator==(const SettledLetter&, const SettledLetter&) = default;
};

/// One message of the audit topic.
struct AuditRecord {
    enum class Kind : std::uint8_t {
        begun,      ///< a job begins: `text` is what it was asked for
        took_over,  ///< it goes on although the job named in `text` never ended
        settled,    ///< `letters` of `queue` are dealt with
        alive,      ///< it is still there
        ended,      ///< `text` says how it went
    };
    Kind kind = Kind::begun;
    std::string job = {};
    Act act = Act::redrive;
    std::string topic = {};  ///< of the dead letters
    std::string actor = {};
    std::string reason = {};
    std::string text = {};
    std::string queue = {};
    std::vector<SettledLetter> letters = {};
    friend bool operator==(const AuditRecord&, const AuditRecord&) = default;

    [[nodiscard]] std::string to_json() const;
    /// `corrupt` for anything else than what `to_json` writes.
    static Result<AuditRecord> parse(std::string_view json);
    /// The message that carries it; all records of a dead-letter topic keep their order.
    [[nodiscard]] Message to_message(const MessageId& id) const;
};

/// What the records read so far add up to. A plain value.
class Ledger {
public:
    struct Job {
        std::string id = {};
        Act act = Act::redrive;
        std::string topic = {};
        std::string actor = {};
        std::string reason = {};
        std::string asked = {};   ///< text of its beginning
        std::string ending = {};  ///< text of its end
        bool ended = false;
        std::string taken_over_by = {};  ///< a later job that did not wait for it
        std::uint64_t settled = 0;
        SystemTime begun_at = {};  ///< times are the broker's
        SystemTime heard_at = {};
    };
    /// How a letter was settled.
    struct Settlement {
        MessageId id = {};
        std::size_t job = 0;  ///< index in `jobs()`
    };

    /// Records must come in the order of the audit topic.
    void apply(const AuditRecord& record, SystemTime stored_at);

    /// Null: the letter is open. A settlement counts for the message it names only, so that a dead-letter topic that was
    /// deleted and made again is not taken for the old one.
    [[nodiscard]] const Settlement* settlement(const std::string& topic, const Place& place, const MessageId& id) const;
    /// How many places of the range are settled.
    [[nodiscard]] std::uint64_t settled_in(const std::string& topic, const QueueRange& range) const;
    /// In the order they began.
    [[nodiscard]] const std::vector<Job>& jobs() const noexcept { return jobs_; }
    [[nodiscard]] const Job* find(const std::string& job) const;
    /// A job on the same topic that began before `job`, did not end, and was heard of less than `silence` before `job`
    /// was: it may still be at work. Null: there is none.
    [[nodiscard]] const Job* rival_of(const std::string& job, std::chrono::milliseconds silence) const;
    /// Jobs that never ended and that `rival_of` takes for dead, on the topic of `job`, begun before it.
    [[nodiscard]] std::vector<std::string> abandoned_before(const std::string& job) const;

private:
    std::vector<Job> jobs_;
    std::unordered_map<std::string, std::size_t> by_id_;
    // topic -> queue -> offset
    std::map<std::string, std::map<std::string, std::unordered_map<std::int64_t, Settlement>>> settled_;
};

}  // namespace hufu::deadletter
