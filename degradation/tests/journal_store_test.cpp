// The journal's files on a disk that loses, tears and fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include <hufu/core/random.hpp>

#include "journal/store.hpp"
#include "sim_disk.hpp"

namespace hufu::degradation::journal {
namespace {

using simulation::DiskCall;
using simulation::SimDisk;

Message message_of(int number, const std::string& key) {
    Message message{.topic = "orders", .ordering_key = key, .body = std::to_string(number)};
    message.body.append(static_cast<std::size_t>(number * 37 % 700), '.');
    return message;
}

std::string payload_of(int number, const std::string& key = "k") {
    const auto message = message_of(number, key);
    return encode_entry(message, key_hash(message.topic, message.ordering_key), SystemTime{std::chrono::seconds{number}});
}

int number_of(const StoredEntry& stored) { return std::stoi(journal::message_of(stored.payload).value().body); }

std::vector<StoredEntry> all_of(const Store& store, Store::Kind kind = Store::Kind::live) {
    Cursor cursor;
    return store.read(cursor, 1'000'000, kind).value();
}

std::vector<int> numbers_of(const Store& store, Store::Kind kind = Store::Kind::live) {
    std::vector<int> numbers;
    for (const auto& stored : all_of(store, kind)) numbers.push_back(number_of(stored));
    return numbers;
}

Batch trim_of(const std::vector<StoredEntry>& entries, FrameKind kind = FrameKind::trim, const std::string& reason = {}) {
    Batch batch;
    batch.marks.push_back({kind, {}, reason});
    for (const auto& stored : entries) batch.marks.back().entries.push_back(stored.reference);
    return batch;
}

class StoreTest : public ::testing::Test {
protected:
    std::unique_ptr<Store> open() { return Store::open(disk.directory(), options).value(); }

