// The journal as a buffer, on the real file system.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>
#include <thread>

#include <hufu/degradation/journal.hpp>
#include <hufu/testing/fake_clock.hpp>

namespace hufu::degradation {
namespace {

using Status = SpillOutcome::Status;
using std::chrono::milliseconds;

Message message_of(const std::string& body, const std::string& key = {}) {
    return {.topic = "orders", .ordering_key = key, .body = body};
}

class JournalTest : public ::testing::Test {
protected:
    JournalTest() {
        std::string name = (std::filesystem::temp_directory_path() / "hufu-journal-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error{"no folder " + name};
        folder = name;
    }
    ~JournalTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }

    std::unique_ptr<Journal> open() { return Journal::open(open_directory(folder).value(), options, clock).value(); }

    static std::vector<SpillOutcome> spill(Buffer& buffer, const std::vector<Message>& messages,
                                           SpillWhen when = SpillWhen::always) {
        std::vector<SpillOutcome> outcomes(messages.size());
        std::promise<void> done;
        buffer.spill(messages, when, outcomes, [&] { done.set_value(); });
        done.get_future().wait();
        return outcomes;
    }
    static std::uint64_t epoch_of(Buffer& buffer) {
        std::uint64_t value = 0;
        buffer.epoch([&](const Result<std::uint64_t>& read) { value = read.value(); });
        return value;
    }
    static std::vector<std::string> bodies(const std::vector<Entry>& entries) {
        std::vector<std::string> all;
        for (const auto& entry : entries) all.push_back(entry.message.body);
        return all;
    }
    static std::vector<EntryId> ids(const std::vector<Entry>& entries) {
        std::vector<EntryId> all;
        for (const auto& entry : entries) all.push_back(entry.id);
        return all;
    }

