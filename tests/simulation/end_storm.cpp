#include "end_storm.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

#include <hufu/remoting/ids.hpp>

#include "storm_broker.hpp"

namespace hufu::simulation {

using txmsg::Verdict;

namespace {

constexpr std::array topics{"orders", "payments"};
constexpr std::array verdict_events{'C', 'R', 'U', 'H'};  // commit, rollback, a check's unknown, the half again
constexpr std::string_view restarts = "KP";               // killed, power cut
constexpr std::uint64_t violations_kept = 10;

/// Transactions that go through one broker's restarts together, each with its own events; and what each was promised.
class Storm {
public:
    Storm(std::uint64_t seed, std::size_t count)
        : broker_{seed, [this](const WireCommand& answer) { answered(answer); }}, transactions_(count) {
        for (std::size_t at = 0; at < count; ++at) {
            begin(at);
            if (at % 64 == 63) broker_.settle();
        }
        broker_.settle();
        for (std::size_t at = 0; at < count; ++at)
            if (transactions_[at].places.size() != transactions_[at].messages.size()) complain(at, "a half was not taken");
    }

    [[nodiscard]] Random& random() { return broker_.random(); }

    /// One event of one transaction.
    void happens(std::size_t at, char event) {
        Transaction& one = transactions_[at];
        one.history += event;
        ++events_;
        if (one.places.empty()) return;  // complained about already
        if (event == 'H') {
            const std::size_t which = one.history.size() % one.messages.size();
            return send_half(at, which);
        }
        const Verdict verdict = event == 'C' ? Verdict::commit : event == 'R' ? Verdict::rollback : Verdict::unknown;
        const bool from_check = verdict == Verdict::unknown || one.history.size() % 2 == 0;
        const EndWords words{group,
                             one.context.transaction.to_string(),
                             one.places[one.history.size() % one.places.size()],
                             verdict,
                             from_check,
                             {}};
        asked_[++opaque_] = {at, event};
        broker_.receive(end_frame(words, opaque_, false));
    }

    void settle() {
        broker_.settle();
        look();
    }

    /// What was not answered never will be.
    void restart(char how, bool behind) {
        if (!behind) settle();
        if (behind && how == 'P') broker_.write_behind();
        asked_.clear();
        for (Transaction& one : transactions_) one.history += how;
        broker_.restart(how == 'P');
        look();
    }

    /// The end: every transaction is asked where it stands.
    StormResult finish() {
        settle();
        for (std::size_t at = 0; at < transactions_.size(); ++at) happens(at, 'U');
        settle();
        for (std::size_t at = 0; at < transactions_.size(); ++at) {
            const Transaction& one = transactions_[at];
            if (one.decided != Verdict::commit) continue;
            for (const std::size_t copies : one.copies)
                if (copies != 1) complain(at, "committed, and a message has " + std::to_string(copies) + " copies");
        }
        return {transactions_.size(), events_, std::move(violations_)};
    }

private:
    static constexpr const char* group = "orders%order-paid";

    struct Transaction {
        txmsg::HalfContext context;
        std::vector<Message> messages;
        std::vector<HalfAddress> places = {};
        std::vector<std::size_t> copies = {};  ///< visible, of each message
        Verdict decided = Verdict::unknown;    ///< that somebody was told, or could see
        std::string history = {};
    };
    struct Asked {
        std::size_t at = 0;
        char event = 0;
    };

    void begin(std::size_t at) {
        Transaction& one = transactions_[at];
        one.context.transaction = broker_.ids().next();
        one.context.group = "orders";
        one.context.handler = "order-paid";
        for (std::size_t which = 0; which <= at % 2; ++which) {
            Message message;
            message.id = broker_.ids().next();
            message.topic = topics[which];
            message.body = std::to_string(at);
            keys_[remoting::unique_key(message.id)] = {at, which};
            one.messages.push_back(std::move(message));
        }
        one.copies.resize(one.messages.size());
        for (std::size_t which = 0; which < one.messages.size(); ++which) send_half(at, which);
    }

    void send_half(std::size_t at, std::size_t which) {
        Transaction& one = transactions_[at];
        asked_[++opaque_] = {at, 'H'};
        broker_.receive(half_frame(one.context, one.messages[which], 0, opaque_));
    }

    void answered(const WireCommand& answer) {
        const auto found = asked_.find(answer.opaque);
        if (found == asked_.end()) return;
        const auto [at, event] = found->second;
        asked_.erase(found);
        const bool success = answer.is(remoting::ResponseCode::success);
        const bool refused = answer.is(remoting::ResponseCode::illegal_operation);
        if (answer.is(remoting::ResponseCode::system_busy)) return;  // nothing was done, and it says so
        if (!success && !refused)
            return complain(at,
                            std::string{event} + " was answered with " + std::to_string(answer.code) + " " + answer.remark);
        if (event == 'H') return half_answered(at, answer, success);
        const std::string_view state = answer.field("transactionState");
        const Verdict wanted = event == 'C' ? Verdict::commit : event == 'R' ? Verdict::rollback : Verdict::unknown;
        if (refused) {
            if (wanted == Verdict::unknown) return complain(at, "a question was refused: " + answer.remark);
            return decided(at, wanted == Verdict::commit ? Verdict::rollback : Verdict::commit, event);
        }
        if (state == "committed" && wanted != Verdict::rollback) return decided(at, Verdict::commit, event);
        if (state == "rolled_back" && wanted != Verdict::commit) return decided(at, Verdict::rollback, event);
        if (wanted != Verdict::unknown || state != "pending")
            return complain(at, std::string{event} + " was answered with state \"" + std::string{state} + "\"");
        if (transactions_[at].decided != Verdict::unknown) complain(at, "a verdict that was told is forgotten");
    }

