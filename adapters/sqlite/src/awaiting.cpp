// What decides about messages that wait for receipts. SQLite has one writer at a time, so each call is serial with the rest.
#include "awaiting.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include "error.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

using outbox::Receipt;
using outbox::ReceiptVerdict;

Blob blob(const MessageId& id) { return Blob{{reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()}}; }

std::int64_t in_microseconds(std::chrono::milliseconds duration) {
    return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

std::int64_t now_of(Transaction& tx) { return microseconds_of(tx.database().clock().system_now()); }

bool exists(Transaction& tx, std::string_view sql, const MessageId& id) { return tx.query(sql, blob(id)).step(); }

struct Asking {
    std::string asked;
    std::string groups;
    std::string ordering_key;
};

std::optional<Asking> asking(Transaction& tx, const MessageId& id) {
    auto rows = tx.query("select asked, groups, ordering_key from hufu_awaiting where id = ?", blob(id));
    if (!rows.step()) return std::nullopt;
    return Asking{rows.text(0), rows.text(1), rows.text(2)};
}

/// The event of an end, into the lane.
void announce(Transaction& tx, const Asking& message, const MessageId& id, const std::string& outcome) {
    const auto asked = outbox::decode_receipts(message.asked).value();
    if (asked.outcome_topic.empty()) return;
    Message event = outbox::outcome_message(asked, id, message.ordering_key, outcome);
    MessageIdGenerator ids{tx.database().clock(), system_random()};
    event.id = ids.next();
    const auto now = now_of(tx);
    event.headers.set(header::committed_at, std::to_string(now));
    tx.execute("insert into hufu_outbox(" HUFU_MESSAGE_COLUMNS ") values (" HUFU_MESSAGE_PARAMETERS ")", blob(event.id), now,
               event.topic, event.tag, joined_keys(event.keys), event.ordering_key, Blob{packed_headers(event.headers)},
               Blob{event.body});
    tx.mark_appended();
}

void log(Transaction& tx, const MessageId& id, std::string_view what, std::string_view detail) {
    tx.execute("insert into hufu_awaiting_log(id, at_us, what, detail) values (?, ?, ?, ?)", blob(id), now_of(tx), what,
               detail);
}

void leave_book(Transaction& tx, const MessageId& id, std::string_view state) {
    tx.execute(
        "insert into hufu_awaited(id, created_at_us, ended_at_us, topic, keys, ordering_key, state) "
        "select id, created_at_us, ?, topic, keys, ordering_key, ? from hufu_awaiting where id = ?",
        now_of(tx), state, blob(id));
    for (const char* table : {"hufu_awaiting", "hufu_awaiting_due", "hufu_awaiting_parked"}) {
        tx.execute("delete from " + std::string{table} + " where id = ?", blob(id));
    }
}

void park(Transaction& tx, const Asking& message, const MessageId& id, const std::string& reason) {
    tx.execute("delete from hufu_awaiting_due where id = ?", blob(id));
    const auto fresh =
        tx.execute("insert into hufu_awaiting_parked(id, parked_at_us, reason) values (?, ?, ?) on conflict do nothing",
                   blob(id), now_of(tx), reason);
    if (fresh == 0) return;
    log(tx, id, "parked", reason);
    announce(tx, message, id, "parked: " + reason);
}

/// Writes the group's word; false if it changes nothing.
bool record(Transaction& tx, const Receipt& receipt) {
    const bool done = receipt.outcome == Receipt::Outcome::done;
    return tx.execute(
               "insert into hufu_receipt(id, consumer_group, outcome, reason, at_us) values (?, ?, ?, ?, ?) "
               "on conflict do update set outcome = 'done', reason = '', at_us = excluded.at_us "
               "where outcome = 'refused' and excluded.outcome = 'done'",
               blob(receipt.message), receipt.group, done ? "done" : "refused", receipt.reason, now_of(tx)) == 1;
}

ReceiptVerdict take_one(Transaction& tx, const Receipt& receipt) {
    const auto message = asking(tx, receipt.message);
    if (!message) {
        auto known =
            tx.query("select 1 from hufu_receipt where id = ? and consumer_group = ?", blob(receipt.message), receipt.group);
        if (known.step()) return ReceiptVerdict::duplicate;
        return exists(tx, "select 1 from hufu_awaited where id = ?", receipt.message) ? ReceiptVerdict::unknown_group
                                                                                      : ReceiptVerdict::unknown_message;
    }
    const auto groups = split_groups(message->groups);
    if (std::find(groups.begin(), groups.end(), receipt.group) == groups.end()) return ReceiptVerdict::unknown_group;
    if (!record(tx, receipt)) return ReceiptVerdict::duplicate;
    if (receipt.outcome == Receipt::Outcome::refused) {
        park(tx, *message, receipt.message,
             receipt.group + " refused" + (receipt.reason.empty() ? "" : ": " + receipt.reason));
        return ReceiptVerdict::parked;
    }
    if (!missing_groups(tx, receipt.message, message->groups).empty()) return ReceiptVerdict::taken;
    announce(tx, *message, receipt.message, "completed");
    leave_book(tx, receipt.message, "completed");
    return ReceiptVerdict::completed;
}

std::optional<std::chrono::milliseconds> next_due(Transaction& tx) {
    auto rows = tx.query("select min(due_at_us) from hufu_awaiting_due");
    if (!rows.step() || rows.is_null(0)) return std::nullopt;
    return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::microseconds{rows.integer(0) - now_of(tx)});
}