    std::string folder;
    JournalOptions options;
    testing::FakeClock clock{testing::FakeClock::Sleep::advances};
};

TEST_F(JournalTest, BarsAKeyFromItsFirstSpillUntilItsLastTrim) {
    const auto journal = open();
    EXPECT_EQ(epoch_of(*journal), 0U);
    EXPECT_EQ(spill(*journal, {message_of("0", "a")}, SpillWhen::if_key_is_buffered)[0].status, Status::not_buffered);
    EXPECT_EQ(spill(*journal, {message_of("1", "a")})[0].status, Status::spilled);
    EXPECT_EQ(
        spill(*journal, {message_of("2", "a"), message_of("x", "b"), message_of("y")}, SpillWhen::if_key_is_buffered)[0]
            .status,
        Status::spilled);
    EXPECT_GT(epoch_of(*journal), 0U);
    EXPECT_EQ(journal->holds(std::vector<ConsumerKey>{{"orders", "a"}, {"orders", "b"}}).value(),
              (std::vector<bool>{true, false}));
    const auto reader = journal->reader("r");
    const auto entries = reader->read(10, milliseconds{0}).value();
    EXPECT_EQ(bodies(entries), (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(reader->trim({&entries[0].id, 1}).value(), 1U);
    EXPECT_GT(epoch_of(*journal), 0U);
    EXPECT_EQ(reader->trim({&entries[1].id, 1}).value(), 1U);
    EXPECT_EQ(epoch_of(*journal), 0U);
    EXPECT_EQ(spill(*journal, {message_of("3", "a")}, SpillWhen::if_key_is_buffered)[0].status, Status::not_buffered);
}

TEST_F(JournalTest, RestoresItsBarrierAndEntriesAtStart) {
    Message full{.topic = "orders", .tag = "t", .keys = {"k1", "k2"}, .ordering_key = "a", .body = std::string("\0\xff", 2)};
    full.id = MessageId::parse("01890a5d-ac96-774b-bcce-b302099a8057").value();
    full.headers.set("h", "v");
    full.deliver_at = clock.system_now();
    {
        const auto journal = open();
        ASSERT_EQ(spill(*journal, {full})[0].status, Status::spilled);
    }
    clock.advance(std::chrono::hours{1});
    const auto journal = open();
    EXPECT_EQ(epoch_of(*journal), 1U);
    const auto size = journal->size().value();
    EXPECT_EQ(size.entries, 1U);
    EXPECT_EQ(size.oldest_age, std::chrono::hours{1});
    const auto entries = journal->reader("r")->read(10, milliseconds{0}).value();
    ASSERT_EQ(entries.size(), 1U);
    EXPECT_EQ(entries[0].message, full);
}

TEST_F(JournalTest, IsOneProcessOrObjectOnly) {
    const auto journal = open();
    const auto second = Journal::open(open_directory(folder).value(), options, clock);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), ErrorCode::busy);
    EXPECT_THAT(second.error().text(), ::testing::HasSubstr(folder));
}

TEST_F(JournalTest, ASecondReaderGetsNothingUntilTheFirstReleases) {
    const auto journal = open();
    spill(*journal, {message_of("1", "a"), message_of("2", "b")});
    const auto first = journal->reader("1");
    const auto second = journal->reader("2");
    const auto entries = first->read(10, milliseconds{0}).value();
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_TRUE(second->read(10, milliseconds{0}).value().empty());
    EXPECT_EQ(second->trim(ids(entries)).value(), 0U) << "it owns nothing";
    ASSERT_TRUE(first->release());
    const auto again = second->read(10, milliseconds{0}).value();
    EXPECT_EQ(bodies(again), (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(again[0].deliveries, 1U);
    EXPECT_EQ(first->trim(ids(entries)).value(), 0U) << "another one owns them";
    EXPECT_EQ(second->trim(ids(again)).value(), 2U);
}

TEST_F(JournalTest, SetsAsideAndPutsBack) {
    const auto journal = open();
    spill(*journal, {message_of("1", "a"), message_of("2", "b"), message_of("3", "a")});
    const auto reader = journal->reader("r");
    const auto entries = reader->read(10, milliseconds{0}).value();
    ASSERT_TRUE(reader->park(std::vector<EntryId>{entries[0].id, entries[2].id}, "too large"));
    EXPECT_EQ(journal->size()->parked, 2U);
    EXPECT_EQ(journal->size()->entries, 1U);
    EXPECT_TRUE(journal->holds(std::vector<ConsumerKey>{{"orders", "a"}}).value()[0]) << "the key stays barred";
    ASSERT_TRUE(reader->release());
    EXPECT_EQ(bodies(reader->read(10, milliseconds{0}).value()), std::vector<std::string>{"2"});
    std::vector<Entry> parked;
    ASSERT_TRUE(journal->browse(Buffer::Shelf::parked, [&](const Entry& entry) {
        parked.push_back(entry);
        return true;
    }));
    ASSERT_EQ(bodies(parked), (std::vector<std::string>{"1", "3"}));
    EXPECT_EQ(parked[1].reason, "too large");
    EXPECT_EQ(journal->unpark().value(), 2U);
    ASSERT_TRUE(reader->release());
    EXPECT_EQ(bodies(reader->read(10, milliseconds{0}).value()), (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(JournalTest, ItsBoundsRefuseWithAWayOut) {
    options.entries_max = 2;
    const auto journal = open();
    const auto outcomes =
        spill(*journal, {message_of("1", "a"), message_of("2", "a"), message_of("3", "a"), message_of("4", "a")});
    EXPECT_EQ(outcomes[1].status, Status::spilled);
    EXPECT_EQ(outcomes[2].status, Status::refused);
    EXPECT_EQ(outcomes[2].error.code(), ErrorCode::out_of_space);
    EXPECT_EQ(outcomes[2].error.disposition(), Disposition::retry);
    EXPECT_THAT(outcomes[2].error.text(), ::testing::HasSubstr("entries_max"));
    EXPECT_EQ(outcomes[3].status, Status::refused) << "the later ones of its key as well";
    EXPECT_EQ(journal->size()->entries, 2U);
}

TEST_F(JournalTest, AnOldEntryRefusesNewOnes) {
    options.age_max = milliseconds{1'000};
    const auto journal = open();
    EXPECT_EQ(spill(*journal, {message_of("1")})[0].status, Status::spilled);
    clock.advance(milliseconds{1'500});
    const auto outcome = spill(*journal, {message_of("2")})[0];
    EXPECT_EQ(outcome.status, Status::refused);
    EXPECT_THAT(outcome.error.text(), ::testing::HasSubstr("age_max"));
}

TEST_F(JournalTest, ManyCallersKeepTheirOrderPerKey) {
    const auto journal = open();
    constexpr int per_caller = 200;
    {
        std::vector<std::jthread> callers;
        for (int caller = 0; caller < 4; ++caller) {
            callers.emplace_back([&, caller] {
                for (int i = 0; i < per_caller; ++i) {
                    EXPECT_EQ(spill(*journal, {message_of(std::to_string(i), "k" + std::to_string(caller))})[0].status,
                              Status::spilled);
                }
            });
        }
    }
    const auto reader = journal->reader("r");
    std::map<std::string, int> next;
    for (std::vector<Entry> page; !(page = reader->read(64, milliseconds{0}).value()).empty();) {
        for (const auto& entry : page) EXPECT_EQ(entry.message.body, std::to_string(next[entry.message.ordering_key]++));
        EXPECT_EQ(reader->trim(ids(page)).value(), page.size());
    }
    for (int caller = 0; caller < 4; ++caller) EXPECT_EQ(next["k" + std::to_string(caller)], per_caller);
    EXPECT_EQ(journal->size()->entries, 0U);
}

TEST(JournalOptionsTest, RefusesWhatMakesNoSense) {
    EXPECT_TRUE(validate(JournalOptions{}));
    const auto refused = validate(JournalOptions{.segment_bytes = 1});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().text(), ::testing::HasSubstr("segment_bytes = 1"));
}

}  // namespace
}  // namespace hufu::degradation