    void half_answered(std::size_t at, const WireCommand& answer, bool success) {
        Transaction& one = transactions_[at];
        if (!success) {
            if (one.decided == Verdict::unknown && one.history.empty()) complain(at, "a half was refused: " + answer.remark);
            return;
        }
        const auto place = address_in_answer(answer);
        if (!place) return complain(at, "a half was answered without its place");
        if (one.places.size() < one.messages.size()) one.places.push_back(*place);
    }

    void decided(std::size_t at, Verdict verdict, char event) {
        Transaction& one = transactions_[at];
        if (one.decided != Verdict::unknown && one.decided != verdict)
            complain(at, std::string{"the answer to "} + event + " says " + std::string{txmsg::to_string(verdict)} +
                             ", an earlier one said otherwise");
        one.decided = verdict;
    }

    void look() {
        for (const char* topic : topics) {
            std::uint64_t& next = next_[topic];
            for (;;) {
                const auto messages = broker_.pull(topic, 0, next);
                if (messages.empty()) break;
                for (const auto& message : messages) {
                    next = message.offset + 1;
                    const auto found = keys_.find(message.id);
                    if (found == keys_.end() || !message.intact) {
                        complain(0, "a consumer got message \"" + message.id + "\", which nobody sent");
                        continue;
                    }
                    const auto [at, which] = found->second;
                    if (++transactions_[at].copies[which] == 2) complain(at, "a message is visible twice");
                    decided(at, Verdict::commit, 'v');
                }
            }
        }
    }

    void complain(std::size_t at, const std::string& what) {
        if (violations_.size() < violations_kept)
            violations_.push_back({"P5", "storm " + transactions_[at].history + ": " + what});
    }

    StormBroker broker_;
    std::vector<Transaction> transactions_;
    std::map<std::int32_t, Asked> asked_;
    std::map<std::string, std::pair<std::size_t, std::size_t>> keys_;
    std::map<std::string, std::uint64_t> next_;
    std::vector<Violation> violations_;
    std::int32_t opaque_ = 0;
    std::uint64_t events_ = 0;
};

std::uint64_t power(std::uint64_t base, std::size_t exponent) {
    std::uint64_t result = 1;
    while (exponent-- > 0) result *= base;
    return result;
}

}  // namespace

void StormResult::add(StormResult other) {
    sequences += other.sequences;
    events += other.events;
    for (auto& violation : other.violations)
        if (violations.size() < violations_kept) violations.push_back(std::move(violation));
}

std::uint64_t end_storm_parts(std::size_t length) { return 2 * power(3, length); }

StormResult run_end_storm_part(std::size_t length, std::uint64_t part) {
    // Each place of the sequence: an event of its own for every transaction, or a restart for all.
    const bool behind = part % 2 == 1;
    std::string places(length, 'T');
    std::size_t own = 0;
    for (std::uint64_t rest = part / 2; char& place : places) {
        if (rest % 3 > 0) place = restarts[rest % 3 - 1];
        own += place == 'T' ? 1 : 0;
        rest /= 3;
    }
    const std::uint64_t count = power(verdict_events.size(), own);
    Storm storm{part + 1, count};
    std::size_t digit = 0;
    for (const char place : places) {
        if (place != 'T') {
            storm.restart(place, behind);
            continue;
        }
        for (std::uint64_t at = 0; at < count; ++at)
            storm.happens(at, verdict_events[at / power(verdict_events.size(), digit) % verdict_events.size()]);
        ++digit;
        if (!behind) storm.settle();
    }
    return storm.finish();
}

StormResult run_random_end_storms(std::uint64_t seed, std::uint64_t count) {
    constexpr int steps = 16;
    Storm storm{seed, count};
    Random& random = storm.random();
    for (int step = 0; step < steps; ++step) {
        if (random.below(8) == 0) {
            storm.restart(restarts[random.below(2)], random.below(2) == 0);
            continue;
        }
        for (std::uint64_t at = 0; at < count; ++at)
            if (random.below(4) > 0) storm.happens(at, verdict_events[random.below(verdict_events.size())]);
        if (random.below(2) == 0) storm.settle();
    }
    return storm.finish();
}

StormResult run_end_storm(std::string_view events) {
    constexpr std::size_t count = 2;
    StormResult both;
    for (const bool behind : {false, true}) {
        Storm storm{1, count};
        for (const char event : events) {
            if (restarts.find(event) != std::string_view::npos) {
                storm.restart(event, behind);
                continue;
            }
            if (std::find(verdict_events.begin(), verdict_events.end(), event) == verdict_events.end())
                throw std::invalid_argument{"a storm is made of C, R, U, H, K and P, not of \"" + std::string{events} +
                                            "\""};
            for (std::size_t at = 0; at < count; ++at) storm.happens(at, event);
            if (!behind) storm.settle();
        }
        both.add(storm.finish());
    }
    return both;
}

}  // namespace hufu::simulation
