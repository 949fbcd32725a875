// The log under power cuts, process deaths and failing syncs between any two steps, one seed a run; and the proof that
// the checks see each seeded bug. HUFU_SEEDS sets how many seeds, HUFU_SEED replays one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include <hufu/core/mutant.hpp>

#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using testing::read_all;
using testing::record_of;
using testing::split;

std::uint64_t key_of(std::string_view text) {
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3ULL;
    return hash * 0x9E3779B97F4A7C15ULL;
}

/// Each record is found by its text, and by the length of its text, which many share.
void keys_of(std::span<const std::byte> record, std::vector<std::uint64_t>& keys) {
    const auto text = record.subspan(log_record::bytes_min);
    keys.push_back(key_of({reinterpret_cast<const char*>(text.data()), text.size()}));
    keys.push_back(key_of(std::to_string(text.size() / 30)));
}

struct Attempt {
    std::uint64_t ticket = 0;
    std::size_t queue = 0;
    std::uint64_t offset = 0;
    std::string text;
    bool settled = false;
    bool refused = false;
    std::uint64_t era = 0;  ///< counts fences since opening
};

/// One life story of a log: steps by chance, and what must be true after each.
class Story {
public:
    explicit Story(std::uint64_t seed) : random_{seed}, disk_{random_} {
        options_.segment_bytes = 24U << 10U;
        options_.first_segment_bytes = 8U << 10U;
        options_.record_bytes_max = 4U << 10U;
        options_.pending_bytes_max = 32U << 10U;
        options_.chore_retry = std::chrono::milliseconds{20};
        options_.keys_of = keys_of;
    }

    /// The sentence that names the broken promise, or nothing.
    std::optional<std::string> run(int steps) {
        open();
        for (int i = 0; i < steps && !broken_; ++i) {
            step();
            if (random_.below(120) == 0) {
                end_life();
                open();
            }
        }
        if (!broken_) {
            end_life();
            open();
        }
        log_.reset();
        return broken_;
    }

    [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_.size(); }

private:
    enum class Stage { taken, written, synced };
    struct Carried {
        LogGroup* group = nullptr;
        Stage stage = Stage::taken;
        std::optional<Error> error;
    };

    void broke(std::string promise) {
        if (!broken_) broken_ = std::move(promise);
    }

    void open() {
        disk_.heal();
        while (random_.below(4) == 0) {  // opening is interrupted, too
            disk_.fail_nth(simulation::DiskCall::sync, 1 + random_.below(3));
            auto attempt = Log::open(disk_.directory(), options_, clock_);
            disk_.heal();
            if (attempt) log_ = std::move(*attempt);
            log_.reset();
            disk_.crash();
        }
        auto opened = Log::open(disk_.directory(), options_, clock_);
        if (!opened) return broke("a log can be opened after a crash: " + opened.error().text());
        log_ = std::move(*opened);
        check_recovered();
        if (random_.below(3) > 0) disk_.set_faults({.sync = 10'000, .sync_directory = 5'000});
    }

    void end_life() {
        carried_.clear();
        chore_.reset();
        log_.reset();
        if (random_.below(4) == 0) {
            disk_.kill();
        } else {
            disk_.crash();
        }
    }

    void step() {
        clock_.now_ms += static_cast<std::int64_t>(random_.below(3));
        switch (random_.below(13)) {
            case 0:
            case 1:
            case 2:
            case 3: return append();
            case 4: return put_state();
            case 5: return read();
            case 12: return find();
            case 6:
                if (auto* group = log_->take_group()) carried_.push_back({group, Stage::taken, std::nullopt});
                return;
            case 7:
                if (chore_) {
                    chore_->run();
                    settle(log_->finished(std::move(chore_)));
                } else {
                    chore_ = log_->take_chore();
                }
                return;
            default: return carry();
        }
    }

    void append() {
        const auto queue = random_.below(4);
        Attempt attempt;
        attempt.queue = queue;
        attempt.text = std::to_string(++texts_) + std::string(random_.below(random_.below(8) == 0 ? 3000 : 300), 'x');
        const auto handle = log_->open_queue("topic" + std::to_string(queue), 0);
        const auto record = record_of(attempt.text);
        std::vector<std::uint64_t> keys;
        keys_of(record, keys);
        const auto appended = log_->append(handle, 0, record, keys);
        if (!appended) {
            if (appended.error().disposition() != Disposition::retry)
                broke("refusals are retryable: " + appended.error().text());
            return;
        }
        attempt.ticket = appended->ticket;
        attempt.offset = appended->queue_offset;
        attempt.era = era_;
        attempts_.push_back(std::move(attempt));
    }

    void put_state() {
        const auto value = std::to_string(++texts_);
        if (const auto ticket = log_->put_state("key", value)) states_.push_back({*ticket, value});
    }

