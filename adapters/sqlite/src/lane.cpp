#include "lane.hpp"

#include <utility>

#include <hufu/core/mutant.hpp>

#include "awaiting.hpp"
#include "error.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

using outbox::Ownership;
using outbox::Sequence;

std::int64_t in_microseconds(std::chrono::milliseconds duration) {
    return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

std::string json_of(std::span<const Sequence> numbers) {
    std::string text = "[";
    for (const auto number : numbers) {
        if (text.size() > 1) {
            text += ',';
        }
        text += std::to_string(number);
    }
    text += ']';
    return text;
}

std::string identity_in(Transaction& tx) {
    auto rows = tx.query("select identity from hufu_lane where lane = 0");
    return rows.step() ? rows.text(0) : std::string{};
}

}  // namespace

Ownership ownership(Transaction& tx, const outbox::Claim& claim) {
    if (mutant_active("lease_never_fenced")) {
        return Ownership::held;
    }
    auto rows = tx.query("select epoch, identity from hufu_lane where lane = 0");
    if (!rows.step() || rows.view(1) != claim.identity) {
        return Ownership::moved_on;
    }
    return rows.integer(0) == static_cast<std::int64_t>(claim.epoch) ? Ownership::held : Ownership::fenced;
}

Result<std::optional<outbox::Claim>> Lease::acquire(std::string_view owner, std::chrono::milliseconds lease) {
    using Answer = std::optional<outbox::Claim>;
    return caught<Answer>([&]() -> Result<Answer> {
        Transaction tx{*database_};
        const auto now = microseconds_of(database_->clock().system_now());
        Answer claim;
        {
            auto rows = tx.query(
                "update hufu_lane set epoch = epoch + 1, owner = ?, lease_until_us = ? "
                "where lane = 0 and (lease_until_us < ? or owner = ?) returning epoch, identity",
                owner, now + in_microseconds(lease), now, owner);
            if (rows.step()) {
                claim = outbox::Claim{static_cast<std::uint64_t>(rows.integer(0)), rows.text(1)};
                rows.run();
            }
        }
        tx.commit();
        return claim;
    });
}

Result<Ownership> Lease::renew(const outbox::Claim& claim, std::chrono::milliseconds lease) {
    return caught<Ownership>([&]() -> Result<Ownership> {
        Transaction tx{*database_};
        const auto held = ownership(tx, claim);
        if (held == Ownership::held) {
            tx.execute("update hufu_lane set lease_until_us = ? where lane = 0",
                       microseconds_of(database_->clock().system_now()) + in_microseconds(lease));
            tx.commit();
        }
        return held;
    });
}

Result<void> Lease::release(const outbox::Claim& claim) {
    return caught<void>([&] {
        Transaction tx{*database_};
        if (ownership(tx, claim) == Ownership::held) {
            tx.execute("update hufu_lane set lease_until_us = 0 where lane = 0");
            tx.commit();
        }
    });
}

Result<outbox::LaneStart> Reader::start() {
    return caught<outbox::LaneStart>([&]() -> Result<outbox::LaneStart> {
        Transaction tx{*database_, Transaction::Access::read};
        return outbox::LaneStart{identity_in(tx), 0, 0, true};
    });
}

Result<outbox::Page> Reader::read(const outbox::ReadRequest& request) {
    return caught<outbox::Page>([&]() -> Result<outbox::Page> {
        Transaction tx{*database_, Transaction::Access::read};
        outbox::Page page;
        page.identity = identity_in(tx);
        const bool plain = request.holes.empty() && request.upto == 0;
        const auto limit = static_cast<std::int64_t>(request.limit);
        auto rows = plain ? tx.query("select seq, " HUFU_MESSAGE_COLUMNS
                                     " from hufu_outbox where seq > ? "
                                     "order by seq limit ?",
                                     request.after, limit)
                          : tx.query("select seq, " HUFU_MESSAGE_COLUMNS
                                     " from hufu_outbox where seq > ? "
                                     "or seq in (select value from json_each(?)) "
                                     "or (seq <= ? and seq not in (select value from json_each(?))) order by seq limit ?",
                                     request.after, json_of(request.holes), request.upto, json_of(request.skip), limit);
        while (rows.step()) {
            page.rows.push_back({rows.integer(0), time_of(rows.integer(2)), message_at(rows, 1)});
        }
        return page;
    });
}

Result<std::uint64_t> Reader::count_unknown(Sequence upto, std::span<const Sequence> known) {
    return caught<std::uint64_t>([&]() -> Result<std::uint64_t> {
        Transaction tx{*database_, Transaction::Access::read};
        auto rows =
            tx.query("select count(*) from hufu_outbox where seq <= ? and seq not in (select value from json_each(?))", upto,
                     json_of(known));
        rows.step();
        return static_cast<std::uint64_t>(rows.integer(0));
    });
}

Result<outbox::Settled> Settler::settle(const outbox::Claim& claim, std::span<const Sequence> seqs,
                                        std::span<const MessageId> awaited) {
    return caught<outbox::Settled>([&]() -> Result<outbox::Settled> {
        Transaction tx{*database_, Transaction::Access::write_relaxed};
        outbox::Settled settled{ownership(tx, claim), 0};
        if (settled.ownership != Ownership::held) {
            return settled;
        }
        {
            auto remove = tx.prepare("delete from hufu_outbox where seq = ?");
            for (const auto seq : seqs) {
                remove.bind(seq).run();
            }
        }
        start_awaiting(tx, awaited);
        tx.commit();
        return settled;
    });
}

Result<outbox::Moved> Delayed::move_due(const outbox::Claim& claim, std::size_t limit) {
    return caught<outbox::Moved>([&]() -> Result<outbox::Moved> {
        const auto now = microseconds_of(database_->clock().system_now());
        const auto next_due = [&](Transaction& tx) -> std::optional<std::chrono::milliseconds> {
            auto rows = tx.query("select min(due_at_us) from hufu_delayed");
            if (!rows.step() || rows.is_null(0)) {
                return std::nullopt;
            }
            return std::chrono::ceil<std::chrono::milliseconds>(
                std::chrono::microseconds{std::max<std::int64_t>(rows.integer(0) - now, 0)});
        };
        {
            // Most calls find nothing due, and then no writer has to wait.
            Transaction look{*database_, Transaction::Access::read};
            const auto due = next_due(look);
            if (!due || due->count() > 0) {
                return outbox::Moved{ownership(look, claim), 0, due};
            }
        }
        Transaction tx{*database_};
        outbox::Moved moved{ownership(tx, claim), 0, {}};
        if (moved.ownership != Ownership::held) {
            return moved;
        }
        {
            std::vector<std::int64_t> numbers;
            auto due = tx.query("select number from hufu_delayed where due_at_us <= ? order by due_at_us, number limit ?",
                                now, static_cast<std::int64_t>(limit));
            while (due.step()) {
                numbers.push_back(due.integer(0));
            }
            auto copy = tx.prepare("insert into hufu_outbox(" HUFU_MESSAGE_COLUMNS ") select " HUFU_MESSAGE_COLUMNS
                                   " from hufu_delayed where number = ?");
            auto remove = tx.prepare("delete from hufu_delayed where number = ?");
            for (const auto number : numbers) {
                copy.bind(number).run();
                remove.bind(number).run();
            }
            moved.rows = numbers.size();
        }
        moved.next_due_in = next_due(tx);
        tx.commit();
        return moved;
    });
}

}  // namespace hufu::sqlite
