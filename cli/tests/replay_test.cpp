// hufu replay of a journal: the flags, bad input, a broker that is away or refuses.
#include "tests/replay_fixture.hpp"

#include "src/report.hpp"

namespace hufu::cli {
namespace {

TEST_F(CliReplay, EmptiesAJournalAndSaysWhatBecameOfEachMessage) {
    const auto messages = spill(journal(), 500);
    const auto preview = program_.run(words(journal(), {"--dry-run", "--json"}));
    ASSERT_EQ(preview.exit_code, 0) << preview.err;
    EXPECT_EQ(object(preview).at("would_go").to_number<int>(), 500);
    const auto said = program_.run(words(journal(), {"--json", "--outcomes", program_.file("outcomes")}));
    ASSERT_EQ(said.exit_code, 0) << said.err;
    const auto report = object(said);
    EXPECT_EQ(report.at("read").to_number<int>(), 500) << "the dry run left everything";
    EXPECT_EQ(report.at("confirmed").to_number<int>(), 500);
    EXPECT_EQ(report.at("left").to_number<int>(), 0);
    EXPECT_EQ(report.at("ended").as_string(), "drained");
    std::ifstream file{program_.file("outcomes")};
    std::size_t lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
        EXPECT_EQ(boost::json::parse(line).at("outcome").as_string(), "confirmed");
    }
    EXPECT_EQ(lines, 500U);
    check_delivered(messages);
    const auto again = program_.run(words(journal()));
    EXPECT_EQ(again.exit_code, 0);
    EXPECT_THAT(again.err, HasSubstr("nothing to replay"));
}

TEST_F(CliReplay, ASecondOneOnAJournalIsRefusedAndTheFirstEnds) {
    const auto messages = spill(journal(), 1'000);
    const pid_t first = program_.start(words(journal(), {"--rate", "1000", "--outcomes", program_.file("outcomes")}));
    while (!std::filesystem::exists(program_.file("outcomes")) ||
           std::filesystem::file_size(program_.file("outcomes")) == 0) {
        ASSERT_EQ(::kill(first, 0), 0);
    }
    Program elsewhere;
    const auto second = elsewhere.run(words(journal()));
    EXPECT_EQ(second.exit_code, 1);
    EXPECT_THAT(second.err, AllOf(HasSubstr("in use by another process"), HasSubstr(program_.file("journal"))));
    EXPECT_EQ(program_.wait(first).exit_code, 0);
    check_delivered(messages);
}

TEST_F(CliReplay, SetsAsideWhatTheBrokerRefusesWithItsSuccessors) {
    auto huge = next();
    huge.ordering_key = "huge";
    huge.body.assign(std::size_t{9} << 20U, 'x');
    auto behind = next();
    behind.ordering_key = "huge";
    spill(journal(), {huge, behind});
    const auto messages = spill(journal(), 50);
    const auto said = program_.run(words(journal(), {"--json", "--outcomes", program_.file("outcomes")}));
    EXPECT_EQ(said.exit_code, 1);
    EXPECT_THAT(said.err, HasSubstr("--retry-parked"));
    EXPECT_EQ(object(said).at("left_parked").to_number<int>(), 2);
    EXPECT_EQ(object(said).at("confirmed").to_number<int>(), 50);
    check_delivered(messages);
    const auto again = program_.run(words(journal(), {"--retry-parked", "--json"}));
    EXPECT_EQ(again.exit_code, 1);
    EXPECT_EQ(object(again).at("read").to_number<int>(), 2);
    EXPECT_EQ(object(again).at("left_parked").to_number<int>(), 2);
}

TEST_F(CliReplay, AFilterLeavesTheRestAndOneThatMatchesNothingSaysSo) {
    const auto messages = spill(journal(), 70);
    auto nothing = program_.run(words(journal(), {"--topic", "stock"}));
    EXPECT_EQ(nothing.exit_code, 1);
    EXPECT_THAT(nothing.err, HasSubstr("the filter matches nothing: 70 entries were left"));
    EXPECT_EQ(program_.run(words(journal(), {"--topic", "stock", "--dry-run"})).exit_code, 1);
    const auto some = program_.run(words(journal(), {"--key", "k3", "--json"}));
    EXPECT_EQ(some.exit_code, 0) << some.err;
    EXPECT_EQ(object(some).at("confirmed").to_number<int>(), 10);
    EXPECT_EQ(object(some).at("left").to_number<int>(), 60);
    EXPECT_EQ(program_.run(words(journal())).exit_code, 0);
    check_delivered(messages);
}

TEST_F(CliReplay, ABrokerThatIsAwayLosesNothing) {
    const auto messages = spill(journal(), 20);
    broker_.terminate();
    const auto said = program_.run(words(journal(), {"--patience", "500ms"}));
    EXPECT_EQ(said.exit_code, 3) << said.err;
    EXPECT_THAT(said.err, HasSubstr("the broker takes nothing"));
    SetUp();
    EXPECT_EQ(program_.run(words(journal())).exit_code, 0);
    check_delivered(messages);
}

TEST_F(CliReplay, BadInputIsAnsweredBeforeAnythingIsTouched) {
    spill(journal(), 5);
    const auto expect = [&](const std::vector<std::string>& all, int code, const std::string& text) {
        const auto said = program_.run(all);
        EXPECT_EQ(said.exit_code, code) << text << ": " << said.err;
        EXPECT_THAT(said.err, HasSubstr(text));
    };
    expect(words(journal(), {"--outcomes", "/nowhere/outcomes"}), 2, "/nowhere/outcomes");
    expect(words("redis://127.0.0.1:1", {"--outcomes", "/nowhere/outcomes"}), 2, "nothing was tried");
    expect(words("journal:" + program_.file("typo")), 1, "there is no folder");
    expect(words("mailto:x"), 2, "is not the address of a buffer");
    expect(words("redis://127.0.0.1:1", {"--patience", "300ms"}), 3, "127.0.0.1:1");
    expect(words(journal(), {"--since", "yesterday"}), 2, "yesterday");
    expect(words(journal(), {"--warm-up", "5s"}), 2, "warm_up needs a rate");
    expect(words(journal(), {"--once", "--follow"}), 2, "--once");
    expect({"replay", "--from", journal(), "--to", "amqp://x"}, 2, "is not the address of a broker");
    std::filesystem::create_directory(program_.file("foreign"));
    std::ofstream{program_.file("foreign") + "/0000000001.journal"} << std::string(4'096, 'x');
    expect(words("journal:" + program_.file("foreign")), 1, "is not a journal's segment");
    const auto rest = program_.run(words(journal(), {"--json"}));
    EXPECT_EQ(object(rest).at("confirmed").to_number<int>(), 5);
}

TEST_F(CliReplay, TheTimeOfTheSpillFilters) {
    const auto spill_for = [&](const std::string& key) {
        std::vector<Message> messages{next(), next(), next()};
        for (auto& message : messages) message.ordering_key = key;
        spill(journal(), messages);
        return messages;
    };
    const auto early = spill_for("early");
    sleep(milliseconds{20});
    const std::string noon = time_text(system_clock().system_now());
    sleep(milliseconds{20});
    const auto late = spill_for("late");
    const auto ids = [](const std::vector<Message>& messages) {
        std::set<std::string> all;
        for (const auto& message : messages) all.insert(message.id.to_string());
        return all;
    };
    const auto preview = object(program_.run(words(journal(), {"--until", noon, "--dry-run", "--json"})));
    EXPECT_EQ(preview.at("would_go").to_number<int>(), 3);
    EXPECT_EQ(preview.at("filtered").to_number<int>(), 3);

    const auto since = program_.run(words(journal(), {"--since", noon, "--json", "--outcomes", program_.file("since")}));
    EXPECT_EQ(since.exit_code, 0) << since.err;
    EXPECT_EQ(object(since).at("confirmed").to_number<int>(), 3);
    EXPECT_EQ(object(since).at("left").to_number<int>(), 3);
    EXPECT_EQ(ids_in("since"), ids(late));
    EXPECT_EQ(program_.run(words(journal(), {"--until", "1h"})).exit_code, 1) << "nothing is an hour old";

    const auto until =
        program_.run(words(journal(), {"--since", "1h", "--until", noon, "--json", "--outcomes", program_.file("until")}));
    EXPECT_EQ(until.exit_code, 0) << until.err;
    EXPECT_EQ(ids_in("until"), ids(early));
    EXPECT_EQ(object(until).at("left").to_number<int>(), 0);
    check_delivered(late);
}

TEST_F(CliReplay, WhatMatchesStaysBehindAnEarlierOneOfItsKey) {
    auto first = next();
    auto second = next();
    first.ordering_key = second.ordering_key = "same";
    spill(journal(), {first});
    sleep(milliseconds{20});
    const std::string noon = time_text(system_clock().system_now());
    sleep(milliseconds{20});
    spill(journal(), {second});
    const auto said = program_.run(words(journal(), {"--since", noon, "--json"}));
    EXPECT_EQ(said.exit_code, 1);
    EXPECT_EQ(object(said).at("behind_filtered").to_number<int>(), 1);
    EXPECT_EQ(object(said).at("confirmed").to_number<int>(), 0);
    EXPECT_EQ(program_.run(words(journal())).exit_code, 0);
    check_delivered({first, second});
}

}  // namespace
}  // namespace hufu::cli
