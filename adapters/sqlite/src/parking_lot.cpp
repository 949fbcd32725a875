#include "parking_lot.hpp"

#include <string>

#include "awaiting.hpp"
#include "error.hpp"
#include "lane.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

using outbox::Key;
using outbox::Ownership;
using outbox::ParkedRow;
using outbox::ParkedSelection;

#define HUFU_PARKED_COLUMNS "seq, attempts, reason, parked_at_us, released, " HUFU_MESSAGE_COLUMNS

ParkedRow parked_row_at(const Statement& rows) {
    return {{rows.integer(0), time_of(rows.integer(6)), message_at(rows, 5)},
            static_cast<std::uint32_t>(rows.integer(1)),
            rows.text(2),
            time_of(rows.integer(3)),
            rows.integer(4) != 0};
}

std::vector<ParkedRow> all_of(Statement rows) {
    std::vector<ParkedRow> all;
    while (rows.step()) {
        all.push_back(parked_row_at(rows));
    }
    return all;
}

std::string described(const ParkedSelection& selection) {
    std::string text = "topic \"" + selection.key.topic + "\"";
    text += selection.key.ordering_key.empty() ? ", no ordering key" : ", key \"" + selection.key.ordering_key + "\"";
    if (selection.seq) {
        text += ", row " + std::to_string(*selection.seq);
    }
    return text;
}

Error nothing_parked(const ParkedSelection& selection) {
    return Error{ErrorCode::not_found, Disposition::reject,
                 "nothing is parked of " + described(selection) + ": \"hufu outbox list\" shows what is"};
}

}  // namespace

Result<Ownership> Lot::park(const outbox::Claim& claim, std::span<const outbox::ParkRow> rows) {
    return caught<Ownership>([&]() -> Result<Ownership> {
        Transaction tx{*database_};
        const auto held = ownership(tx, claim);
        if (held != Ownership::held) {
            return held;
        }
        const auto now = microseconds_of(database_->clock().system_now());
        for (const auto& row : rows) {
            tx.execute("insert into hufu_parked(" HUFU_PARKED_COLUMNS ") select seq, ?, ?, ?, ?, " HUFU_MESSAGE_COLUMNS
                       " from hufu_outbox where seq = ?",
                       row.attempts, row.reason, now, row.released, row.seq);
            tx.execute("delete from hufu_outbox where seq = ?", row.seq);
        }
        tx.commit();
        return held;
    });
}

Result<std::vector<ParkedRow>> Lot::read_released(const Key& key, outbox::Sequence after, std::size_t limit) {
    return caught<std::vector<ParkedRow>>([&]() -> Result<std::vector<ParkedRow>> {
        Transaction tx{*database_, Transaction::Access::read};
        // A key goes as a whole; rows without a key go one by one.
        const bool whole = !key.ordering_key.empty();
        return all_of(tx.query("select " HUFU_PARKED_COLUMNS " from hufu_parked where topic = ? and ordering_key = ? "
                               "and seq > ? and (released = 1 or (? and exists (select 1 from hufu_parked "
                               "where topic = ? and ordering_key = ? and released = 1))) order by seq limit ?",
                               key.topic, key.ordering_key, after, whole, key.topic, key.ordering_key,
                               static_cast<std::int64_t>(limit)));
    });
}

Result<Ownership> Lot::settle(const outbox::Claim& claim, std::span<const outbox::Sequence> seqs,
                              std::span<const MessageId> awaited) {
    return caught<Ownership>([&]() -> Result<Ownership> {
        Transaction tx{*database_};
        const auto held = ownership(tx, claim);
        if (held == Ownership::held) {
            for (const auto seq : seqs) {
                tx.execute("delete from hufu_parked where seq = ?", seq);
            }
            start_awaiting(tx, awaited);
            tx.commit();
        }
        return held;
    });
}

Result<Ownership> Lot::hold(const outbox::Claim& claim, const Key& key, const outbox::ParkRow& row) {
    return caught<Ownership>([&]() -> Result<Ownership> {
        Transaction tx{*database_};
        const auto held = ownership(tx, claim);
        if (held == Ownership::held) {
            if (!key.ordering_key.empty()) {
                tx.execute("update hufu_parked set released = 0 where topic = ? and ordering_key = ?", key.topic,
                           key.ordering_key);
            }
            tx.execute("update hufu_parked set released = 0, attempts = ?, reason = ? where seq = ?", row.attempts,
                       row.reason, row.seq);
            tx.commit();
        }
        return held;
    });
}

