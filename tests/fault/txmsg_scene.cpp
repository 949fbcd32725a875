#include "txmsg_scene.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <pqxx/pqxx>

#include <hufu/connect/connect.hpp>
#include <hufu/postgres/schema.hpp>

#include "txmsg_plan.hpp"

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
using test_support::Child;

std::unique_ptr<TxBroker> bundled_in(const TxPrograms& programs, const std::string& folder, const char* name) {
    std::filesystem::create_directories(folder + "/" + name);
    return bundled_broker(programs.folder, folder + "/" + name);
}

std::string make_database(test_support::PostgresServer& server) {
    const std::string database = server.create_database();
    postgres::migrate(database).value();
    pqxx::connection connection{database};
    pqxx::work work{connection};
    work.exec("create table done(id text primary key)");
    work.commit();
    return database;
}

/// What every service of the scene has said to the broker.
AllSaid all_said(const std::string& folder) {
    AllSaid said;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{folder}) {
        if (entry.path().filename() != "said") continue;
        std::ifstream lines{entry.path()};
        for (std::string id, verdict; lines >> id >> verdict;) {
            (verdict == "commit" ? said[id].commit : said[id].rollback) = true;
        }
    }
    return said;
}

}  // namespace

Scene::Scene(const TxPrograms& programs, test_support::PostgresServer& server, std::string folder, const std::string& step,
             const std::string& victim, TxBroker* original)
    : programs_{programs},
      server_{server},
      folder_{std::move(folder)},
      own_broker_{original == nullptr ? bundled_in(programs, folder_, "broker") : nullptr},
      broker_{original == nullptr ? *own_broker_ : *original},
      cut_{step == "half_stored" ? std::make_unique<AnswerCut>(broker_.port(), broker_.broker_port()) : nullptr},
      target_{step == "during_forward" ? bundled_in(programs, folder_, "target") : nullptr},
      place_{step + "-" + victim, make_database(server), target_ ? target_->url() : broker_.url()} {
    send_marks(place_, first_words);
    watcher_ = std::make_unique<Watcher>(place_);
    if (target_) start_forwarder();
}

void Scene::start_forwarder() {
    const auto topics = both_topics(place_.scene);
    forwarder_ =
        Child{{.arguments = {programs_.folder + "/hufu", "forward", "--from", broker_.url(), "--to", target_->url(),
                             "--topic", topics[0], "--topic", topics[1], "--group", "forward", "--retry-cap", "200ms"},
               .output = folder_ + "/forward.log"}};
}

Child Scene::service(const std::string& own, const std::string& step, const std::string& round, int transactions) {
    std::filesystem::create_directories(own);
    const std::string url = cut_ ? TxBroker::url_at(cut_->port()) : broker_.url();
    test_support::ProcessOptions process{.arguments = {programs_.folder + "/hufu-fault-txmsg-service", place_.database, url,
                                                       own, step, round, std::to_string(transactions), place_.scene},
                                         .output = own + "/log"};
    if (programs_.lie) process.arguments.push_back("lie");
    Child child{process};
    wait_for_file(child, own, "ready");
    return child;
}

void Scene::wait_for_file(Child& child, const std::string& own, const std::string& name) {
    test_support::wait_until_ready(child, "the service (" + name + ")", own + "/log",
                                   [&] { return std::filesystem::exists(own + "/" + name); });
}

void Scene::release(const std::string& own) { std::fclose(std::fopen((own + "/go").c_str(), "w")); }

void Scene::kill_and_restart_broker() {
    broker_.kill();
    broker_.start();
}

void Scene::kill_and_restart_target() {
    target_->kill();
    target_->start();
}

void Scene::kill_and_restart_forwarder() {
    forwarder_.kill();
    start_forwarder();
}

std::uint64_t Scene::wait_decided() {
    const auto admin = connect::transaction_admin(broker_.url()).value();
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + 60s;
    for (;;) {
        std::uint64_t open = 0;
        std::string said;
        if (broker_.is_ours()) {
            const auto left = admin->list({});
            open = left ? left->transactions.size() : 1;
            said = left ? left->to_json() : left.error().text();
        }
        if (open == 0 && watcher_->all_rows_seen()) return 0;
        if (clock.steady_now() > give_up) {
            if (open > 0) std::fprintf(stderr, "\n%s\n", said.c_str());
            return open;  // rows without their message are the judge's
        }
        clock.sleep_until(clock.steady_now() + 20ms, {});
    }
}

void Scene::let_it_ask(const std::string& own) {
    if (broker_.is_ours()) return;
    const Child responder = service(own, "none", "none", 0);
    Clock& clock = system_clock();
    clock.sleep_until(clock.steady_now() + 4s, {});
    wait_decided();
}

TxVerdict Scene::judged() {
    return judge(place_, watcher_->too_early(), all_said(folder_),
                 {.broker_is_ours = broker_.is_ours(), .forwarded = target_ != nullptr});
}

}  // namespace hufu::fault
