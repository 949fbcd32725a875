// Links and marks under power cuts, process deaths, failing syncs, retention and lost indexes between any two steps, one
// seed a run; and the proof that the checks see each seeded bug. HUFU_SEEDS sets how many seeds, HUFU_SEED replays one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>

#include <hufu/core/mutant.hpp>

#include "log/format.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker {
namespace {

using testing::read_all;
using testing::record_of;

constexpr std::uint64_t odd = 0x9E3779B97F4A7C15ULL;

std::uint64_t number_in(std::string_view text) { return std::strtoull(std::string{text}.c_str(), nullptr, 10); }
/// Messages are found by the number they begin with; links and marks by one of their own.
void keys_of(std::span<const std::byte> record, std::vector<std::uint64_t>& keys) {
    keys.push_back(number_in(text_of(record.subspan(log_record::bytes_min))) * odd);
}

constexpr const char* topics[] = {"halves", "orders", "marks"};
enum Kind : std::size_t { half, order, mark };

struct Attempt {
    std::uint64_t ticket = 0;
    std::size_t topic = 0;
    std::uint64_t offset = 0;
    std::uint64_t log_offset = 0;  ///< where it stands; of a link its own
    std::uint64_t stored_at_ms = 0;
    std::uint64_t target = 0;  ///< of a link
    std::uint64_t key = 0;
    std::string text;
    bool refused = false;
    std::uint64_t era = 0;  ///< counts fences since opening
};

using Place = std::pair<std::size_t, std::uint64_t>;  // topic and offset

class Story {
public:
    explicit Story(std::uint64_t seed) : random_{seed}, disk_{random_} {
        options_.segment_bytes = 12U << 10U;
        options_.first_segment_bytes = 8U << 10U;
        options_.record_bytes_max = 2U << 10U;
        options_.pending_bytes_max = 24U << 10U;
        options_.chore_retry = std::chrono::milliseconds{20};
        options_.link_segments_max = 1 + static_cast<std::uint32_t>(seed % 4);
        options_.keys_of = keys_of;
    }

    /// The sentence that names the broken promise, or nothing.
    std::optional<std::string> run(int steps) {
        open();
        for (int i = 0; i < steps && !broken_; ++i) {
            step();
            if (random_.below(150) == 0) live_on();
        }
        if (!broken_) live_on();
        log_.reset();
        return broken_;
    }

    [[nodiscard]] std::uint64_t links_read() const { return links_read_; }
    [[nodiscard]] std::uint64_t links_refused() const { return links_refused_; }
    [[nodiscard]] std::uint64_t segments_dropped() const { return segments_dropped_; }

private:
    struct Carried {
        LogGroup* group = nullptr;
        int steps = 0;
        std::optional<Error> error;
    };

    void broke(std::string promise) {
        if (!broken_) broken_ = std::move(promise);
    }

    void open() {
        disk_.heal();
        auto opened = Log::open(disk_.directory(), options_, clock_);
        if (!opened) return broke("a log can be opened after a crash: " + opened.error().text());
        log_ = std::move(*opened);
        check_recovered();
        if (random_.below(3) > 0) disk_.set_faults({.sync = 8'000, .sync_directory = 4'000});
    }

    void live_on() {
        carried_.clear();
        chore_.reset();
        log_.reset();
        if (random_.below(4) == 0)
            disk_.kill();
        else
            disk_.crash();
        disk_.heal();
        for (const auto& name : disk_.names()) {  // they are derived
            const bool derived = name.ends_with(".index") || name.ends_with(".keys");
            if (derived && random_.below(4) == 0) static_cast<void>(disk_.directory().remove(name));
        }
        open();
    }

