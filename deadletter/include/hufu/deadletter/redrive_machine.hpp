// What a redrive (or a discard) decides: which letters go, which stay, and why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include <hufu/core/publisher.hpp>
#include <hufu/deadletter/ledger.hpp>
#include <hufu/deadletter/letter.hpp>

namespace hufu::deadletter {

struct RedriveOptions {
    Act act = Act::redrive;
    Filter filter = {};
    std::string to_topic = {};       ///< empty: where each letter came from
    std::uint32_t redrives_max = 3;  ///< a letter that was sent again so often is refused
    bool force = false;              ///< not even then
    bool out_of_order = false;       ///< also letters whose key has an earlier one that stays
    std::uint64_t limit = 0;         ///< most letters to settle; 0: all
    bool dry_run = false;            ///< decide and tell, settle nothing
};

/// What became of a letter.
struct LetterOutcome {
    enum class What : std::uint8_t {
        redriven,
        discarded,
        would_redrive,  ///< of a dry run
        would_discard,
        refused,   ///< the loop guard: it came back too often
        held,      ///< an earlier letter of its key stays
        rejected,  ///< the broker will never accept it
        failed,    ///< not confirmed in time; it may be at the broker, and is sent again under its id by the next run
    } what = What::redriven;
    Place place = {};
    MessageId id = {};
    std::string topic = {};  ///< where it goes
    std::string ordering_key = {};
    std::string why = {};  ///< of one that stays
};
[[nodiscard]] std::string_view to_string(LetterOutcome::What what) noexcept;

struct RedriveFigures {
    std::uint64_t read = 0;
    std::uint64_t settled_before = 0;
    std::uint64_t matched = 0;  ///< open and meant by the filter
    std::uint64_t settled = 0;  ///< redriven or discarded; of a dry run: those that would be
    std::uint64_t refused = 0;
    std::uint64_t held = 0;
    std::uint64_t rejected = 0;
    std::uint64_t failed = 0;
    std::uint64_t sent_again = 0;  ///< publishes that were not confirmed and were repeated
    [[nodiscard]] std::uint64_t stayed() const noexcept { return refused + held + rejected + failed; }
};

/// Decides about letters, page by page and queue by queue, in their order. No I/O, no time.
///
/// Order: letters of a key are redriven in the order they lie in. When one stays (loop guard, filter, rejected), the later
/// ones of its key stay too, unless `out_of_order`.
class RedriveMachine {
public:
    /// Letters to publish (`messages[i]` is of `letters[i]`), or to discard (no messages).
    struct Work {
        std::vector<DeadLetter> letters = {};
        std::vector<Message> messages = {};
    };

    /// Borrows `ledger` for its life. `topic`: where the letters lie.
    RedriveMachine(RedriveOptions options, std::string topic, const Ledger& ledger);

    /// What to do about the next messages of a queue.
    [[nodiscard]] Work plan(std::vector<ReadMessage> page);
    /// `outcomes[i]` is of `work.messages[i]`. Returns what must be published once more.
    [[nodiscard]] Work published(Work work, std::span<const PublishOutcome> outcomes);
    /// They are dealt with without being published.
    void discarded(Work work);
    /// The time for it is over.
    void give_up(Work work, const std::string& why);

    /// What was settled since the last call, to be written into the audit; all of one queue when called per page.
    [[nodiscard]] std::vector<SettledLetter> take_settled() { return std::exchange(settled_, {}); }
    [[nodiscard]] std::vector<LetterOutcome> take_outcomes() { return std::exchange(outcomes_, {}); }
    [[nodiscard]] const RedriveFigures& figures() const noexcept { return figures_; }
    /// The limit is reached: read no more.
    [[nodiscard]] bool full() const noexcept { return options_.limit > 0 && taken_ >= options_.limit; }

private:
    void settle(const DeadLetter& letter, LetterOutcome::What what);
    void stay(const DeadLetter& letter, LetterOutcome::What what, std::string why);
    void tell(const DeadLetter& letter, LetterOutcome::What what, std::string why);
    [[nodiscard]] std::string target_of(const DeadLetter& letter) const;
    /// Empty: nothing speaks against it.
    [[nodiscard]] std::string guarded(const DeadLetter& letter) const;

    const RedriveOptions options_;
    const std::string topic_;
    const Ledger& ledger_;
    std::unordered_set<std::string> keys_behind_;  // "topic key" of letters that stay
    std::uint64_t taken_ = 0;
    std::vector<SettledLetter> settled_;
    std::vector<LetterOutcome> outcomes_;
    RedriveFigures figures_;
};

}  // namespace hufu::deadletter
