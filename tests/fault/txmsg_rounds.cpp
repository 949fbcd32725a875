#include "txmsg_rounds.hpp"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include <hufu/connect/connect.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/test_support/child.hpp>

#include <pqxx/pqxx>

#include "txmsg_plan.hpp"

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
using test_support::Child;

/// What the rounds of one step and victim run in.
class Scene {
public:
    Scene(const TxPrograms& programs, test_support::PostgresServer& server, std::string folder)
        : programs_{programs}, server_{server}, folder_{std::move(folder)}, database_{server.create_database()} {
        std::filesystem::create_directories(folder_ + "/data");
        postgres::migrate(database_).value();
        pqxx::connection connection{database_};
        pqxx::work work{connection};
        work.exec("create table done(id text primary key)");
        work.commit();
        start_broker();
    }

    void start_broker() {
        const std::string output = folder_ + "/broker.log";
        broker_ = Child{{.arguments = {programs_.folder + "/hufu-broker", "--data", folder_ + "/data", "--listen",
                                       "127.0.0.1:" + std::to_string(port_), "--tx-first-check", "200ms",
                                       "--tx-check-interval", "200ms", "--tx-check-interval-max", "500ms"},
                         .output = output}};
        test_support::wait_until_ready(broker_, "hufu-broker", output, [&] { return test_support::accepts(port_); });
    }
    [[nodiscard]] std::string broker_url() const { return "rocketmq://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] const std::string& database() const { return database_; }

    /// A service process that answers checks; files of its own in `own`.
    Child service(const std::string& own, const std::string& step, const std::string& round, int transactions) {
        std::filesystem::create_directories(own);
        test_support::ProcessOptions process{.arguments = {programs_.folder + "/hufu-fault-txmsg-service", database_,
                                                           broker_url(), own, step, round, std::to_string(transactions)},
                                             .output = own + "/log"};
        if (programs_.lie) process.arguments.push_back("lie");
        Child child{process};
        wait_for_file(child, own, "ready");
        return child;
    }
    static void wait_for_file(Child& child, const std::string& own, const std::string& name) {
        test_support::wait_until_ready(child, "the service (" + name + ")", own + "/log",
                                       [&] { return std::filesystem::exists(own + "/" + name); });
    }

    void kill_and_restart_database() { server_.restart(test_support::StopMode::kill); }
    void kill_and_restart_broker() {
        broker_.kill();
        start_broker();
    }
    /// How many transactions are pending or parked after a minute at most.
    std::uint64_t wait_decided() {
        const auto admin = connect::transaction_admin(broker_url()).value();
        Clock& clock = system_clock();
        const SteadyTime give_up = clock.steady_now() + 60s;
        for (;;) {
            const auto left = admin->list({});
            if (left && left->transactions.empty()) return 0;
            if (clock.steady_now() > give_up) {
                std::fprintf(stderr, "\n%s\n", left ? left->to_json().c_str() : left.error().text().c_str());
                return left ? left->transactions.size() : 1;
            }
            clock.sleep_until(clock.steady_now() + 20ms, {});
        }
    }

private:
    const TxPrograms& programs_;
    test_support::PostgresServer& server_;
    const std::string folder_;
    const std::string database_;
    const std::uint16_t port_ = test_support::free_port();
    Child broker_;
};

std::uint64_t checks_in(const std::string& folder) {
    std::uint64_t count = 0;
    for (const auto& own : std::filesystem::directory_iterator{folder}) {
        const auto path = own.path() / "checks";
        if (std::filesystem::exists(path)) count += std::filesystem::file_size(path);
    }
    return count;
}

void release(const std::string& own) { std::fclose(std::fopen((own + "/go").c_str(), "w")); }

/// One round: everybody stands at the step, the victim dies, everything runs again, everything is decided.
void run_round(Scene& scene, const std::string& folder, const std::string& round, const std::string& step,
               const std::string& victim, TxRounds& total) {
    const bool checking = step == "during_check";
    const std::string sender = folder + "/sender";
    const std::string answerer = folder + "/answerer";
    // For a check to come the producer dies with its halves stored, or its local transactions committed.
    const std::string sender_step = !checking ? step : total.rounds % 2 == 0 ? "between_commit_and_end" : "after_half";
    Child responder;
    if (victim == "responder" && !checking) responder = scene.service(answerer, "none", round, 0);
    Child producer = scene.service(sender, sender_step, round, transactions_per_round);
    total.transactions += transactions_per_round;
    Scene::wait_for_file(producer, sender, "reached");
    if (checking) {
        producer.kill();
        ++total.kills;
        responder = scene.service(answerer, step, round, 0);
        Scene::wait_for_file(responder, answerer, "reached");
    }
    ++total.kills;
    if (victim == "database") scene.kill_and_restart_database();
    if (victim == "broker") scene.kill_and_restart_broker();
    if (victim == "responder" || (checking && victim == "producer")) responder.kill();
    if (victim == "producer") producer.kill();
    release(sender);
    if (checking) release(answerer);
    if (victim != "producer" && !checking) Scene::wait_for_file(producer, sender, "finished");
    // What died is there again; where the producer lives, it answers checks itself.
    if (victim == "producer" || victim == "responder") responder = scene.service(folder + "/again", "none", round, 0);
    total.undecided += scene.wait_decided();
    total.checks_answered += checks_in(folder);
    ++total.rounds;
}

}  // namespace

void TxRounds::add(const TxRounds& other) {
    rounds += other.rounds;
    kills += other.kills;
    transactions += other.transactions;
    checks_answered += other.checks_answered;
    undecided += other.undecided;
    verdict.add(other.verdict);
}

TxRounds kill_at(const TxPrograms& programs, test_support::PostgresServer& server, const std::string& root,
                 const std::string& step, const std::string& victim, int rounds) {
    TxRounds total;
    const std::string folder = root + "/" + step + "-" + victim;
    Scene scene{programs, server, folder};
    Watcher watcher{scene.database(), scene.broker_url()};
    for (int round = 0; round < rounds && total.undecided == 0; ++round) {
        const std::string name = "round" + std::to_string(round);
        std::filesystem::create_directories(folder + "/" + name);
        run_round(scene, folder + "/" + name, name, step, victim, total);
        std::fprintf(stderr, "\r%-22s %-9s round %d/%d", step.c_str(), victim.c_str(), round + 1, rounds);
    }
    std::fprintf(stderr, "\n");
    total.verdict = judge(scene.database(), scene.broker_url(), watcher.too_early());
    return total;
}

}  // namespace hufu::fault