    void read() {
        const auto queue = log_->find_queue("topic" + std::to_string(random_.below(4)), 0);
        if (!queue) return;
        std::vector<std::byte> bytes;
        const auto max = log_->max_offset(*queue);
        log_->read(*queue, max > 5 ? max - random_.below(6) : 0, {}, {}, bytes);
        const auto topic = static_cast<std::size_t>(log_->queue_name(*queue).topic.back() - '0');
        for (const auto& record : split(bytes)) {
            const auto known = acknowledged_.find({topic, record.offset});
            if (known == acknowledged_.end()) return broke("readers see only what is durable");
            if (known->second != record.text) return broke("a reader sees what was appended");
        }
    }

    /// The texts behind the hits for a key. Each hit is a readable record, and they come newest first.
    std::set<std::string> found_by(const std::string& key, bool& complete) {
        std::set<std::string> texts;
        const auto hits = log_->find_key({.key = key_of(key), .hits_max = 1'000'000});
        complete = hits.segments_missing == 0;
        std::uint64_t last = ~0ULL;
        for (const auto log_offset : hits.log_offsets) {
            std::vector<std::byte> bytes;
            const auto queue = log_->read_at(log_offset, bytes);
            if (!queue || log_offset >= last) {
                broke("what the key index finds is a readable record, newest first");
                return texts;
            }
            last = log_offset;
            const auto record = split(bytes).front();
            const auto topic = static_cast<std::size_t>(log_->queue_name(*queue).topic.back() - '0');
            const auto known = acknowledged_.find({topic, record.offset});
            if (known == acknowledged_.end() || known->second != record.text) broke("only what is durable is found");
            texts.insert(record.text);
        }
        return texts;
    }

    void find() {
        if (acknowledged_.empty()) return;
        auto at = acknowledged_.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(random_.below(acknowledged_.size())));
        bool complete = false;
        const auto texts = found_by(at->second, complete);
        if (complete && !texts.contains(at->second)) broke("what is durable is found by its key");
        found_by(std::to_string(random_.below(12)), complete);
        std::vector<std::byte> bytes;
        const auto anywhere = random_.below(log_->durable_offset() + 4096);
        if (log_->read_at(anywhere, bytes) && split(bytes).front().log_offset != anywhere)
            broke("an offset where no record begins has none");
    }

    /// After the chores the index holds exactly what the log holds.
    void check_keys() {
        while (auto chore = log_->take_chore()) {
            chore->run();
            log_->finished(std::move(chore));
        }
        std::map<std::string, std::set<std::string>> by_length;
        for (const auto& [place, text] : acknowledged_) by_length[std::to_string(text.size() / 30)].insert(text);
        for (const auto& [length, expected] : by_length) {
            bool complete = false;
            const auto texts = found_by(length, complete);
            if (broken_) return;
            if (!complete) return broke("the key index is rebuilt by the chores");
            for (const auto& text : expected)
                if (!texts.contains(text)) return broke("what the log holds is found by its key");
        }
    }

    void carry() {
        if (carried_.empty()) return;
        auto& one = carried_[random_.below(carried_.size())];
        if (!one.error && one.stage != Stage::synced) {
            auto done = one.stage == Stage::taken ? Log::write(*one.group) : Log::sync(*one.group);
            if (!done) one.error = done.error();
            one.stage = one.stage == Stage::taken ? Stage::written : Stage::synced;
        }
        auto& first = carried_.front();
        if (random_.below(2) == 0 || (!first.error && first.stage != Stage::synced)) return;
        const auto done = first;
        carried_.erase(carried_.begin());
        settle(done.error ? log_->failed(done.group, *done.error) : log_->completed(done.group));
    }

    void settle(const Outcome& outcome) {
        if (outcome.through == 0) return;
        for (auto& attempt : attempts_) {
            if (attempt.settled || attempt.ticket > outcome.through) continue;
            attempt.settled = true;
            attempt.refused = !outcome.durable;
            if (!outcome.durable) continue;
            const auto [known, fresh] = acknowledged_.emplace(std::pair{attempt.queue, attempt.offset}, attempt.text);
            if (!fresh && known->second != attempt.text) broke("an offset that was durable is never used again");
        }
        for (const auto& [ticket, value] : states_) {
            if (ticket <= outcome.through && outcome.durable) durable_state_ = {ticket, value};
        }
        if (!outcome.durable) ++era_;
    }

    void check_recovered() {
        std::map<std::pair<std::size_t, std::uint64_t>, std::string> found;
        for (std::size_t topic = 0; topic < 4; ++topic) {
            const auto queue = log_->find_queue("topic" + std::to_string(topic), 0);
            if (!queue) continue;
            std::uint64_t next = 0;
            for (auto& record : read_all(*log_, *queue)) {
                if (record.offset != next++) {
                    return broke("a recovered queue has no hole, but offset " + std::to_string(next - 1) + " is missing" +
                                 (log_->damages().empty() ? std::string{} : ": " + log_->damages().front().text));
                }
                found.emplace(std::pair{topic, record.offset}, std::move(record.text));
            }
        }
        if (!log_->damages().empty()) return broke("a crash is not taken for damage: " + log_->damages().front().text);
        for (const auto& [place, text] : acknowledged_) {
            const auto here = found.find(place);
            if (here == found.end()) return broke("what was acknowledged is recovered");
            if (here->second != text) return broke("what was acknowledged is recovered unchanged");
        }
        check_prefix(found);
        check_state();
        for (const auto& [place, text] : found) acknowledged_.emplace(place, text);  // readable from now on
        attempts_.clear();
        states_.clear();
        era_ = 0;
        if (!broken_ && random_.below(3) == 0) check_keys();
    }

    /// What was found beyond the acknowledged is what was appended in the last life, as a prefix of it.
    void check_prefix(const std::map<std::pair<std::size_t, std::uint64_t>, std::string>& found) {
        std::set<std::string> texts;
        for (const auto& [place, text] : found) texts.insert(text);
        std::size_t explained = 0;
        std::optional<std::uint64_t> lost_in;
        for (const auto& attempt : attempts_) {
            const bool here = texts.contains(attempt.text);
            if (here && !acknowledged_.contains({attempt.queue, attempt.offset})) ++explained;
            if (!here && !attempt.refused && !lost_in) lost_in = attempt.era;
            if (here && lost_in && attempt.era >= *lost_in && !attempt.refused)
                return broke("what is recovered is a prefix of what was appended");
        }
        std::size_t beyond = 0;
        for (const auto& [place, text] : found) beyond += acknowledged_.contains(place) ? 0U : 1U;
        if (beyond != explained) broke("nothing is recovered that was not appended in the last life");
    }

    void check_state() {
        const auto now = log_->state("key");
        bool allowed = false;
        if (durable_state_.first == 0) allowed = !now || !states_.empty();
        if (now && durable_state_.second == *now) allowed = true;
        for (const auto& [ticket, value] : states_)
            allowed = allowed || (ticket >= durable_state_.first && now && value == *now);
        if (!allowed) broke("the recovered state is the last durable one, or a later one");
        if (now) durable_state_ = {1, std::string{*now}};
    }

    SeededRandom random_;
    simulation::SimDisk disk_;
    testing::StoppedClock clock_;
    LogOptions options_;
    std::unique_ptr<Log> log_;
    std::vector<Carried> carried_;
    std::unique_ptr<LogChore> chore_;
    std::vector<Attempt> attempts_;  ///< of this life
    std::vector<std::pair<std::uint64_t, std::string>> states_;
    std::pair<std::uint64_t, std::string> durable_state_;
    std::map<std::pair<std::size_t, std::uint64_t>, std::string> acknowledged_;  ///< (topic, offset) -> text
    std::uint64_t texts_ = 0;
    std::uint64_t era_ = 0;
    std::optional<std::string> broken_;
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr int steps = 1500;

