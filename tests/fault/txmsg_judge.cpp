#include "txmsg_judge.hpp"

#include <cstdio>
#include <future>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include <pqxx/pqxx>

#include <hufu/connect/connect.hpp>

#include "txmsg_plan.hpp"

// libpqxx 6.4 forgets to free the answers that say that the connection was ended from the other side.
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libpqxx-6.4"; }

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
constexpr const char* last_words = "the end";

/// Unknown while the database is away.
std::optional<bool> has_row(const std::string& database, const std::string& id) {
    try {
        pqxx::connection connection{database};
        pqxx::work work{connection};
        return !work.exec_params("select 1 from done where id = $1", id).empty();
    } catch (const std::exception&) {
        return {};
    }
}

void send_last_words(const std::string& broker) {
    const auto publisher = connect::publisher(broker).value();
    std::vector<Message> batch;
    for (const auto& topic : topics_of(1)) batch.push_back({.topic = topic, .ordering_key = one_queue, .body = last_words});
    MessageIdGenerator ids{system_clock(), system_random()};
    for (auto& message : batch) message.id = ids.next();
    std::vector<PublishOutcome> outcomes(batch.size());
    std::promise<void> done;
    publisher->publish(batch, outcomes, [&] { done.set_value(); });
    done.get_future().wait();
    for (const auto& outcome : outcomes) {
        if (outcome.status != PublishStatus::confirmed) throw std::runtime_error{"the judge: " + outcome.error.text()};
    }
}

using Copies = std::map<std::pair<std::string, std::string>, std::uint64_t>;  // by body and topic

Copies read_all(const std::string& broker) {
    send_last_words(broker);
    const auto topics = topics_of(1);
    const auto subscription = connect::subscription(broker, {.group = "judge", .topics = topics}).value();
    Copies copies;
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + 60s;
    for (std::size_t ended = 0; ended < topics.size();) {
        if (clock.steady_now() > give_up) throw std::runtime_error{"the judge could not read both topics in 60 s"};
        for (const auto& delivery : subscription->receive(100, 1s, {}).value()) {
            if (delivery.message.body == last_words) {
                ++ended;
            } else {
                ++copies[{delivery.message.body, delivery.message.topic}];
            }
        }
    }
    return copies;
}

std::set<std::string> all_rows(const std::string& database) {
    pqxx::connection connection{database};
    pqxx::work work{connection};
    std::set<std::string> rows;
    for (const auto& row : work.exec("select id from done")) rows.insert(row[0].as<std::string>());
    return rows;
}

}  // namespace

void TxVerdict::add(const TxVerdict& other) {
    rows += other.rows;
    messages += other.messages;
    rows_without_message += other.rows_without_message;
    message_without_rows += other.message_without_rows;
    committed_twice += other.committed_twice;
    visible_before_commit += other.visible_before_commit;
}

Watcher::Watcher(std::string database, std::string broker)
    : database_{std::move(database)}, broker_{std::move(broker)}, thread_{[this](std::stop_token stop) { watch(stop); }} {}

Watcher::~Watcher() {
    thread_.request_stop();
    thread_.join();
}

std::set<std::string> Watcher::too_early() {
    const std::lock_guard lock{mutex_};
    return too_early_;
}

void Watcher::watch(const std::stop_token& stop) {
    const auto subscription = connect::subscription(broker_, {.group = "watcher", .topics = topics_of(1)}).value();
    while (!stop.stop_requested()) {
        const auto deliveries = subscription->receive(100, 1s, stop);
        if (!deliveries) continue;
        for (const auto& delivery : *deliveries) {
            const auto& body = delivery.message.body;
            if (body != last_words && has_row(database_, body) == std::optional{false}) {
                const std::lock_guard lock{mutex_};
                too_early_.insert(body);
            }
        }
    }
}

TxVerdict judge(const std::string& database, const std::string& broker, const std::set<std::string>& too_early) {
    TxVerdict verdict;
    const auto rows = all_rows(database);
    auto copies = read_all(broker);
    verdict.rows = rows.size();
    for (const auto& id : rows) {
        const int number = std::stoi(id.substr(id.rfind('-') + 1));
        for (const auto& topic : topics_of(number)) {
            if (!copies.contains({id, topic})) {
                ++verdict.rows_without_message;
                std::fprintf(stderr, "\nrows without message: %s in %s\n", id.c_str(), topic.c_str());
            }
        }
        if (too_early.contains(id)) ++verdict.visible_before_commit;
    }
    for (const auto& [what, count] : copies) {
        verdict.messages += count;
        if (count > 1) ++verdict.committed_twice;
        if (!rows.contains(what.first)) ++verdict.message_without_rows;
        if (count > 1 || !rows.contains(what.first)) {
            std::fprintf(stderr, "\n%lu copies of %s in %s, %s row\n", count, what.first.c_str(), what.second.c_str(),
                         rows.contains(what.first) ? "with its" : "without a");
        }
    }
    return verdict;
}

}  // namespace hufu::fault