Result<std::vector<outbox::ParkedKey>> Lot::list() {
    return caught<std::vector<outbox::ParkedKey>>([&]() -> Result<std::vector<outbox::ParkedKey>> {
        Transaction tx{*database_, Transaction::Access::read};
        auto rows = tx.query(
            "select k.topic, k.ordering_key, k.parked, k.released, k.first_seq, p.attempts, p.reason, "
            "p.parked_at_us from (select topic, ordering_key, count(*) as parked, sum(released) as released, "
            "min(seq) as first_seq from hufu_parked group by topic, ordering_key) k "
            "join hufu_parked p on p.seq = k.first_seq order by k.topic, k.ordering_key");
        std::vector<outbox::ParkedKey> keys;
        while (rows.step()) {
            keys.push_back({{rows.text(0), rows.text(1)},
                            static_cast<std::uint64_t>(rows.integer(2)),
                            static_cast<std::uint64_t>(rows.integer(3)),
                            rows.integer(4),
                            static_cast<std::uint32_t>(rows.integer(5)),
                            rows.text(6),
                            time_of(rows.integer(7))});
        }
        return keys;
    });
}

Result<std::vector<ParkedRow>> Lot::show(const Key& key, std::size_t limit) {
    return caught<std::vector<ParkedRow>>([&]() -> Result<std::vector<ParkedRow>> {
        Transaction tx{*database_, Transaction::Access::read};
        return all_of(tx.query("select " HUFU_PARKED_COLUMNS " from hufu_parked where topic = ? and ordering_key = ? "
                               "order by seq limit ?",
                               key.topic, key.ordering_key, static_cast<std::int64_t>(limit)));
    });
}

Result<std::uint64_t> Lot::release(const ParkedSelection& selection, const outbox::AuditNote& note) {
    return caught<std::uint64_t>([&]() -> Result<std::uint64_t> {
        Transaction tx{*database_};
        const auto& key = selection.key;
        if (selection.seq && !key.ordering_key.empty()) {
            return Error{ErrorCode::invalid_argument, Disposition::reject,
                         described(selection) +
                             " cannot be released alone, because rows of one key go in order: release "
                             "the whole key, or discard the row"};
        }
        const auto rows = static_cast<std::uint64_t>(
            tx.execute("update hufu_parked set released = 1 where topic = ? and ordering_key = ? and (? is null or seq = ?)",
                       key.topic, key.ordering_key, selection.seq, selection.seq));
        if (rows == 0) {
            return nothing_parked(selection);
        }
        write_audit(tx, "release", selection, rows, note);
        tx.mark_appended();  // there is work for the relay
        tx.commit();
        return rows;
    });
}

Result<std::uint64_t> Lot::discard(const ParkedSelection& selection, const outbox::AuditNote& note) {
    return caught<std::uint64_t>([&]() -> Result<std::uint64_t> {
        Transaction tx{*database_};
        end_discarded(tx, selection);
        const auto rows = static_cast<std::uint64_t>(
            tx.execute("delete from hufu_parked where topic = ? and ordering_key = ? and (? is null or seq = ?)",
                       selection.key.topic, selection.key.ordering_key, selection.seq, selection.seq));
        if (rows == 0) {
            return nothing_parked(selection);
        }
        write_audit(tx, "discard", selection, rows, note);
        tx.commit();
        return rows;
    });
}

Result<std::vector<outbox::AuditEntry>> Lot::audit(std::size_t limit) {
    return caught<std::vector<outbox::AuditEntry>>([&]() -> Result<std::vector<outbox::AuditEntry>> {
        Transaction tx{*database_, Transaction::Access::read};
        auto rows = tx.query(
            "select at_us, action, topic, ordering_key, seq, rows, who, why from hufu_parking_audit "
            "order by number desc limit ?",
            static_cast<std::int64_t>(limit));
        std::vector<outbox::AuditEntry> entries;
        while (rows.step()) {
            outbox::AuditEntry entry;
            entry.at = time_of(rows.integer(0));
            entry.action = rows.text(1);
            entry.selection.key = {rows.text(2), rows.text(3)};
            if (!rows.is_null(4)) {
                entry.selection.seq = rows.integer(4);
            }
            entry.rows = static_cast<std::uint64_t>(rows.integer(5));
            entry.note = {rows.text(6), rows.text(7)};
            entries.push_back(std::move(entry));
        }
        return entries;
    });
}

void Lot::write_audit(Transaction& tx, std::string_view action, const ParkedSelection& selection, std::uint64_t rows,
                      const outbox::AuditNote& note) {
    tx.execute(
        "insert into hufu_parking_audit(at_us, action, topic, ordering_key, seq, rows, who, why) "
        "values (?, ?, ?, ?, ?, ?, ?, ?)",
        microseconds_of(database_->clock().system_now()), action, selection.key.topic, selection.key.ordering_key,
        selection.seq, static_cast<std::int64_t>(rows), note.who, note.why);
}

}  // namespace hufu::sqlite