TEST(LogCrash, KeepsItsPromises) {
    const auto only = number_from("HUFU_SEED", 0);
    const auto seeds = only != 0 ? 1 : number_from("HUFU_SEEDS", 300);
    std::uint64_t acknowledged = 0;
    for (std::uint64_t i = 0; i < seeds; ++i) {
        const auto seed = only != 0 ? only : i + 1;
        Story story{seed};
        const auto broken = story.run(steps);
        acknowledged += story.acknowledged();
        ASSERT_FALSE(broken) << "seed " << seed << ": " << *broken;
    }
    EXPECT_GT(acknowledged, seeds * 50) << "a run that acknowledges nothing proves nothing";
}

class LogMutant : public ::testing::TestWithParam<const char*> {
protected:
    void TearDown() override { activate_mutant(""); }
};

TEST_P(LogMutant, IsSeenByTheChecks) {
    activate_mutant(GetParam());
    std::optional<std::string> broken;
    std::uint64_t seed = 0;
    while (!broken && seed < 300) broken = Story{++seed}.run(steps);
    ASSERT_TRUE(broken) << GetParam() << " was not seen in " << seed << " seeds";
    std::printf("%s: seed %llu, %s\n", GetParam(), static_cast<unsigned long long>(seed), broken->c_str());
}

INSTANTIATE_TEST_SUITE_P(All, LogMutant,
                         ::testing::Values("ack_before_sync", "retry_after_failed_fsync", "torn_tail_accepted",
                                           "read_above_durable_watermark", "offset_reused_after_power_loss",
                                           "key_of_pending_record_found", "keys_outlive_refusal"),
                         [](const auto& mutant) { return std::string{mutant.param}; });

}  // namespace
}  // namespace hufu::broker