/// The message, if it is still to be sent; else its due row is a leftover and goes.
std::optional<outbox::OverdueMessage> claim_one(Transaction& tx, const MessageId& id, std::int64_t sends,
                                                std::int64_t until) {
    auto rows = tx.query("select " HUFU_MESSAGE_COLUMNS
                         ", asked, groups from hufu_awaiting where id = ?1 and not exists "
                         "(select 1 from hufu_awaiting_parked p where p.id = ?1)",
                         blob(id));
    if (!rows.step()) {
        tx.execute("delete from hufu_awaiting_due where id = ?", blob(id));
        return std::nullopt;
    }
    outbox::OverdueMessage overdue{.message = message_at(rows, 0),
                                   .asked = outbox::decode_receipts(rows.view(message_columns)).value(),
                                   .sends = static_cast<std::uint32_t>(sends)};
    overdue.missing = missing_groups(tx, id, rows.view(message_columns + 1));
    tx.execute("update hufu_awaiting_due set due_at_us = ? where id = ?", until, blob(id));
    return overdue;
}

}  // namespace

std::vector<std::string> split_groups(std::string_view groups) {
    std::vector<std::string> names;
    while (!groups.empty()) {
        const auto comma = groups.find(',');
        names.emplace_back(groups.substr(0, comma));
        groups.remove_prefix(comma == std::string_view::npos ? groups.size() : comma + 1);
    }
    return names;
}

std::vector<std::string> missing_groups(Transaction& tx, const MessageId& id, std::string_view groups) {
    auto names = split_groups(groups);
    auto rows = tx.query("select consumer_group from hufu_receipt where id = ? and outcome = 'done'", blob(id));
    while (rows.step()) std::erase(names, rows.text(0));
    return names;
}

void start_awaiting(Transaction& tx, std::span<const MessageId> ids) {
    for (const auto& id : ids) {
        const auto message = asking(tx, id);
        if (!message || exists(tx, "select 1 from hufu_awaiting_parked where id = ?", id)) continue;
        const auto deadline = outbox::decode_receipts(message->asked).value().deadline;
        tx.execute("insert into hufu_awaiting_due(id, due_at_us, sends) values (?, ?, 1) on conflict do nothing", blob(id),
                   now_of(tx) + in_microseconds(deadline));
        log(tx, id, "sent", "");
    }
}

void end_discarded(Transaction& tx, const outbox::ParkedSelection& selection) {
    std::vector<MessageId> ids;
    {
        auto rows = tx.query(
            "select p.id from hufu_parked p join hufu_awaiting a on a.id = p.id where p.topic = ? and "
            "p.ordering_key = ? and (? is null or p.seq = ?)",
            selection.key.topic, selection.key.ordering_key, selection.seq, selection.seq);
        while (rows.step()) ids.push_back(id_at(rows, 0));
    }
    for (const auto& id : ids) leave_book(tx, id, "discarded");
}

Result<std::vector<ReceiptVerdict>> Awaiting::take(std::span<const Receipt> receipts) {
    return caught<std::vector<ReceiptVerdict>>([&]() -> Result<std::vector<ReceiptVerdict>> {
        std::vector<ReceiptVerdict> verdicts;
        if (receipts.empty()) return verdicts;
        Transaction tx{*database_};
        for (const Receipt& receipt : receipts) verdicts.push_back(take_one(tx, receipt));
        tx.commit();
        return verdicts;
    });
}

Result<outbox::Overdue> Awaiting::claim_overdue(std::size_t limit, std::chrono::milliseconds hold) {
    return caught<outbox::Overdue>([&]() -> Result<outbox::Overdue> {
        outbox::Overdue overdue;
        {
            // Most calls find nothing due, and then no writer has to wait.
            Transaction look{*database_, Transaction::Access::read};
            overdue.next_due_in = next_due(look);
            if (!overdue.next_due_in || overdue.next_due_in->count() > 0) return overdue;
        }
        Transaction tx{*database_};
        std::vector<std::pair<MessageId, std::int64_t>> due;
        {
            auto rows = tx.query("select id, sends from hufu_awaiting_due where due_at_us <= ? order by due_at_us limit ?",
                                 now_of(tx), static_cast<std::int64_t>(limit));
            while (rows.step()) due.emplace_back(id_at(rows, 0), rows.integer(1));
        }
        for (const auto& [id, sends] : due) {
            if (auto message = claim_one(tx, id, sends, now_of(tx) + in_microseconds(hold)))
                overdue.messages.push_back(std::move(*message));
        }
        overdue.next_due_in = next_due(tx);
        tx.commit();
        return overdue;
    });
}

Result<void> Awaiting::sent_again(std::span<const outbox::SentAgain> sent) {
    return caught<void>([&] {
        Transaction tx{*database_};
        for (const auto& message : sent) {
            const auto counted = tx.execute("update hufu_awaiting_due set sends = sends + 1, due_at_us = ? where id = ?",
                                            now_of(tx) + in_microseconds(message.wait), blob(message.id));
            if (counted == 1) log(tx, message.id, "sent", "again");
        }
        tx.commit();
    });
}

Result<void> Awaiting::park_overdue(std::span<const outbox::ParkOverdue> parks) {
    return caught<void>([&] {
        Transaction tx{*database_};
        for (const auto& parked : parks) {
            if (const auto message = asking(tx, parked.id)) park(tx, *message, parked.id, parked.reason);
        }
        tx.commit();
    });
}

}  // namespace hufu::sqlite
