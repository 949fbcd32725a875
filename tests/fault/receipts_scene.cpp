#include "receipts_scene.hpp"

#include <cstdio>
#include <functional>

#include <pqxx/pqxx>

#include <hufu/connect/connect.hpp>
#include <hufu/outbox/receipts.hpp>
#include <hufu/postgres/outbox.hpp>
#include <hufu/postgres/schema.hpp>
#include <hufu/test_support/hufu_broker.hpp>

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;
using test_support::Child;

void pause(std::chrono::milliseconds length) {
    Clock& clock = system_clock();
    clock.sleep_until(clock.steady_now() + length, {});
}

bool within(std::chrono::seconds limit, const std::function<bool()>& reached) {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + limit;
    while (!reached()) {
        if (clock.steady_now() > give_up) return false;
        pause(10ms);
    }
    return true;
}

}  // namespace

ReceiptScene::ReceiptScene(const ReceiptPrograms& programs, const std::string& root)
    : programs_{programs}, root_{root}, port_{test_support::free_port()} {
    for (const char* name : {"shop", "stock", "points"}) {
        databases_[name] = server_.create_database();
        postgres::migrate(databases_[name]).value();
        pqxx::connection connection{databases_[name]};
        pqxx::work work{connection};
        work.exec(std::string{name} == "shop" ? "create table orders(id uuid primary key, refuse boolean not null)"
                                              : "create table effects(message_id uuid not null)");
        work.commit();
    }
    start_broker();
    for (const char* name : {"shop", "stock", "points"}) start_relay(name);
    for (const char* group : {"stock", "points"}) start_consumer(group, "none", 1);
}

void ReceiptScene::start_broker() {
    broker_ =
        test_support::start_hufu_broker({.program = programs_.folder + "/hufu-broker", .folder = root_, .port = port_});
}

void ReceiptScene::start_relay(const std::string& name) {
    std::vector<std::string> words{programs_.folder + "/hufu",
                                   "relay",
                                   "--outbox",
                                   databases_[name],
                                   "--to",
                                   broker_url(),
                                   "--lease",
                                   "1s",
                                   "--poll_max",
                                   "20ms"};
    if (name == "shop") words.insert(words.end(), {"--receipts_group", "shop-receipts"});
    relays_[name] = Child{{.arguments = words, .output = root_ + "/relay-" + name + ".log"}};
}

void ReceiptScene::start_consumer(const std::string& group, const std::string& step, int nth) {
    std::vector<std::string> words{programs_.folder + "/hufu-fault-receipts-consumer",
                                   databases_[group],
                                   broker_url(),
                                   group,
                                   step,
                                   std::to_string(nth)};
    if (programs_.unguarded) words.emplace_back("unguarded");
    consumers_[group] = Child{{.arguments = words, .output = root_ + "/consumer-" + group + ".log"}};
}

/// The order and its message in one transaction, again until it is there: the order's row tells.
void ReceiptScene::append(bool refuse) {
    MessageIdGenerator ids{system_clock(), system_random()};
    Message message{.id = ids.next(), .topic = "orders", .tag = refuse ? "refuse" : "", .body = "paid"};
    const outbox::Receipts asked{
        .groups = {"stock", "points"}, .deadline = 300ms, .backoff_cap = 1'000ms, .sends_max = 1'000};
    const bool there = within(60s, [&] {
        try {
            pqxx::connection connection{databases_["shop"]};
            pqxx::work work{connection};
            if (!work.exec_params("select from orders where id = $1::uuid", message.id.to_string()).empty()) return true;
            work.exec_params("insert into orders values ($1::uuid, $2)", message.id.to_string(), refuse);
            postgres::Outbox{}.append(work, message, asked);
            work.commit();
            return true;
        } catch (const std::exception&) {
            return false;
        }
    });
    if (!there) throw std::runtime_error{"the shop's database did not come back"};
}

void ReceiptScene::kill(const ReceiptDeath& death, Random& random) {
    const std::string victim = death.victim;
    const std::string step = death.step;
    const auto away = step == "away" ? 1'500ms : std::chrono::milliseconds{random.below(50)};
    if (victim == "stock") {
        Child& consumer = consumers_["stock"];
        if (step != "away" && !within(60s, [&] { return !consumer.running(); })) {
            throw std::runtime_error{"the consumer never came to " + step};
        }
        consumer.kill();
        pause(away);
        start_consumer("stock", "none", 1);
    } else if (victim == "database") {
        server_.restart(test_support::StopMode::kill);
    } else if (victim == "broker") {
        broker_.kill();
        pause(away);
        start_broker();
    } else {
        const std::string name = victim.substr(0, victim.find('_'));
        relays_[name].kill();
        pause(away);
        start_relay(name);
    }
    ++kills_;
}

void ReceiptScene::round(const ReceiptDeath& death, int count, Random& random) {
    const std::string step = death.step;
    if (std::string{death.victim} == "stock" && step != "away") {
        consumers_["stock"].kill();
        start_consumer("stock", step, 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(count) / 2)));
    }
    std::exception_ptr problem;
    {
        const auto when = std::chrono::milliseconds{random.below(400)};
        std::jthread sender{[&] {
            try {
                for (int n = 0; n < count; ++n) append(n % 10 == 9);
            } catch (...) {
                problem = std::current_exception();
            }
        }};
        pause(when);
        kill(death, random);
    }
    if (problem) std::rethrow_exception(problem);
    within(60s, [this] { return all_ended(); });
}

bool ReceiptScene::all_ended() {
    try {
        pqxx::connection connection{databases_["shop"]};
        pqxx::work work{connection};
        return work.exec(
                       "select count(*) from hufu.awaiting a where not exists "
                       "(select from hufu.awaiting_parked p where p.message_id = a.message_id)")[0][0]
                   .as<int>() == 0;
    } catch (const std::exception&) {
        return false;
    }
}

void ReceiptScene::read_copies(std::uint64_t& copies, CopiesAgain& again) {
    const auto watcher = connect::subscription(broker_url(), {.group = "watcher", .topics = {"orders"}}).value();
    std::stop_source stop;
    int quiet = 0;
    while (quiet < 10) {
        const auto received = watcher->receive(1'000, 200ms, stop.get_token()).value();
        quiet = received.empty() ? quiet + 1 : 0;
        for (const auto& delivery : received) {
            ++copies;
            if (delivery.message.headers.get(outbox::resend_header)) again.emplace(delivery.message.id, delivery.stored_at);
            watcher->acknowledge({&delivery.tag, 1});
        }
    }
}

ReceiptVerdictCounts ReceiptScene::verdict() {
    // Longer than a claim is trusted, and than several of the messages' waits: what is sent after its end comes to light.
    pause(8s);
    std::uint64_t copies = 0;
    CopiesAgain again;
    read_copies(copies, again);
    return judge_receipts(databases_["shop"], {{"stock", databases_["stock"]}, {"points", databases_["points"]}}, copies,
                          again);
}

}  // namespace hufu::fault
