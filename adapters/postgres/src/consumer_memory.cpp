#include <hufu/postgres/consumer_memory.hpp>

#include <pqxx/pqxx>

#include <utility>

#include "effect_work.hpp"

namespace hufu::postgres {
namespace {

/// Runs `action` in a transaction of its own and commits it.
template <class Value, class Action>
Result<Value> transact(ConnectionPool& pool, std::string_view about, const Action& action) {
    auto lent = pool.lend();
    if (!lent) return lent.error();
    return guarded<Value>(Setting::committing, about, [&]() -> Result<Value> {
        pqxx::work work{**lent};
        if constexpr (std::is_void_v<Value>) {
            action(work);
            work.commit();
            return {};
        } else {
            Value value = action(work);
            work.commit();
            return value;
        }
    });
}

std::string array_of(std::span<const MessageId> ids) {
    std::string array{"{"};
    for (const auto& id : ids) array.append(array.size() == 1 ? "" : ",").append(id.to_string());
    return array + "}";
}

Error not_parked(const std::string& group, const ConsumerKey& key) {
    return {ErrorCode::not_found, Disposition::reject,
            "group \"" + group + "\" has no parked key \"" + key.ordering_key + "\" of topic \"" + key.topic +
                "\"; \"hufu consumer list\" shows those that it has"};
}

class PostgresParkedKeys final : public ParkedKeys {
public:
    PostgresParkedKeys(ConnectionPool& pool, std::string group) : pool_{pool}, group_{std::move(group)} {}

    Result<std::vector<ParkedKey>> load() override {
        return transact<std::vector<ParkedKey>>(pool_, "parked keys", [&](pqxx::work& work) {
            std::vector<ParkedKey> keys;
            const auto rows = work.exec_params(
                "select topic, ordering_key, first_id, reason from hufu.consumer_parked where consumer_group = $1", group_);
            for (const auto& row : rows) {
                ParkedKey key{.key = {row[0].as<std::string>(), row[1].as<std::string>()},
                              .reason = row[3].as<std::string>()};
                if (const auto id = MessageId::parse(row[2].as<std::string>())) key.first = *id;
                keys.push_back(std::move(key));
            }
            return keys;
        });
    }
    Result<void> park(const ParkedKey& key) override {
        return transact<void>(pool_, "parked keys", [&](pqxx::work& work) {
            work.exec_params(
                "insert into hufu.consumer_parked(consumer_group, topic, ordering_key, first_id, reason) "
                "values ($1, $2, $3, $4::uuid, $5) on conflict do nothing",
                group_, key.key.topic, key.key.ordering_key, key.first.to_string(), key.reason);
        });
    }
    Result<bool> reopen(const ConsumerKey& key) override {
        return transact<bool>(pool_, "parked keys", [&](pqxx::work& work) {
            const auto gone = work.exec_params(
                "delete from hufu.consumer_parked where consumer_group = $1 and topic = $2 and ordering_key = $3", group_,
                key.topic, key.ordering_key);
            return gone.affected_rows() > 0;
        });
    }

private:
    ConnectionPool& pool_;
    const std::string group_;
};

class PostgresAttemptRows final : public AttemptRows {
public:
    PostgresAttemptRows(ConnectionPool& pool, std::string group) : pool_{pool}, group_{std::move(group)} {}

    Result<std::vector<std::uint32_t>> look(std::span<const MessageId> ids) override {
        return transact<std::vector<std::uint32_t>>(pool_, "attempt rows", [&](pqxx::work& work) {
            std::vector<std::uint32_t> unanswered;
            // A row that another session inserts meanwhile is seen as a start without an answer, which it may become.
            const auto rows = work.exec_params(
                "with asked as (select id, n from unnest($2::uuid[]) with ordinality as one(id, n)), "
                "mine as (insert into hufu.consumer_attempt(consumer_group, message_id) select distinct $1::text, id from "
                "asked "
                "order by id on conflict do nothing returning message_id) "
                "select case when m.message_id is not null then 0 else coalesce(t.starts, 1) end "
                "from asked a left join mine m on m.message_id = a.id "
                "left join hufu.consumer_attempt t on t.consumer_group = $1::text and t.message_id = a.id order by a.n",
                group_, array_of(ids));
            for (const auto& row : rows) unanswered.push_back(row[0].as<std::uint32_t>());
            return unanswered;
        });
    }
    Result<void> starts_again(const MessageId& id) override {
        return transact<void>(pool_, "attempt rows", [&](pqxx::work& work) {
            work.exec_params(
                "insert into hufu.consumer_attempt as known (consumer_group, message_id) values ($1, $2::uuid) "
                "on conflict (consumer_group, message_id) do update set starts = known.starts + 1, "
                "started_at = clock_timestamp()",
                group_, id.to_string());
        });
    }
    Result<void> over(std::span<const MessageId> ids) override {
        return transact<void>(pool_, "attempt rows", [&](pqxx::work& work) {
            work.exec_params("delete from hufu.consumer_attempt where consumer_group = $1 and message_id = any($2::uuid[])",
                             group_, array_of(ids));
        });
    }

private:
    ConnectionPool& pool_;
    const std::string group_;
};

}  // namespace

std::unique_ptr<ParkedKeys> parked_keys(ConnectionPool& pool, std::string group) {
    return std::make_unique<PostgresParkedKeys>(pool, std::move(group));
}

std::unique_ptr<AttemptRows> attempt_rows(ConnectionPool& pool, std::string group) {
    return std::make_unique<PostgresAttemptRows>(pool, std::move(group));
}

Result<void> reopen_parked_key(ConnectionPool& pool, const std::string& group, const ConsumerKey& key,
                               const outbox::AuditNote& note) {
    // The change and its audit are one statement. Nothing found: no audit.
    const auto reopened = transact<std::uint64_t>(pool, "parked keys", [&](pqxx::work& work) -> std::uint64_t {
        const auto noted = work.exec_params(
            "with gone as (delete from hufu.consumer_parked where consumer_group = $1 and topic = $2 and ordering_key = $3 "
            "returning topic, ordering_key) "
            "insert into hufu.audit(lane, action, topic, ordering_key, rows, who, why) "
            "select 0, 'reopen ' || $1, topic, ordering_key, 1, $4, $5 from gone",
            group, key.topic, key.ordering_key, note.who, note.why);
        return static_cast<std::uint64_t>(noted.affected_rows());
    });
    if (!reopened) return reopened.error();
    if (*reopened == 0) return not_parked(group, key);
    return {};
}

Result<std::uint64_t> purge_attempt_rows(ConnectionPool& pool, const std::string& group, std::chrono::seconds age) {
    return transact<std::uint64_t>(pool, "attempt rows", [&](pqxx::work& work) -> std::uint64_t {
        const auto gone = work.exec_params(
            "delete from hufu.consumer_attempt where consumer_group = $1 "
            "and started_at < clock_timestamp() - $2::bigint * interval '1 second'",
            group, static_cast<std::int64_t>(age.count()));
        return static_cast<std::uint64_t>(gone.affected_rows());
    });
}

}  // namespace hufu::postgres
