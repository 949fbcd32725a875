// Many short lives under random failures: nothing lost, nothing overtaken; and the seeded bugs are seen.
#include <random>

#include "tests/rig.hpp"

namespace hufu::forward {
namespace {

/// What went wrong in one life story, or nothing.
std::string story(std::uint32_t seed) {
    std::minstd_rand chance{seed};
    const auto one_of = [&](unsigned most) { return static_cast<unsigned>(chance() % most); };
    ForwardOptions options = rig_options();
    options.batch_messages = 1 + one_of(4);
    options.rejected = one_of(2) == 0 ? ForwardOptions::Rejected::park_message : ForwardOptions::Rejected::hold;
    Rig rig{options};
    std::map<std::string, int> added;
    const auto add = [&] {
        const std::string key(1, static_cast<char>('a' + one_of(3)));
        rig.add(key, key + std::to_string(++added[key]));
    };
    for (int event = 0; event < 60; ++event) {
        switch (one_of(6)) {
            case 0:
            case 1: add(); break;
            case 2: rig.step(); break;
            case 3:
                if (!rig.out.empty()) {
                    const auto& messages = rig.out.front()->messages;
                    rig.answer({{messages[one_of(static_cast<unsigned>(messages.size()))].body,
                                 std::array{in_doubt, not_sent, rejected}[one_of(3)]}});
                }
                break;
            case 4:
                if (!rig.out.empty()) rig.answer();
                break;
            default:
                if (one_of(4) == 0) {
                    rig.restart();
                    rig.redeliver();
                } else {
                    rig.clock.advance(std::chrono::milliseconds{one_of(3'000)});
                }
        }
    }
    for (int round = 0; round < 1'000 && !rig.stored.empty(); ++round) {
        rig.step();
        rig.answer_all();
        rig.clock.advance(std::chrono::seconds{3});
    }
    std::map<std::string, int> last;
    std::set<std::string> seen;
    for (const auto& message : rig.letters) seen.insert(message.body);
    for (const auto& message : rig.arrived) {
        const int number = std::stoi(message.body.substr(1));
        int& highest = last[message.ordering_key];
        for (int missing = highest + 1; missing < number; ++missing) {
            const std::string body = message.ordering_key + std::to_string(missing);
            if (!seen.contains(body)) return body + " was overtaken by " + message.body;
        }
        highest = std::max(highest, number);
        seen.insert(message.body);
    }
    for (const auto& [key, count] : added) {
        for (int number = 1; number <= count; ++number) {
            if (!seen.contains(key + std::to_string(number))) return key + std::to_string(number) + " was lost";
        }
    }
    return rig.stored.empty() ? "" : "something was never acknowledged";
}

TEST(ForwardPromises, HoldUnderFailuresAndCrashes) {
    for (std::uint32_t seed = 1; seed <= 2'000; ++seed) {
        ASSERT_EQ(story(seed), "") << "seed " << seed;
    }
}

TEST(ForwardPromises, SeededBugsAreSeen) {
    for (const auto* mutant : {"forward_acknowledges_first", "forward_drops_rejected", "forward_overtakes"}) {
        activate_mutant(mutant);
        std::string found;
        for (std::uint32_t seed = 1; seed <= 2'000 && found.empty(); ++seed) found = story(seed);
        activate_mutant({});
        EXPECT_NE(found, "") << mutant << " lives";
    }
}

}  // namespace
}  // namespace hufu::forward
