#include <hufu/deadletter/redrive_machine.hpp>

#include <hufu/core/mutant.hpp>

namespace hufu::deadletter {
namespace {

using What = LetterOutcome::What;

std::string lane_of(const DeadLetter& letter) { return letter.origin_topic + '\n' + letter.message.ordering_key; }

}  // namespace

std::string_view to_string(What what) noexcept {
    constexpr std::string_view names[] = {"redriven", "discarded", "would_redrive", "would_discard",
                                          "refused",  "held",      "rejected",      "failed"};
    return names[static_cast<std::size_t>(what)];
}

RedriveMachine::RedriveMachine(RedriveOptions options, std::string topic, const Ledger& ledger)
    : options_{std::move(options)}, topic_{std::move(topic)}, ledger_{ledger} {}

std::string RedriveMachine::target_of(const DeadLetter& letter) const {
    return options_.to_topic.empty() ? letter.origin_topic : options_.to_topic;
}

std::string RedriveMachine::guarded(const DeadLetter& letter) const {
    if (letter.redrives < options_.redrives_max || options_.force) return {};
    if (mutant_active("redrive_without_loop_guard")) return {};
    return "sent again " + std::to_string(letter.redrives) +
           " times already, and it came back each time (the last reason: " + letter.reason +
           "); repair its consumer, then --force, or discard it";
}

RedriveMachine::Work RedriveMachine::plan(std::vector<ReadMessage> page) {
    Work work;
    for (auto& read : page) {
        ++figures_.read;
        if (ledger_.settlement(topic_, read.place, read.message.id) != nullptr) {
            ++figures_.settled_before;
            continue;
        }
        DeadLetter letter = letter_of(std::move(read));
        const bool keyed = !letter.message.ordering_key.empty();
        if (full() || !options_.filter.fits(letter)) {
            // Discarding one leaves nothing behind that could be overtaken.
            if (keyed && options_.act == Act::redrive) keys_behind_.insert(lane_of(letter));
            continue;
        }
        ++figures_.matched;
        if (options_.act == Act::discard) {
            ++taken_;
            work.letters.push_back(std::move(letter));
            continue;
        }
        if (keyed && !options_.out_of_order && keys_behind_.contains(lane_of(letter))) {
            stay(letter, What::held,
                 "an earlier dead letter of its key stays: redrive or discard that one first, or say --out-of-order");
        } else if (auto why = guarded(letter); !why.empty()) {
            stay(letter, What::refused, std::move(why));
        } else if (target_of(letter).empty() || is_dead_letter_topic(target_of(letter))) {
            stay(letter, What::refused, "nobody noted which topic it came from: say --to-topic TOPIC");
        } else {
            ++taken_;
            if (!options_.dry_run) work.messages.push_back(redriven(letter, options_.to_topic));
            work.letters.push_back(std::move(letter));
        }
    }
    if (options_.dry_run) {
        for (const auto& letter : work.letters) {
            ++figures_.settled;
            tell(letter, options_.act == Act::redrive ? What::would_redrive : What::would_discard, {});
        }
        return {};
    }
    return work;
}

RedriveMachine::Work RedriveMachine::published(Work work, std::span<const PublishOutcome> outcomes) {
    Work again;
    for (std::size_t i = 0; i < work.letters.size(); ++i) {
        DeadLetter& letter = work.letters[i];
        const auto& outcome = outcomes[i];
        const bool keyed = !letter.message.ordering_key.empty();
        if (outcome.status == PublishStatus::confirmed) {
            settle(letter, What::redriven);
        } else if (outcome.status == PublishStatus::rejected) {
            stay(letter, What::rejected, outcome.error.text());
        } else if (keyed && !options_.out_of_order && keys_behind_.contains(lane_of(letter))) {
            stay(letter, What::held, "an earlier dead letter of its key was rejected by the broker");
        } else {
            ++figures_.sent_again;
            again.messages.push_back(std::move(work.messages[i]));
            again.letters.push_back(std::move(letter));
        }
    }
    return again;
}

void RedriveMachine::discarded(Work work) {
    for (const auto& letter : work.letters) settle(letter, What::discarded);
}

void RedriveMachine::give_up(Work work, const std::string& why) {
    for (const auto& letter : work.letters) stay(letter, What::failed, why);
}

void RedriveMachine::settle(const DeadLetter& letter, What what) {
    ++figures_.settled;
    settled_.push_back({letter.place.offset, letter.message.id});
    tell(letter, what, {});
}

void RedriveMachine::stay(const DeadLetter& letter, What what, std::string why) {
    if (!letter.message.ordering_key.empty()) keys_behind_.insert(lane_of(letter));
    switch (what) {
        case What::refused: ++figures_.refused; break;
        case What::held: ++figures_.held; break;
        case What::rejected: ++figures_.rejected; break;
        default: ++figures_.failed; break;
    }
    tell(letter, what, std::move(why));
}

void RedriveMachine::tell(const DeadLetter& letter, What what, std::string why) {
    outcomes_.push_back({.what = what,
                         .place = letter.place,
                         .id = letter.message.id,
                         .topic = options_.act == Act::redrive ? target_of(letter) : std::string{},
                         .ordering_key = letter.message.ordering_key,
                         .why = std::move(why)});
}

}  // namespace hufu::deadletter
