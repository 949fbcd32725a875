// Cleaning the guard table up, without long transactions and without looking at what is young.
#include <hufu/postgres/once.hpp>

#include <pqxx/pqxx>

#include <array>

#include "effect_work.hpp"

namespace hufu::postgres {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view about = "guard clean-up";
constexpr const char* first_id = "00000000-0000-0000-0000-000000000000";

/// The smallest UUIDv7 of that time (RFC 9562 §5.7: 48 bits of milliseconds first).
std::string id_of_time(SystemTime time) {
    const auto ms = std::max<std::int64_t>(std::chrono::floor<milliseconds>(time.time_since_epoch()).count(), 0);
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(ms >> (40 - 8 * i));
    return MessageId{bytes}.to_string();
}

SystemTime time_of(const pqxx::field& microseconds) {
    return SystemTime{std::chrono::microseconds{microseconds.as<std::int64_t>()}};
}

class Purge {
public:
    Purge(pqxx::connection& connection, std::string group, int rows_max)
        : connection_{connection}, group_{std::move(group)}, rows_max_{rows_max} {}

    Purged run(std::chrono::seconds window) {
        raise_horizon(window);
        const SystemTime cut = purged_.horizon - idempotency::clock_allowance;
        // Ids with a time, up to the cut. Those between it and tomorrow are of messages that are younger than the cut.
        walk(first_id, id_of_time(cut));
        // Ids without a time: keys of HTTP requests, other systems' ids.
        walk(id_of_time(now_ + std::chrono::hours{24}), {});
        return purged_;
    }

private:
    /// First, and in a transaction of its own: between the two a duplicate of a purged message is refused, never run.
    void raise_horizon(std::chrono::seconds window) {
        pqxx::work raise{connection_};
        const auto horizon = raise.exec_params(
            "insert into hufu.guard_horizon(consumer_group, horizon) "
            "values ($1, clock_timestamp() - $2::bigint * interval '1 second' + $3::bigint * interval '1 second') "
            "on conflict (consumer_group) do update set horizon = greatest(guard_horizon.horizon, excluded.horizon) "
            "returning (extract(epoch from horizon) * 1000000)::bigint, "
            "(extract(epoch from clock_timestamp()) * 1000000)::bigint",
            group_, static_cast<std::int64_t>(window.count()),
            static_cast<std::int64_t>(std::chrono::seconds{idempotency::clock_allowance}.count()));
        purged_.horizon = time_of(horizon[0][0]);
        now_ = time_of(horizon[0][1]);
        raise.commit();
    }

    /// Looks at the ids after `after`, up to `end` (empty: all), a slice in each transaction.
    void walk(std::string after, const std::string& end) {
        const std::string below = end.empty() ? "" : "and message_id < $5::uuid ";
        const std::string slice =
            "with slice as materialized (select message_id, ctid as place, seen_at from hufu.guard "
            "where consumer_group = $1 and message_id > $2::uuid " +
            below +
            "order by consumer_group, message_id limit $3), "
            "gone as (delete from hufu.guard using slice where guard.ctid = slice.place and slice.seen_at < "
            "timestamptz 'epoch' + $4::bigint * interval '1 microsecond' returning 1) "
            "select (select count(*) from gone), (select count(*) from slice), "
            "(select message_id from slice order by message_id desc limit 1)";
        const std::int64_t cut_us = (purged_.horizon - idempotency::clock_allowance).time_since_epoch().count();
        for (;;) {
            pqxx::work tx{connection_};
            const auto said = end.empty() ? tx.exec_params(slice, group_, after, rows_max_, cut_us)
                                          : tx.exec_params(slice, group_, after, rows_max_, cut_us, end);
            tx.commit();
            purged_.rows += said[0][0].as<std::uint64_t>();
            if (said[0][1].as<int>() < rows_max_) return;
            after = said[0][2].as<std::string>();
        }
    }

    pqxx::connection& connection_;
    std::string group_;
    int rows_max_;
    Purged purged_;
    SystemTime now_{};
};

}  // namespace

Result<Purged> purge_guards(ConnectionPool& pool, const idempotency::GuardDeclaration& declaration,
                            int rows_per_transaction) {
    if (const auto fine = idempotency::check_retention(declaration); !fine) return fine.error();
    auto lent = pool.lend();
    if (!lent) return lent.error();
    return guarded<Purged>(Setting::in_transaction, about, [&]() -> Result<Purged> {
        return Purge{**lent, declaration.group, std::max(rows_per_transaction, 1)}.run(declaration.window);
    });
}

Result<std::vector<std::string>> guard_groups(ConnectionPool& pool) {
    auto lent = pool.lend();
    if (!lent) return lent.error();
    return guarded<std::vector<std::string>>(Setting::own_transaction, about, [&]() -> Result<std::vector<std::string>> {
        pqxx::nontransaction tx{**lent};
        // From one group to the next along the primary key.
        const auto rows = tx.exec(
            "with recursive known as ((select consumer_group from hufu.guard order by 1 limit 1) union all "
            "select (select consumer_group from hufu.guard g where g.consumer_group > known.consumer_group order by 1 limit "
            "1) "
            "from known where known.consumer_group is not null) "
            "select consumer_group from known where consumer_group is not null limit 1000");
        std::vector<std::string> groups;
        for (const auto& row : rows) groups.push_back(row[0].as<std::string>());
        return groups;
    });
}

Result<Purged> purge_guards(ConnectionPool& pool, const std::string& group, std::chrono::hours retention) {
    return purge_guards(
        pool, {.group = group, .window = retention, .duplicates = {.retry = RetrySchedule::ladder({milliseconds{0}})}});
}

}  // namespace hufu::postgres
