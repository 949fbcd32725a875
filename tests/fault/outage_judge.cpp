#include "outage_judge.hpp"

#include <stdexcept>

#include <hufu/connect/connect.hpp>
#include <hufu/core/consumer.hpp>
#include <hufu/sqlite/once.hpp>

namespace hufu::fault {
namespace {

constexpr const char* group = "stock";

std::uint64_t number_of(sqlite::Transaction& tx, std::string_view sql) {
    auto statement = tx.query(sql);
    if (!statement.step()) throw std::runtime_error{"no row of a count"};
    return static_cast<std::uint64_t>(statement.integer(0));
}

std::string with_schema(const std::string& file) {
    connect::migrate_outbox("sqlite:" + file).value();  // the guard table comes with it
    return file;
}

}  // namespace

EffectBook::EffectBook(const std::string& broker_url, const std::string& file)
    : database_{with_schema(file)},
      subscription_{connect::subscription(broker_url, {.group = group, .topics = {"orders"}}).value()},
      dead_letters_{connect::publisher(broker_url).value()} {
    sqlite::Transaction tx{database_};
    tx.execute(
        "create table effect(nr integer primary key autoincrement, id text not null, lane text not null, seq integer "
        "not null)");
    tx.commit();
    thread_ = std::jthread{[this](const std::stop_token& stop) {
        const Handler once = sqlite::once(
            database_, group, [](sqlite::Transaction& effect, const Message& message) -> idempotency::EffectResult {
                effect.execute("insert into effect(id, lane, seq) values (?, ?, ?)", message.id.to_string(),
                               message.ordering_key, std::stoll(message.body));
                return Handled::done;
            });
        ConsumerOptions options;
        options.group = group;
        options.running_max = 1;  // one file: effects take turns anyway
        options.held_max = 2'000;
        Consumer consumer{*subscription_, *dead_letters_, options};
        static_cast<void>(consumer.run(
            [&](const Delivery& delivery) {
                auto handled = once(delivery);
                if (handled.handled == Handled::already_done) ++copies_;
                return handled;
            },
            stop));
    }};
}

EffectBook::~EffectBook() {
    thread_.request_stop();
    thread_.join();
}

std::uint64_t EffectBook::effects() {
    sqlite::Transaction tx{database_, sqlite::Transaction::Access::read};
    return number_of(tx, "select count(*) from effect");
}

EffectCount EffectBook::count() {
    sqlite::Transaction tx{database_, sqlite::Transaction::Access::read};
    EffectCount count;
    count.effects = number_of(tx, "select count(*) from effect");
    count.doubles = number_of(tx, "select count(*) from (select id from effect group by id having count(*) > 1)");
    count.reordered =
        number_of(tx,
                  "select count(*) from (select seq, max(seq) over (partition by lane order by nr rows between "
                  "unbounded preceding and 1 preceding) as before from effect) where seq < before");
    count.gaps =
        number_of(tx,
                  "select coalesce(sum(last - found), 0) from (select max(seq) as last, count(distinct seq) as found "
                  "from effect group by lane)");
    return count;
}

}  // namespace hufu::fault
