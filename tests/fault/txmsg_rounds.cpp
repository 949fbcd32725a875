#include "txmsg_rounds.hpp"

#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include <hufu/core/clock.hpp>
#include <hufu/core/random.hpp>

#include "txmsg_plan.hpp"

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
using test_support::Child;

constexpr int forwarded_per_round = 40;

std::size_t messages_of(int transactions, bool committed_only) {
    std::size_t count = 0;
    for (int number = 0; number < transactions; ++number) {
        if (!committed_only || !wants_rollback(number)) count += topics_of("", number).size();
    }
    return count;
}

std::uint64_t checks_in(const std::string& folder) {
    std::uint64_t count = 0;
    for (const auto& own : std::filesystem::directory_iterator{folder}) {
        const auto path = own.path() / "checks";
        if (std::filesystem::exists(path)) count += std::filesystem::file_size(path);
    }
    return count;
}

void wait_until(const char* what, const std::function<bool()>& reached) {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + 60s;
    while (!reached()) {
        if (clock.steady_now() > give_up) throw std::runtime_error{std::string{"after 60 s still not: "} + what};
        clock.sleep_until(clock.steady_now() + 1ms, {});
    }
}

/// Everybody stands at the step, the victim dies, everything runs again, everything is decided.
class Round {
public:
    Round(Scene& scene, std::string folder, std::string name, std::string step, std::string victim, TxRounds& total)
        : scene_{scene},
          folder_{std::move(folder)},
          name_{std::move(name)},
          step_{std::move(step)},
          victim_{std::move(victim)},
          total_{total} {}

    void run() {
        if (victim_ == "responder" && !checking_) responder_ = scene_.service(answerer_, "none", name_, 0);
        if (step_ == "half_stored") scene_.cut().arm();
        begin();
        wait_for_step();
        ++total_.kills;
        kill_victim();
        if (step_ == "half_stored") scene_.cut().cut();
        Scene::release(sender_);
        if (checking_) Scene::release(answerer_);
        if (victim_ != "producer" && !checking_) Scene::wait_for_file(producer_, sender_, "finished");
        // What died is there again; where the producer lives, it answers checks itself.
        if (victim_ == "producer" || victim_ == "responder")
            responder_ = scene_.service(folder_ + "/again", "none", name_, 0);
        total_.undecided += scene_.wait_decided();
        total_.checks_answered += checks_in(folder_);
        ++total_.rounds;
    }

private:
    [[nodiscard]] int transactions() const {
        return step_ == "during_forward" ? forwarded_per_round : transactions_per_round;
    }

    void begin() {
        const bool stands = step_ != "half_stored" && step_ != "during_forward";
        // For a check to come the producer dies with its halves stored, or its local transactions committed.
        const std::string sender_step = !stands                  ? "none"
                                        : !checking_             ? step_
                                        : total_.rounds % 2 == 0 ? "between_commit_and_end"
                                                                 : "after_half";
        seen_before_ = scene_.watcher().count();
        producer_ = scene_.service(sender_, sender_step, name_, transactions());
        total_.transactions += static_cast<std::uint64_t>(transactions());
    }

    void wait_for_step() {
        if (step_ == "half_stored") {
            return wait_until("every half of the round is stored",
                              [this] { return scene_.cut().held() == messages_of(transactions(), false); });
        }
        if (step_ == "during_forward") {
            // At a random moment among those at which messages arrive.
            const auto enough = seen_before_ + 1 + system_random().below(messages_of(transactions(), true));
            return wait_until("messages arrive at the target", [&] { return scene_.watcher().count() >= enough; });
        }
        Scene::wait_for_file(producer_, sender_, "reached");
        if (!checking_) return;
        producer_.kill();
        ++total_.kills;
        responder_ = scene_.service(answerer_, step_, name_, 0);
        Scene::wait_for_file(responder_, answerer_, "reached");
    }

    void kill_victim() {
        if (victim_ == "database") scene_.kill_and_restart_database();
        if (victim_ == "broker") scene_.kill_and_restart_broker();
        if (victim_ == "target") scene_.kill_and_restart_target();
        if (victim_ == "forwarder") scene_.kill_and_restart_forwarder();
        if (victim_ == "responder" || (checking_ && victim_ == "producer")) responder_.kill();
        if (victim_ == "producer") producer_.kill();
    }

    Scene& scene_;
    const std::string folder_;
    const std::string name_;
    const std::string step_;
    const std::string victim_;
    TxRounds& total_;
    const bool checking_ = step_ == "during_check";
    const std::string sender_ = folder_ + "/sender";
    const std::string answerer_ = folder_ + "/answerer";
    std::size_t seen_before_ = 0;
    Child responder_;
    Child producer_;
};

/// After all the kills: the house works.
void run_undisturbed(Scene& scene, const std::string& folder, TxRounds& total) {
    Child producer = scene.service(folder, "none", "last", transactions_per_round);
    Scene::wait_for_file(producer, folder, "finished");
    total.transactions += transactions_per_round;
    total.undecided += scene.wait_decided();
}

}  // namespace

std::vector<std::string> victims_of(const std::string& step) {
    if (step == "during_forward") return {"forwarder", "target", "broker"};
    return {"producer", "database", "broker", "responder"};
}

void TxRounds::add(const TxRounds& other) {
    rounds += other.rounds;
    kills += other.kills;
    transactions += other.transactions;
    checks_answered += other.checks_answered;
    undecided += other.undecided;
    verdict.add(other.verdict);
}

TxRounds kill_at(const TxPrograms& programs, test_support::PostgresServer& server, TxBroker* original,
                 const std::string& root, const std::string& step, const std::string& victim, int rounds) {
    TxRounds total;
    Scene scene{programs, server, root + "/" + step + "-" + victim, step, victim, original};
    for (int round = 0; round < rounds && total.undecided == 0; ++round) {
        const std::string name = "round" + std::to_string(round);
        const std::string folder = scene.folder() + "/" + name;
        std::filesystem::create_directories(folder);
        Round{scene, folder, name, step, victim, total}.run();
        std::fprintf(stderr, "\r%-22s %-9s round %d/%d", step.c_str(), victim.c_str(), round + 1, rounds);
    }
    std::fprintf(stderr, "\n");
    if (total.undecided == 0) run_undisturbed(scene, scene.folder() + "/last", total);
    scene.let_it_ask(scene.folder() + "/asked");
    total.verdict = scene.judged();
    return total;
}

}  // namespace hufu::fault