    SeededRandom chance{7};
    SimDisk disk{chance};
    JournalOptions options{.segment_bytes = 4096, .reserve_bytes = 4096};
};

TEST_F(StoreTest, OpeningWritesNothing) {
    EXPECT_TRUE(numbers_of(*open()).empty());
    EXPECT_EQ(disk.calls(DiskCall::write), 0U);
}

TEST_F(StoreTest, KeepsEntriesTrimsParkedOnesAndKeysOverACrash) {
    {
        const auto store = open();
        for (int i = 1; i <= 30; ++i)
            ASSERT_TRUE(store->write({.entries = {payload_of(i, i % 2 == 0 ? "even" : "odd")}}).result);
        const auto all = all_of(*store);
        ASSERT_TRUE(store->write(trim_of({all.begin(), all.begin() + 10})).result);
        ASSERT_TRUE(store->write(trim_of({all[11]}, FrameKind::park, "too large")).result);
    }
    disk.crash();
    const auto store = open();
    std::vector<int> expected{11};
    for (int i = 13; i <= 30; ++i) expected.push_back(i);
    EXPECT_EQ(numbers_of(*store), expected);
    EXPECT_EQ(numbers_of(*store, Store::Kind::parked), std::vector<int>{12});
    EXPECT_EQ(store->reason_of_parked(12), "too large");
    EXPECT_EQ(store->levels().entries, 19U);
    EXPECT_EQ(store->levels().parked, 1U);
    EXPECT_TRUE(store->holds(key_hash("orders", "even")));
    EXPECT_FALSE(store->holds(key_hash("orders", "other")));
    ASSERT_TRUE(store->write(trim_of(all_of(*store))).result);
    EXPECT_FALSE(store->holds(key_hash("orders", "odd")));
    EXPECT_TRUE(store->holds(key_hash("orders", "even"))) << "the parked one";
    ASSERT_TRUE(store->write(trim_of(all_of(*store, Store::Kind::parked), FrameKind::unpark)).result);
    EXPECT_EQ(numbers_of(*store), std::vector<int>{12});
}

TEST_F(StoreTest, RemovesFilesOfWhichNothingIsLeft) {
    const auto store = open();
    for (int i = 1; i <= 200; ++i) ASSERT_TRUE(store->write({.entries = {payload_of(i)}}).result);
    EXPECT_GT(disk.names().size(), 10U);
    const auto all = all_of(*store);
    ASSERT_TRUE(store->write(trim_of({all[20]}, FrameKind::park, "no")).result);
    ASSERT_TRUE(store->write(trim_of(all)).result);  // the parked one as well
    EXPECT_LE(disk.names().size(), 4U) << "the lock, the reserve and the newest segment";
    EXPECT_EQ(store->levels().keys, 0U);
    EXPECT_EQ(store->levels().bytes, 0U);
}

TEST_F(StoreTest, EveryCutLeavesWholeGroups) {
    std::vector<std::uint64_t> ends;
    {
        const auto store = open();
        for (int i = 0; i < 5; ++i) {
            ASSERT_TRUE(store->write({.entries = {payload_of(2 * i), payload_of(2 * i + 1)}}).result);
            ends.push_back(disk.size_of(segment_name(1)));
        }
    }
    disk.kill();
    const std::string name = segment_name(1);
    for (std::uint64_t size = ends.back(); size-- > ends.front() / 4;) {
        disk.cut(name, size);
        const auto store = open();
        // A group's padding may be missing; so the group counts when its last frame is there.
        const auto numbers = numbers_of(*store);
        ASSERT_EQ(numbers.size() % 2, 0U);
        const auto whole = static_cast<std::size_t>(
            std::count_if(ends.begin(), ends.end(), [&](std::uint64_t end) { return end <= size; }));
        ASSERT_GE(numbers.size(), 2 * whole);
        ASSERT_LE(numbers.size(), 2 * whole + 2);
        for (std::size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], static_cast<int>(i));
    }
}

TEST_F(StoreTest, DamageIsAnErrorAndNotATornTail) {
    {
        const auto store = open();
        for (int i = 1; i <= 4; ++i) ASSERT_TRUE(store->write({.entries = {payload_of(i)}}).result);
    }
    disk.kill();
    disk.damage(segment_name(1), 512 + 40);  // the first entry; three follow
    const auto opened = Store::open(disk.directory(), options);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::corrupt);
    EXPECT_THAT(opened.error().text(), ::testing::HasSubstr("0000000001.journal at byte 512"));
    options.give_up_damaged = true;
    const auto store = open();
    EXPECT_EQ(numbers_of(*store), (std::vector<int>{2, 3, 4}));
    EXPECT_EQ(store->given_up(), 1U);
}

TEST_F(StoreTest, AMissingFileWithEntriesIsAnError) {
    {
        const auto store = open();
        for (int i = 1; i <= 30; ++i) ASSERT_TRUE(store->write({.entries = {payload_of(i)}}).result);
    }
    disk.kill();
    ASSERT_TRUE(disk.directory().remove(segment_name(1)));
    const auto opened = Store::open(disk.directory(), options);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), ::testing::HasSubstr("is missing"));
}

TEST_F(StoreTest, AForeignFileIsRefused) {
    {
        auto file = disk.directory().open(segment_name(1), OpenMode::create_new).value();
        const std::string text(2000, 'x');
        const auto part = std::as_bytes(std::span{text});
        ASSERT_TRUE(file->write_at(0, {&part, 1}));
    }
    const auto opened = Store::open(disk.directory(), options);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::wrong_version);
}

