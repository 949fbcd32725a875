#include <hufu/sqlite/consumer_memory.hpp>

#include <utility>

#include "error.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

Blob id_blob(const MessageId& id) { return Blob{{reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()}}; }

Error not_parked(const std::string& group, const ConsumerKey& key) {
    return {ErrorCode::not_found, Disposition::reject,
            "group \"" + group + "\" has no parked key \"" + key.ordering_key + "\" of topic \"" + key.topic +
                "\"; \"hufu consumer list\" shows those that it has"};
}

class SqliteParkedKeys final : public ParkedKeys {
public:
    SqliteParkedKeys(Database& database, std::string group) : database_{database}, group_{std::move(group)} {}

    Result<std::vector<ParkedKey>> load() override {
        return caught<std::vector<ParkedKey>>([&]() -> Result<std::vector<ParkedKey>> {
            std::vector<ParkedKey> keys;
            Transaction tx{database_, Transaction::Access::read};
            auto rows = tx.query(
                "select topic, ordering_key, first_id, reason from hufu_consumer_parked where consumer_group = ?", group_);
            while (rows.step()) keys.push_back({{rows.text(0), rows.text(1)}, id_at(rows, 2), rows.text(3)});
            return keys;
        });
    }
    Result<void> park(const ParkedKey& key) override {
        return caught<void>([&] {
            Transaction tx{database_};
            tx.execute(
                "insert into hufu_consumer_parked(consumer_group, topic, ordering_key, first_id, reason, parked_at_us) "
                "values (?, ?, ?, ?, ?, ?) on conflict do nothing",
                group_, key.key.topic, key.key.ordering_key, id_blob(key.first), key.reason,
                microseconds_of(database_.clock().system_now()));
            tx.commit();
        });
    }
    Result<bool> reopen(const ConsumerKey& key) override {
        return caught<bool>([&]() -> Result<bool> {
            Transaction tx{database_};
            const auto gone =
                tx.execute("delete from hufu_consumer_parked where consumer_group = ? and topic = ? and ordering_key = ?",
                           group_, key.topic, key.ordering_key);
            tx.commit();
            return gone > 0;
        });
    }

private:
    Database& database_;
    const std::string group_;
};

class SqliteAttemptRows final : public AttemptRows {
public:
    SqliteAttemptRows(Database& database, std::string group) : database_{database}, group_{std::move(group)} {}

    Result<std::vector<std::uint32_t>> look(std::span<const MessageId> ids) override {
        return caught<std::vector<std::uint32_t>>([&]() -> Result<std::vector<std::uint32_t>> {
            std::vector<std::uint32_t> unanswered;
            Transaction tx{database_};
            for (const auto& id : ids) {
                auto rows = tx.query("select starts from hufu_consumer_attempt where consumer_group = ? and message_id = ?",
                                     group_, id_blob(id));
                unanswered.push_back(rows.step() ? static_cast<std::uint32_t>(rows.integer(0)) : 0);
            }
            for (const auto& id : ids) {
                tx.execute(
                    "insert into hufu_consumer_attempt(consumer_group, message_id, starts, started_at_us) values (?, ?, 1, "
                    "?) "
                    "on conflict do nothing",
                    group_, id_blob(id), microseconds_of(database_.clock().system_now()));
            }
            tx.commit();
            return unanswered;
        });
    }
    Result<void> starts_again(const MessageId& id) override {
        return caught<void>([&] {
            Transaction tx{database_};
            tx.execute(
                "insert into hufu_consumer_attempt(consumer_group, message_id, starts, started_at_us) values (?, ?, 1, ?) "
                "on conflict do update set starts = starts + 1, started_at_us = excluded.started_at_us",
                group_, id_blob(id), microseconds_of(database_.clock().system_now()));
            tx.commit();
        });
    }
    Result<void> over(std::span<const MessageId> ids) override {
        return caught<void>([&] {
            Transaction tx{database_};
            for (const auto& id : ids)
                tx.execute("delete from hufu_consumer_attempt where consumer_group = ? and message_id = ?", group_,
                           id_blob(id));
            tx.commit();
        });
    }

private:
    Database& database_;
    const std::string group_;
};

}  // namespace

std::unique_ptr<ParkedKeys> parked_keys(Database& database, std::string group) {
    return std::make_unique<SqliteParkedKeys>(database, std::move(group));
}

std::unique_ptr<AttemptRows> attempt_rows(Database& database, std::string group) {
    return std::make_unique<SqliteAttemptRows>(database, std::move(group));
}

Result<void> reopen_parked_key(Database& database, const std::string& group, const ConsumerKey& key,
                               const outbox::AuditNote& note) {
    return caught<void>([&] {
        Transaction tx{database};
        const auto gone =
            tx.execute("delete from hufu_consumer_parked where consumer_group = ? and topic = ? and ordering_key = ?", group,
                       key.topic, key.ordering_key);
        if (gone == 0) throw Exception{not_parked(group, key)};
        tx.execute(
            "insert into hufu_parking_audit(at_us, action, topic, ordering_key, rows, who, why) values (?, ?, ?, ?, 1, ?, "
            "?)",
            microseconds_of(database.clock().system_now()), "reopen " + group, key.topic, key.ordering_key, note.who,
            note.why);
        tx.commit();
    });
}

Result<std::uint64_t> purge_attempt_rows(Database& database, const std::string& group, std::chrono::seconds age) {
    return caught<std::uint64_t>([&]() -> Result<std::uint64_t> {
        Transaction tx{database};
        const auto gone = tx.execute("delete from hufu_consumer_attempt where consumer_group = ? and started_at_us < ?",
                                     group, microseconds_of(database.clock().system_now() - age));
        tx.commit();
        return static_cast<std::uint64_t>(gone);
    });
}

}  // namespace hufu::sqlite
