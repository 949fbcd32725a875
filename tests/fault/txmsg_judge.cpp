#include "txmsg_judge.hpp"

#include <cstdio>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include <pqxx/pqxx>

#include <hufu/connect/connect.hpp>

#include "txmsg_plan.hpp"

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;

bool is_mark(const std::string& body) { return body == first_words || body == last_words; }

/// Asks for rows, on one connection for as long as it lasts.
class Rows {
public:
    explicit Rows(std::string database) : database_{std::move(database)} {}
    /// Unknown while the database is away.
    std::optional<bool> has(const std::string& id) {
        try {
            if (!connection_) connection_ = std::make_unique<pqxx::connection>(database_);
            pqxx::work work{*connection_};
            return !work.exec_params("select 1 from done where id = $1", id).empty();
        } catch (const std::exception&) {
            connection_.reset();
            return {};
        }
    }

private:
    const std::string database_;
    std::unique_ptr<pqxx::connection> connection_;
};

std::set<std::string> all_rows(const std::string& database) {
    pqxx::connection connection{database};
    pqxx::work work{connection};
    std::set<std::string> rows;
    for (const auto& row : work.exec("select id from done")) rows.insert(row[0].as<std::string>());
    return rows;
}

struct Copies {
    std::uint64_t all = 0;
    std::set<MessageId> ids = {};
};
using AllCopies = std::map<std::pair<std::string, std::string>, Copies>;  // by body and topic

AllCopies read_all(const TxPlace& place) {
    send_marks(place, last_words);
    const auto topics = both_topics(place.scene);
    const auto subscription =
        connect::subscription(place.broker, {.group = "judge-" + place.scene, .topics = topics}).value();
    AllCopies copies;
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + 60s;
    for (std::size_t ended = 0; ended < topics.size();) {
        if (clock.steady_now() > give_up) throw std::runtime_error{"the judge could not read both topics in 60 s"};
        for (const auto& delivery : subscription->receive(100, 1s, {}).value()) {
            const Message& message = delivery.message;
            if (message.body == last_words) ++ended;
            if (is_mark(message.body)) continue;
            Copies& known = copies[{message.body, message.topic}];
            ++known.all;
            known.ids.insert(message.id);
        }
    }
    return copies;
}

/// Tells what is wrong with one transaction, and whose fault it is.
class Blame {
public:
    Blame(TxVerdict& verdict, const AllSaid& said, const JudgeRules& rules)
        : verdict_{verdict}, said_{said}, rules_{rules} {}

    /// `excused`: a broker that was told `said` has no right to show this.
    TxFaults& of(const std::string& id, bool excused, const char* what) {
        const bool theirs = !rules_.broker_is_ours && excused;
        std::fprintf(stderr, "\n%s: %s%s\n", id.c_str(), what, theirs ? " (the original's broker was told the truth)" : "");
        return theirs ? verdict_.original : verdict_.ours;
    }
    [[nodiscard]] Said said(const std::string& id) const {
        const auto found = said_.find(id);
        return found == said_.end() ? Said{} : found->second;
    }

private:
    TxVerdict& verdict_;
    const AllSaid& said_;
    const JudgeRules& rules_;
};

}  // namespace

void TxFaults::add(const TxFaults& other) {
    rows_without_message += other.rows_without_message;
    message_without_rows += other.message_without_rows;
    committed_twice += other.committed_twice;
    visible_before_commit += other.visible_before_commit;
}

void TxVerdict::add(const TxVerdict& other) {
    rows += other.rows;
    messages += other.messages;
    repeats += other.repeats;
    wrong_verdicts += other.wrong_verdicts;
    ours.add(other.ours);
    original.add(other.original);
}

void send_marks(const TxPlace& place, const std::string& body) {
    const auto publisher = connect::publisher(place.broker).value();
    std::vector<Message> batch;
    MessageIdGenerator ids{system_clock(), system_random()};
    for (const auto& topic : both_topics(place.scene)) {
        batch.push_back({.id = ids.next(), .topic = topic, .ordering_key = one_queue, .body = body});
    }
    std::vector<PublishOutcome> outcomes(batch.size());
    std::promise<void> done;
    publisher->publish(batch, outcomes, [&] { done.set_value(); });
    done.get_future().wait();
    for (const auto& outcome : outcomes) {
        if (outcome.status != PublishStatus::confirmed) throw std::runtime_error{"the judge: " + outcome.error.text()};
    }
}

Watcher::Watcher(TxPlace place) : place_{std::move(place)}, thread_{[this](std::stop_token stop) { watch(stop); }} {}

Watcher::~Watcher() {
    thread_.request_stop();
    thread_.join();
}

std::set<std::string> Watcher::too_early() {
    const std::lock_guard lock{mutex_};
    return too_early_;
}

std::size_t Watcher::count() {
    const std::lock_guard lock{mutex_};
    return seen_.size();
}

bool Watcher::all_rows_seen() {
    std::set<std::string> rows;
    try {
        rows = all_rows(place_.database);
    } catch (const std::exception&) {
        return false;
    }
    const std::lock_guard lock{mutex_};
    for (const auto& id : rows) {
        for (const auto& topic : topics_of(place_.scene, number_of(id))) {
            if (!seen_.contains({id, topic})) return false;
        }
    }
    return true;
}

void Watcher::watch(const std::stop_token& stop) {
    const auto subscription =
        connect::subscription(place_.broker, {.group = "watcher-" + place_.scene, .topics = both_topics(place_.scene)})
            .value();
    Rows rows{place_.database};
    while (!stop.stop_requested()) {
        const auto deliveries = subscription->receive(100, 1s, stop);
        if (!deliveries) continue;
        for (const auto& delivery : *deliveries) {
            const auto& body = delivery.message.body;
            if (is_mark(body)) continue;
            const bool early = rows.has(body) == std::optional{false};
            const std::lock_guard lock{mutex_};
            seen_.insert({body, delivery.message.topic});
            if (early) too_early_.insert(body);
        }
    }
}

TxVerdict judge(const TxPlace& place, const std::set<std::string>& too_early, const AllSaid& said, const JudgeRules& rules) {
    TxVerdict verdict;
    const auto rows = all_rows(place.database);
    const auto copies = read_all(place);
    verdict.rows = rows.size();
    Blame blame{verdict, said, rules};
    for (const auto& [id, told] : said) {
        if (rows.contains(id) ? !told.rollback : !told.commit) continue;
        ++verdict.wrong_verdicts;
        std::fprintf(stderr, "\n%s: the broker was told %s\n", id.c_str(), told.commit ? "commit" : "rollback");
    }
    for (const auto& id : rows) {
        for (const auto& topic : topics_of(place.scene, number_of(id))) {
            if (!copies.contains({id, topic}))
                ++blame.of(id, blame.said(id).commit, "a row without message").rows_without_message;
        }
        if (too_early.contains(id))
            ++blame.of(id, !blame.said(id).commit, "visible before its commit").visible_before_commit;
    }
    for (const auto& [what, copy] : copies) {
        verdict.messages += copy.all;
        const std::uint64_t different = rules.forwarded ? copy.ids.size() : copy.all;
        verdict.repeats += copy.all - different;
        if (different > 1) ++blame.of(what.first, true, "visible twice").committed_twice;
        if (!rows.contains(what.first))
            ++blame.of(what.first, !blame.said(what.first).commit, "a message without its row").message_without_rows;
    }
    return verdict;
}

}  // namespace hufu::fault