TEST_F(StoreTest, AFullDiskRefusesButNotesWhatWasReplayed) {
    const auto store = open();
    int written = 0;
    disk.set_free_bytes(40'000);
    Store::Written last;
    for (int i = 1; i <= 200; ++i) {
        last = store->write({.entries = {payload_of(i)}});
        if (!last.result) break;
        ++written;
    }
    ASSERT_FALSE(last.result);
    EXPECT_EQ(last.result.error().code(), ErrorCode::out_of_space);
    EXPECT_EQ(last.result.error().disposition(), Disposition::retry);
    EXPECT_TRUE(last.certain);
    EXPECT_EQ(numbers_of(*store).size(), static_cast<std::size_t>(written));
    disk.set_free_bytes(0);
    ASSERT_TRUE(store->write(trim_of(all_of(*store))).result);
    disk.set_free_bytes(100'000);
    EXPECT_TRUE(store->write({.entries = {payload_of(999)}}).result);
    EXPECT_EQ(numbers_of(*store), std::vector<int>{999});
}

/// A life of the journal: appends, trims and parks as chance wants; what was answered must hold over crashes.
class Life {
public:
    explicit Life(std::uint64_t seed) : chance_{seed}, disk{chance_} {}

    void live(int steps) {
        auto opened = Store::open(disk.directory(), options_);
        if (!opened) return;  // a fault while opening: nothing was promised
        const auto& store = *opened;
        for (int step = 0; step < steps; ++step) {
            if (chance_.below(3) > 0) {
                Batch batch;
                std::vector<int> numbers;
                for (auto left = 1 + chance_.below(3); left > 0; --left) {
                    numbers.push_back(++last_);
                    batch.entries.push_back(payload_of(last_, "k" + std::to_string(last_ % 3)));
                }
                const auto done = store->write(batch);
                if (done.result) {
                    accepted_.insert(numbers.begin(), numbers.end());
                } else {
                    (done.certain ? refused_ : doubtful_).insert(numbers.begin(), numbers.end());
                }
            } else {
                Cursor cursor;
                const auto entries = store->read(cursor, 3);
                if (!entries) continue;
                std::set<int> gone;
                for (const auto& stored : *entries) gone.insert(number_of(stored));
                const bool done = static_cast<bool>(store->write(trim_of(*entries)).result);
                for (const int number : gone) {
                    (done ? trimmed_ : maybe_trimmed_).insert(number);
                }
            }
        }
    }

    void check() {
        auto opened = Store::open(disk.directory(), options_);
        ASSERT_TRUE(opened) << opened.error().text();
        std::vector<int> numbers = numbers_of(**opened);
        ASSERT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
        const std::set<int> there{numbers.begin(), numbers.end()};
        ASSERT_EQ(there.size(), numbers.size());
        for (const int number : accepted_) {
            if (!trimmed_.contains(number) && !maybe_trimmed_.contains(number)) {
                ASSERT_TRUE(there.contains(number)) << "lost " << number;
            }
        }
        for (const int number : there) {
            ASSERT_FALSE(trimmed_.contains(number)) << "came back " << number;
            ASSERT_FALSE(refused_.contains(number)) << "was refused " << number;
            // What was doubtful and is there has been accepted, once it is seen.
            accepted_.insert(number);
        }
        std::map<std::string, int> keys;
        for (const int number : there) ++keys["k" + std::to_string(number % 3)];
        ASSERT_EQ((*opened)->levels().keys, keys.size());
    }

    [[nodiscard]] std::size_t accepted() const { return accepted_.size(); }

private:
    SeededRandom chance_;

public:
    SimDisk disk;

private:
    const JournalOptions options_{.segment_bytes = 4096, .reserve_bytes = 4096};
    int last_ = 0;
    std::set<int> accepted_, refused_, doubtful_, trimmed_, maybe_trimmed_;
};

TEST(JournalLife, EverySyncThatFailsAndAPowerCutAfterwardsLosesNothingAccepted) {
    for (std::uint64_t nth = 1; nth <= 120; ++nth) {
        SCOPED_TRACE("sync " + std::to_string(nth));
        Life life{nth};
        life.disk.fail_nth(DiskCall::sync, nth);
        life.live(100);
        life.disk.heal();
        life.disk.crash();
        life.check();
        if (::testing::Test::HasFatalFailure()) return;
        EXPECT_GT(life.accepted(), 60U) << "it went on in a new segment";
    }
}

TEST(JournalLife, CrashesAndFaultsByChance) {
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Life life{seed};
        for (int round = 0; round < 4; ++round) {
            life.disk.set_faults({.write = 20'000, .sync = 20'000, .sync_directory = 20'000});
            life.live(static_cast<int>(20 + seed % 17));
            life.disk.set_faults({});
            life.disk.heal();
            round % 2 == 0 ? life.disk.crash() : life.disk.kill();
            life.check();
            if (::testing::Test::HasFatalFailure()) return;
        }
    }
}

}  // namespace
}  // namespace hufu::degradation::journal