    void step() {
        clock_.now_ms += static_cast<std::int64_t>(random_.below(30));
        switch (random_.below(16)) {
            case 0:
            case 1: return append(half);
            case 2: return append(order);
            case 3:
            case 4:
            case 5: return decide();
            case 6: return check_queue(order);
            case 7: return find();
            case 8:
                if (random_.below(6) == 0) retire();
                return;
            case 9:
                if (auto* group = log_->take_group()) carried_.push_back({group, 0, std::nullopt});
                return;
            case 10:
            case 11:
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

    void note(std::size_t topic, const Appended& appended, std::string text, std::uint64_t key, std::uint64_t target = 0) {
        attempts_.push_back({appended.ticket, topic, appended.queue_offset, appended.log_offset, appended.stored_at_ms,
                             target, key, std::move(text), false, era_});
    }

    QueueHandle queue(std::size_t topic) { return log_->open_queue(topics[topic], 0); }

    void append(std::size_t topic) {
        const auto number = ++numbers_;
        const auto text = std::to_string(number) + std::string(random_.below(400), 'x');
        const std::uint64_t key = number * odd;
        const auto appended = log_->append(queue(topic), 0, record_of(text), {&key, 1});
        if (!appended) return check_refusal(appended.error());
        note(topic, *appended, text, key);
        if (topic == half) halves_.push_back({appended->log_offset, {appended->queue_offset, text}});
    }

    void check_refusal(const Error& error) {
        if (error.disposition() != Disposition::retry) broke("refusals are retryable: " + error.text());
    }

    /// Link and mark in one group. The half may be pending, durable, refused, or out of reach.
    void decide() {
        if (halves_.empty()) return;
        const auto recent = std::min<std::size_t>(halves_.size(), random_.below(4) == 0 ? halves_.size() : 8);
        const auto& [log_offset, told] = halves_[halves_.size() - 1 - random_.below(recent)];
        if (auto room = log_->reserve(Log::link_bytes(1) + Log::mark_bytes(20, 1), 2); !room)
            return check_refusal(room.error());
        const bool reaches = log_->link_reaches(log_offset);
        const auto link_number = ++numbers_;
        const std::uint64_t link_key = link_number * odd;
        const auto linked = log_->append_link(queue(order), static_cast<std::int64_t>(link_number),
                                              {queue(half), told.first, log_offset}, {&link_key, 1});
        if (!linked) {
            ++links_refused_;
            const auto code = linked.error().code();
            if (code == ErrorCode::not_found ? lives(log_offset) && reaches : code != ErrorCode::invalid_argument || reaches)
                broke("a link is refused only without a target in reach: " + linked.error().text());
            return;
        }
        note(order, *linked, told.second, link_key, log_offset);
        const auto number = ++numbers_;
        const auto text = std::to_string(number);
        const std::uint64_t key = number * odd;
        const auto marked = log_->append_mark(queue(mark), static_cast<std::int64_t>(number), bytes_of(text), {&key, 1});
        if (!marked) return broke("what was reserved is taken: " + marked.error().text());
        note(mark, *marked, text, key);
    }

    /// Whether the half at this place is durable and kept, as far as the story knows.
    bool lives(std::uint64_t log_offset) {
        for (const auto& [place, one] : acknowledged_)
            if (place.first == half && one.log_offset == log_offset) return log_offset >= log_->start_offset();
        return false;
    }

    void retire() {
        if (log_->refusing()) return;
        const auto keep = SystemTime{} + std::chrono::milliseconds{clock_.now_ms - 1'500};
        const auto dropped = log_->drop_segments(0, keep);
        segments_dropped_ += dropped;
        if (dropped > 0) kept_after_ms_ = static_cast<std::uint64_t>(clock_.now_ms - 1'500);
    }

    void carry() {
        if (carried_.empty()) return;
        auto& one = carried_[random_.below(carried_.size())];
        if (!one.error && one.steps < 2) {
            auto done = one.steps == 0 ? Log::write(*one.group) : Log::sync(*one.group);
            if (!done) one.error = done.error();
            ++one.steps;
        }
        auto& first = carried_.front();
        if (random_.below(2) == 0 || (!first.error && first.steps < 2)) return;
        const auto done = first;
        carried_.erase(carried_.begin());
        settle(done.error ? log_->failed(done.group, *done.error) : log_->completed(done.group));
    }

    void settle(const Outcome& outcome) {
        if (outcome.through == 0) return;
        std::erase_if(attempts_, [&](Attempt& attempt) {
            if (attempt.ticket > outcome.through || attempt.refused) return false;
            attempt.refused = !outcome.durable;
            if (outcome.durable && !acknowledged_.emplace(Place{attempt.topic, attempt.offset}, attempt).second)
                broke("an offset that was durable is never used again");
            return outcome.durable;
        });
        if (!outcome.durable) ++era_;
    }

    /// Whether the log may have given it up: it expired, and stands in (or leads to) what is gone.
    bool may_be_gone(const Attempt& one) const {
        if (one.stored_at_ms >= kept_after_ms_) return false;
        return one.log_offset < log_->start_offset() || (one.target != 0 && one.target < log_->start_offset());
    }

    /// Everything readable of the queue, as (offset -> text); marks by their payload.
    std::map<std::uint64_t, std::string> contents(std::size_t topic) {
        std::map<std::uint64_t, std::string> found;
        const auto handle = log_->find_queue(topics[topic], 0);
        if (!handle) return found;
        if (topic == mark) {
            log_->for_each_entry(*handle, 0, [&](const QueueEntry& entry) {
                const auto read = log_->read_mark(entry.log_offset);
                const bool good = entry.kind == EntryKind::mark && read && read->queue_offset == entry.queue_offset &&
                                  std::to_string(entry.tags_code) == text_of(read->payload);
                if (!good) broke("a mark is what its index entry says");
                found.emplace(entry.queue_offset, read ? text_of(read->payload) : "");
                return !broken_;
            });
            return found;
        }
        std::uint64_t next = 0;
        for (auto& record : read_all(*log_, *handle, log_->min_offset(*handle))) {
            if (record.offset < next) broke("a queue is read in order, each offset once");
            next = record.offset + 1;
            if (const auto known = find_known({topic, record.offset}, record.text)) check_linked(*known, record);
            found.emplace(record.offset, std::move(record.text));
        }
        return found;
    }

    std::optional<Attempt> find_known(const Place& place, std::string_view text) const {
        const auto known = acknowledged_.find(place);
        if (known != acknowledged_.end() && known->second.text == text) return known->second;
        for (const auto& attempt : attempts_)
            if (attempt.topic == place.first && attempt.offset == place.second && attempt.text == text) return attempt;
        return std::nullopt;
    }

    void check_linked(const Attempt& known, const testing::ReadRecord& record) {
        if (record.stored_at_ms != known.stored_at_ms) broke("a record has the time at which it came into its queue");
        if (record.log_offset != (known.target != 0 ? known.target : known.log_offset))
            broke("a linked record keeps the log offset of its target");
        links_read_ += known.target != 0 ? 1U : 0U;
    }

    void check_queue(std::size_t topic) {
        const auto found = contents(topic);
        if (broken_) return;
        for (const auto& [offset, text] : found) {
            const auto known = acknowledged_.find({topic, offset});
            if (known == acknowledged_.end()) return broke("readers see only what is durable");
            if (known->second.text != text) return broke("a reader sees what was appended or linked");
        }
        for (auto known = acknowledged_.lower_bound({topic, 0}); known != acknowledged_.end() && known->first.first == topic;
             ++known)
            if (!found.contains(known->first.second) && !may_be_gone(known->second))
                return broke("what is durable and did not expire is read (log offset " +
                             std::to_string(known->second.log_offset) + ", target " + std::to_string(known->second.target) +
                             ")");
    }

    void find() {
        for (const auto& attempt : attempts_)
            if (attempt.refused && !log_->find_key({.key = attempt.key}).log_offsets.empty())
                return broke("what was refused is not found");
        if (acknowledged_.empty()) return;
        auto at = acknowledged_.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(random_.below(acknowledged_.size())));
        const auto& one = at->second;
        const auto hits = log_->find_key({.key = one.key});
        if (hits.segments_missing > 0 || may_be_gone(one) || one.log_offset < log_->start_offset()) return;
        if (hits.log_offsets != std::vector{one.log_offset}) return broke("what is durable is found by its key");
        if (one.topic == mark) {
            const auto read = log_->read_mark(one.log_offset);
            if (!read || text_of(read->payload) != one.text) broke("a mark is read at its place");
            return;
        }
        std::vector<std::byte> bytes;
        const auto read = log_->read_at(one.log_offset, bytes);
        if (!read || *read != queue(one.topic) || testing::split(bytes).front().text != one.text ||
            testing::split(bytes).front().offset != one.offset)
            broke("a record is read at its place, in its queue");
    }

    void check_recovered() {
        if (!log_->damages().empty()) return broke("a crash is not taken for damage: " + log_->damages().front().text);
        std::map<Place, std::string> found;
        for (const std::size_t topic : {half, order, mark})
            for (auto& [offset, text] : contents(topic)) found.emplace(Place{topic, offset}, std::move(text));
        if (broken_) return;
        for (const auto& [place, one] : acknowledged_) {
            const auto here = found.find(place);
            if (here != found.end() && here->second != one.text)
                return broke("what was acknowledged is recovered unchanged");
            if (here == found.end() && !may_be_gone(one)) return broke("what was acknowledged is recovered");
        }
        check_prefix(found);
        attempts_.clear();
        era_ = 0;
        halves_.clear();
        for (const auto& [place, one] : acknowledged_)
            if (place.first == half && one.log_offset >= log_->start_offset())
                halves_.push_back({one.log_offset, {one.offset, one.text}});
        std::sort(halves_.begin(), halves_.end());
    }

    /// What was found beyond the acknowledged was appended in the last life, and is a prefix of it; a link never without
    /// the mark of its group, nor a mark without its link.
    void check_prefix(std::map<Place, std::string>& found) {
        std::optional<std::uint64_t> lost_in;
        for (const auto& attempt : attempts_) {
            const auto here = found.find({attempt.topic, attempt.offset});
            const bool present = here != found.end() && here->second == attempt.text &&
                                 !acknowledged_.contains({attempt.topic, attempt.offset});
            if (present) acknowledged_.emplace(here->first, attempt);  // readable from now on
            if (attempt.refused) continue;
            if (!present && !lost_in) lost_in = attempt.era;
            if (present && lost_in && attempt.era >= *lost_in)
                return broke("what is recovered is a prefix of what was appended");
        }
        std::uint64_t links = 0;
        std::uint64_t marks = 0;
        for (const auto& [place, text] : found) {
            if (!acknowledged_.contains(place)) return broke("nothing is recovered that was not appended");
        }
        for (const auto& [place, one] : acknowledged_) {
            links += one.target != 0 ? 1U : 0U;
            marks += place.first == mark ? 1U : 0U;
        }
        if (links != marks) broke("link and mark of a group are recovered together");
    }

    SeededRandom random_;
    simulation::SimDisk disk_;
    testing::StoppedClock clock_;
    LogOptions options_;
    std::unique_ptr<Log> log_;
    std::vector<Carried> carried_;
    std::unique_ptr<LogChore> chore_;
    std::vector<Attempt> attempts_;  ///< of this life, not settled or refused
    std::map<Place, Attempt> acknowledged_;
    std::vector<std::pair<std::uint64_t, std::pair<std::uint64_t, std::string>>> halves_;  ///< log offset -> offset, text
    std::uint64_t numbers_ = 0;
    std::uint64_t era_ = 0;
    std::uint64_t kept_after_ms_ = 0;
    std::uint64_t links_read_ = 0;
    std::uint64_t links_refused_ = 0;
    std::uint64_t segments_dropped_ = 0;
    std::optional<std::string> broken_;
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr int steps = 1500;

TEST(LogLinksCrash, KeepsItsPromises) {
    const auto only = number_from("HUFU_SEED", 0);
    const auto seeds = only != 0 ? 1 : number_from("HUFU_SEEDS", 300);
    std::uint64_t read = 0;
    std::uint64_t refused = 0;
    std::uint64_t dropped = 0;
    for (std::uint64_t i = 0; i < seeds; ++i) {
        const auto seed = only != 0 ? only : i + 1;
        Story story{seed};
        const auto broken = story.run(steps);
        read += story.links_read();
        refused += story.links_refused();
        dropped += story.segments_dropped();
        ASSERT_FALSE(broken) << "seed " << seed << ": " << *broken;
    }
    EXPECT_GT(read, seeds * 50) << "a run that reads no links proves nothing";
    if (seeds < 10) return;
    EXPECT_GT(refused, 0U);
    EXPECT_GT(dropped, 0U);
}

class LogLinksMutant : public ::testing::TestWithParam<const char*> {
protected:
    void TearDown() override { activate_mutant(""); }
};

TEST_P(LogLinksMutant, IsSeenByTheChecks) {
    activate_mutant(GetParam());
    std::optional<std::string> broken;
    std::uint64_t seed = 0;
    while (!broken && seed < 300) broken = Story{++seed}.run(steps);
    ASSERT_TRUE(broken) << GetParam() << " was not seen in " << seed << " seeds";
    std::printf("%s: seed %llu, %s\n", GetParam(), static_cast<unsigned long long>(seed), broken->c_str());
}

/// How many messages are read by a link whose target has a flipped bit on the disk.
std::size_t served_of_a_damaged_target() {
    SeededRandom random{1};
    simulation::SimDisk disk{random};
    testing::StoppedClock clock;
    const auto log = Log::open(disk.directory(), {}, clock).value();
    const auto halves = log->open_queue("halves", 0);
    const auto orders = log->open_queue("orders", 0);
    const auto target = log->append(halves, 0, record_of("the half")).value();
    log->append_link(orders, 0, {halves, target.queue_offset, target.log_offset}).value();
    testing::settle(*log);
    disk.damage(segment_name(0), target.log_offset + log_record::bytes_min);
    std::vector<std::byte> bytes;
    return log->read(orders, 0, {}, {}, bytes).records;
}

TEST(LogLinksTarget, IsServedDamagedOnlyWhereItIsNotVerified) {
    EXPECT_EQ(served_of_a_damaged_target(), 0U);
    activate_mutant("link_target_unverified");
    EXPECT_EQ(served_of_a_damaged_target(), 1U) << "the check above proves nothing";
    activate_mutant("");
}

INSTANTIATE_TEST_SUITE_P(All, LogLinksMutant,
                         ::testing::Values("link_without_target_check", "retention_forgets_links", "ack_before_sync",
                                           "torn_tail_accepted", "keys_outlive_refusal"),
                         [](const auto& mutant) { return std::string{mutant.param}; });

}  // namespace
}  // namespace hufu::broker
