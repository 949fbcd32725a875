// A pqxx transaction with guard rows in it.
#pragma once

#include <pqxx/pqxx>

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/idempotency/guard.hpp>

#include "effect_work.hpp"
#include "row.hpp"

namespace hufu::postgres {

constexpr std::string_view guard_about = "guarded effect";

inline std::string from_hex(std::string_view text) {
    const auto digit = [](char character) { return character <= '9' ? character - '0' : character - 'a' + 10; };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
    return bytes;
}

class GuardWork final : public EffectWork, public idempotency::GuardRows {
public:
    /// `wait`: how long the guard row waits for another's transaction; none: the server's own limit.
    explicit GuardWork(pqxx::connection& connection, std::optional<std::chrono::milliseconds> wait = {})
        : EffectWork{connection}, wait_{wait} {}

    Result<idempotency::GuardSeen> insert(const idempotency::GuardKey& key) override {
        return guarded<idempotency::GuardSeen>(
            Setting::in_transaction, guard_about, [&]() -> Result<idempotency::GuardSeen> {
                const std::string group = work().quote(key.group);
                // The limit travels with the insert. It holds for the effect's own statements too. The horizon is read after the
                // insert, which may have waited for the clean-up of this very row.
                const auto rows = work().exec(
                    limit() + "insert into hufu.guard(consumer_group, message_id) values (" + group + ", '" +
                    key.id.to_string() + "'::uuid) on conflict do nothing returning hufu.guard_horizon_us(" + group + ")");
                // The row of another is visible to the next statement only: its transaction has just ended.
                if (rows.empty()) return find(key);
                return idempotency::GuardSeen{false, {}, time_of(rows[0][0])};
            });
    }

    /// One statement, whose rows are inserted in the order of the keys.
    Result<std::vector<idempotency::GuardSeen>> insert_all(std::span<const idempotency::GuardKey> keys) override {
        if (keys.empty()) return std::vector<idempotency::GuardSeen>{};
        const auto& group = keys.front().group;
        std::string ids{"{"};
        for (const auto& key : keys) ids.append(ids.size() == 1 ? "" : ",").append(key.id.to_string());
        ids += '}';
        using Seen = std::vector<idempotency::GuardSeen>;
        return guarded<Seen>(Setting::in_transaction, guard_about, [&]() -> Result<Seen> {
            const auto rows = work().exec_params(
                "with mine as (insert into hufu.guard(consumer_group, message_id) select $1::text, id "
                "from unnest($2::uuid[]) as one(id) order by id on conflict do nothing returning message_id) "
                "select (m.message_id is not null)::int, "
                "case when m.message_id is not null then hufu.guard_horizon_us($1::text) end "
                "from unnest($2::uuid[]) with ordinality as a(id, n) left join mine m on m.message_id = a.id order by a.n",
                group, ids);
            Seen seen;
            for (const auto& row : rows) seen.push_back({row[0].template as<int>() == 0, {}, time_of(row[1])});
            return seen;
        });
    }

    Result<idempotency::GuardSeen> find(const idempotency::GuardKey& key) override {
        return guarded<
            idempotency::GuardSeen>(Setting::in_transaction, guard_about, [&]() -> Result<idempotency::GuardSeen> {
            const auto rows = work().exec_params(
                "select g.message_id is not null, encode(coalesce(g.result, ''), 'hex'), "
                "(select (extract(epoch from horizon) * 1000000)::bigint from hufu.guard_horizon where consumer_group = $1) "
                "from (select 1) one left join hufu.guard g on g.consumer_group = $1 and g.message_id = $2::uuid",
                key.group, key.id.to_string());
            return idempotency::GuardSeen{rows[0][0].as<bool>(), from_hex(rows[0][1].as<std::string>()),
                                          time_of(rows[0][2])};
        });
    }

    Result<void> keep_result(const idempotency::GuardKey& key, std::string_view result) override {
        return guarded<void>(Setting::in_transaction, guard_about, [&]() -> Result<void> {
            work().exec_params(
                "update hufu.guard set result = $3::bytea where consumer_group = $1 and message_id = $2::uuid", key.group,
                key.id.to_string(), hex(result));
            return {};
        });
    }

private:
    [[nodiscard]] std::string limit() const {
        if (!wait_) return {};
        return "set local lock_timeout = " + std::to_string(std::max<std::int64_t>(wait_->count(), 1)) + "; ";
    }
    template <class Field>
    static SystemTime time_of(const Field& field) {
        return field.is_null() ? SystemTime{} : SystemTime{std::chrono::microseconds{field.template as<std::int64_t>()}};
    }

    std::optional<std::chrono::milliseconds> wait_;
};

}  // namespace hufu::postgres
