// Many short outages, two producing processes, everything failing at random: what was accepted arrives or is buffered, in
// the order per key in which it was accepted; and the seeded bugs are seen.
#include "tests/ladder_rig.hpp"

namespace hufu::degradation {
namespace {

/// What went wrong in one story, or nothing. Callers of a key are serialised: the next message of a key is published after
/// the one before was accepted. Where Redis does not fail, by either process; where it does, by one: of two journals nobody
/// can say which is older.
std::string story(std::uint64_t seed) {
    SeededRandom chance{seed};
    LadderOptions options = LadderRig::rig_options();
    options.when_silent = LadderOptions::Silence::holds_every_key;
    options.batch_messages = 1 + chance.below(3);
    LadderRig first{options};
    LadderRig second{options, 1, {first.redis}};
    LadderRig* rigs[] = {&first, &second};
    const bool shared_keys = chance.below(2) == 0;
    std::map<std::string, int> added;
    std::map<std::string, std::string> open;                   // key -> the message that is not accepted yet
    std::map<std::string, std::vector<std::string>> accepted;  // key -> in order
    std::vector<std::string> arrived;
    const auto add = [&] {
        const std::string key(1, static_cast<char>('a' + chance.below(3)));
        if (open.contains(key)) return;
        const std::string body = key + std::to_string(++added[key]);
        open[key] = body;
        rigs[shared_keys ? chance.below(2) : static_cast<std::size_t>(key[0] % 2)]->add(key, body);
    };
    const auto hear = [&] {
        for (LadderRig* rig : rigs) {
            for (const auto& body : std::exchange(rig->ended, {})) {
                if (body == "opens") continue;
                const std::string key = body.substr(0, 1);
                if (rig->outcomes[body].status == PublishStatus::confirmed) accepted[key].push_back(body);
                open.erase(key);
            }
            arrived.insert(arrived.end(), rig->arrived.begin(), rig->arrived.end());
            rig->arrived.clear();
        }
    };
    const auto replay = [&](LadderRig& rig) {
        auto& from = chance.below(2) == 0 ? *rig.redis : *rig.journal;
        const auto reader = from.reader("r");
        const auto read = reader->read(1, std::chrono::milliseconds{0});
        if (!read || read->empty()) return;
        const Message& message = read->front().message;
        if (&from == rig.journal.get()) {
            const auto held = rig.redis->holds(std::vector{ConsumerKey{message.topic, message.ordering_key}});
            if (!held || (*held)[0]) return;
        }
        arrived.push_back(message.body);
        if (chance.below(4) > 0) (void)reader->trim(std::vector{read->front().id});  // else it died before the trim
    };
    for (int event = 0; event < 120; ++event) {
        LadderRig& rig = *rigs[chance.below(2)];
        switch (chance.below(9)) {
            case 0:
            case 1:
            case 2: add(); break;
            case 3:
                if (!rig.out.empty()) rig.answer();
                break;
            case 4:
                if (!rig.out.empty()) rig.answer(PublishOutcome{.status = PublishStatus::in_doubt, .error = gone()});
                break;
            case 5:
                if (shared_keys) break;
                chance.below(2) == 0 ? rig.redis->go_away() : rig.redis->come_back();
                break;
            case 6: replay(rig); break;
            case 7: rig.redis->hold_back(!shared_keys && chance.below(3) == 0); break;
            default:
                rig.redis->answer_all();
                for (LadderRig* both : rigs) both->pass(std::chrono::milliseconds{chance.below(400)});
        }
        hear();
    }
    first.redis->hold_back(false);
    first.redis->answer_all();
    first.redis->come_back();
    const auto drained = [&] {
        return open.empty() && std::all_of(std::begin(rigs), std::end(rigs), [](const LadderRig* rig) {
                   return rig->redis->messages().empty() && rig->journal->messages().empty();
               });
    };
    for (int round = 0; round < 400 && !drained(); ++round) {
        for (LadderRig* rig : rigs) {
            rig->answer_all();
            rig->pass(std::chrono::milliseconds{100});
            hear();
            replay(*rig);
        }
        hear();
    }
    for (LadderRig* rig : rigs) {
        if (!rig->redis->messages().empty() || !rig->journal->messages().empty()) return "a buffer was not emptied";
    }
    std::map<std::string, std::vector<std::string>> seen;  // key -> first copies, of what was accepted
    std::set<std::string> known;
    for (const auto& body : arrived) {
        const auto& wanted = accepted[body.substr(0, 1)];
        if (std::find(wanted.begin(), wanted.end(), body) == wanted.end()) continue;
        if (known.insert(body).second) seen[body.substr(0, 1)].push_back(body);
    }
    for (const auto& [key, wanted] : accepted) {
        if (seen[key].size() != wanted.size()) return "something accepted of key " + key + " never arrived";
        if (seen[key] != wanted) return "key " + key + " was delivered out of order";
    }
    if (!open.empty()) return "something was never answered";
    return "";
}

TEST(LadderPromises, HoldInTwoProcessesUnderFailures) {
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        ASSERT_EQ(story(seed), "") << "seed " << seed;
    }
}

TEST(LadderPromises, SeededBugsAreSeen) {
    for (const auto* mutant : {"barrier_per_process", "newer_message_overtakes_buffer"}) {
        activate_mutant(mutant);
        std::string found;
        for (std::uint64_t seed = 1; seed <= 1'000 && found.empty(); ++seed) found = story(seed);
        activate_mutant({});
        EXPECT_NE(found, "") << mutant << " lives";
    }
}

}  // namespace
}  // namespace hufu::degradation
