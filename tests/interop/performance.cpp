#include "performance.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include <hufu/core/clock.hpp>

#include "player.hpp"

namespace hufu::interop {
namespace {

using namespace std::chrono_literals;

/// Longer than the slowest case allows itself, in the slowest act.
constexpr auto patience = 6min;

bool needs_access_control(std::string_view name) { return name.starts_with("acl_"); }
bool kills_the_broker(std::string_view name) { return name.starts_with("broker_killed_"); }

}  // namespace

struct Performance::Seat {
    Player* player;
    std::size_t playing;             ///< cases whose outcome it has not told yet
    std::size_t waits_for_kill = 0;  ///< of those
    bool done = false;
};

Performance::Performance(std::string broker, Start start, std::string work, std::string programs)
    : broker_{std::move(broker)}, start_{std::move(start)}, work_{std::move(work)}, programs_{std::move(programs)} {}

Outcomes Performance::play(const std::vector<Role>& roles) {
    Outcomes outcomes;
    act(
        roles, "crowd", false, [](auto name) { return !needs_access_control(name) && !kills_the_broker(name); }, outcomes);
    act(roles, "kill", false, kills_the_broker, outcomes);
    act(roles, "access", true, needs_access_control, outcomes);
    return outcomes;
}

void Performance::act(const std::vector<Role>& roles, const char* act, bool access_control, const Chosen& chosen,
                      Outcomes& outcomes) {
    std::vector<std::pair<const Role*, std::string>> commands;
    std::vector<std::size_t> counts;
    for (const Role& role : roles) {
        std::string command = "run";
        for (const std::string& name : role.cases) {
            if (chosen(name)) command += " " + name;
        }
        if (command == "run") continue;
        counts.push_back(static_cast<std::size_t>(std::count(command.begin(), command.end(), ' ')));
        commands.emplace_back(&role, std::move(command));
    }
    if (commands.empty()) return;
    const std::string folder = work_ + "/" + act;
    // A kept folder holds what an earlier run said.
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    std::fprintf(stderr, "interop: %s, %s\n", broker_.c_str(), act);
    const auto broker = start_({.access_control = access_control, .folder = folder + "/broker", .programs = programs_});
    std::vector<std::unique_ptr<Player>> players;
    for (const auto& [role, command] : commands) {
        const std::string own = folder + "/" + role->client;
        std::filesystem::create_directories(own);
        players.push_back(
            std::make_unique<Player>(role->client, role->words(own, broker->name_server()), own + "/transcript.txt"));
        players.back()->tell(command);
    }
    conduct(players, counts, *broker, outcomes);
}

void Performance::conduct(std::vector<std::unique_ptr<Player>>& players, const std::vector<std::size_t>& counts,
                          BrokerUnderTest& broker, Outcomes& outcomes) {
    std::vector<Seat> seats;
    for (std::size_t i = 0; i < players.size(); ++i) seats.push_back({.player = players[i].get(), .playing = counts[i]});
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + patience;
    const auto all_done = [&] {
        return std::all_of(seats.begin(), seats.end(), [](const Seat& seat) { return seat.done; });
    };
    while (!all_done() && clock.steady_now() < give_up) {
        for (Seat& seat : seats) hear(seat, outcomes);
        // One kill serves all: when every case that is being played waits for it.
        const bool wanted =
            std::any_of(seats.begin(), seats.end(), [](const Seat& seat) { return seat.waits_for_kill > 0; });
        if (wanted && std::all_of(seats.begin(), seats.end(),
                                  [](const Seat& seat) { return seat.done || seat.waits_for_kill == seat.playing; })) {
            broker.kill_and_restart();
            for (Seat& seat : seats) {
                if (seat.waits_for_kill > 0) seat.player->tell("broker-is-back");
                seat.waits_for_kill = 0;
            }
        }
        clock.sleep_until(clock.steady_now() + 20ms, {});
    }
}

void Performance::hear(Seat& seat, Outcomes& outcomes) {
    const bool ran = seat.player->running();
    for (Said& said : seat.player->listen()) {
        switch (said.what) {
            case Said::What::ready: break;
            case Said::What::passed:
            case Said::What::failed:
                --seat.playing;
                note(*seat.player, std::move(said), outcomes);
                break;
            case Said::What::kill_the_broker: ++seat.waits_for_kill; break;
            case Said::What::idle: seat.done = true; break;
        }
    }
    if (!ran && !seat.done) {
        std::fprintf(stderr, "interop: %s ended by itself; see %s\n", seat.player->client().c_str(),
                     seat.player->transcript().c_str());
        seat.done = true;
    }
}

void Performance::note(const Player& player, Said said, Outcomes& outcomes) {
    const bool passed = said.what == Said::What::passed;
    std::fprintf(stderr, "%-9s %-11s %-34s %6.1f s  %s%s\n", broker_.c_str(), player.client().c_str(), said.name.c_str(),
                 static_cast<double>(said.milliseconds) / 1000, passed ? "pass" : "fail: ", said.why.c_str());
    outcomes[{player.client(), std::move(said.name)}] = {.passed = passed, .why = std::move(said.why)};
}

}  // namespace hufu::interop
