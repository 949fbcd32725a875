// The replayer's promises under crashes, failures and two replayers, by chance; and the seeded bug that they must see.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include <hufu/core/mutant.hpp>
#include <hufu/degradation/replay_machine.hpp>

namespace hufu::degradation {
namespace {

using std::chrono::milliseconds;

/// A buffer, a broker that fails as it likes within the publisher's contract, and replayers that die.
class World {
public:
    explicit World(std::uint64_t seed) : chance_{seed} {
        for (int i = 0; i < messages; ++i) {
            const auto key = chance_.below(6);
            buffer_[i] = {
                .topic = "orders", .ordering_key = key == 0 ? "" : "k" + std::to_string(key), .body = std::to_string(i)};
        }
    }

    /// Empty: every promise held.
    std::string run() {
        for (int lives = 0; lives < 60 && !buffer_.empty(); ++lives) {
            const bool last = lives > 40;
            live(last ? 100'000 : static_cast<int>(chance_.below(60)), last);
        }
        if (!buffer_.empty()) return "entries are left in the buffer";
        std::map<std::string, int> newest;
        std::set<int> seen;
        for (const auto& message : delivered_) {
            const int number = std::stoi(message.body);
            if (!seen.insert(number).second) continue;
            if (message.ordering_key.empty()) continue;
            if (const auto at = newest.find(message.ordering_key); at != newest.end() && at->second > number) {
                return message.body + " was overtaken";
            }
            newest[message.ordering_key] = number;
        }
        for (const int number : parked_) {
            if (seen.contains(number)) continue;
            seen.insert(number);
        }
        for (int i = 0; i < messages; ++i) {
            if (!seen.contains(i)) return std::to_string(i) + " was lost";
        }
        return {};
    }

private:
    static constexpr int messages = 120;

    void live(int steps, bool healthy) {
        ReplayMachine machine{{.batch_messages = 1 + chance_.below(8), .batches_max = 1 + chance_.below(4), .held_max = 40},
                              chance_};
        for (const auto& [number, message] : shelf_) machine.bar(message);
        int next = 0;
        std::vector<std::unique_ptr<ReplayBatch>> out;
        for (int step = 0; step < steps; ++step) {
            read(machine, next);
            auto actions = machine.step(now_);
            for (auto& batch : actions.publish) accept(std::move(batch), out, healthy);
            for (const auto& id : actions.trim) buffer_.erase(std::stoi(id.position));
            for (const auto& park : actions.park) {
                for (const auto& id : park.entries) {
                    const int number = std::stoi(id.position);
                    shelf_[number] = buffer_[number];
                    parked_.insert(number);
                    buffer_.erase(number);
                }
            }
            machine.trimmed(actions.trim.size(), actions.trim.size());
            if (!out.empty() && chance_.below(2) == 0) {
                const auto which = chance_.below(out.size());
                auto batch = std::move(out[which]);
                out.erase(out.begin() + static_cast<std::ptrdiff_t>(which));
                machine.published(std::move(batch), now_);
            }
            now_ += milliseconds{static_cast<std::int64_t>(chance_.below(200))};
            if (healthy && machine.idle() && buffer_.empty()) return;
        }
    }

    void read(ReplayMachine& machine, int& next) {
        std::vector<Entry> entries;
        for (auto at = buffer_.lower_bound(next);
             at != buffer_.end() && entries.size() < std::min<std::size_t>(machine.room(), 7); ++at) {
            entries.push_back({.id = {0, std::to_string(at->first)}, .message = at->second});
            next = at->first + 1;
        }
        machine.deliver(std::move(entries));
    }

    /// Decides at once what reaches the broker; the machine learns it later, or never.
    void accept(std::unique_ptr<ReplayBatch> batch, std::vector<std::unique_ptr<ReplayBatch>>& out, bool healthy) {
        std::set<std::string> failed;
        const bool away = !healthy && chance_.below(6) == 0;
        for (std::size_t i = 0; i < batch->messages.size(); ++i) {
            const auto& message = batch->messages[i];
            auto& outcome = batch->outcomes[i];
            const bool behind = !message.ordering_key.empty() && failed.contains(message.ordering_key);
            if (away || behind) {
                outcome.status = PublishStatus::not_sent;
            } else if (!healthy && chance_.below(40) == 0) {
                outcome = {PublishStatus::rejected, {ErrorCode::too_large, Disposition::reject, "too large"}};
            } else if (!healthy && chance_.below(8) == 0) {
                outcome.status = PublishStatus::in_doubt;
                if (chance_.below(2) == 0) delivered_.push_back(message);
            } else {
                outcome.status = PublishStatus::confirmed;
                delivered_.push_back(message);
            }
            if (outcome.status != PublishStatus::confirmed) failed.insert(message.ordering_key);
        }
        out.push_back(std::move(batch));
    }

    SeededRandom chance_;
    SteadyTime now_{std::chrono::hours{1}};
    std::map<int, Message> buffer_;
    std::map<int, Message> shelf_;  // set aside
    std::vector<Message> delivered_;
    std::set<int> parked_;
};

std::string first_broken(int seeds) {
    for (int seed = 1; seed <= seeds; ++seed) {
        const auto broken = World{static_cast<std::uint64_t>(seed)}.run();
        if (!broken.empty()) return "seed " + std::to_string(seed) + ": " + broken;
    }
    return {};
}

TEST(ReplayPromises, HoldUnderCrashesAndFailures) { EXPECT_EQ(first_broken(400), ""); }

TEST(ReplayPromises, SeeATrimBeforeTheConfirmation) {
    activate_mutant("trim_before_confirm");
    const auto broken = first_broken(20);
    activate_mutant("");
    EXPECT_NE(broken, "");
}

}  // namespace
}  // namespace hufu::degradation
