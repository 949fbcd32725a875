// What people ask the book of receipts: the story of a message, sending it again, forgetting old stories.
#include <algorithm>
#include <string>

#include "awaiting.hpp"
#include "error.hpp"
#include "message_row.hpp"

namespace hufu::sqlite {
namespace {

using outbox::AwaitedSelection;
using outbox::LifeStory;

Blob blob(const MessageId& id) { return Blob{{reinterpret_cast<const char*>(id.bytes().data()), id.bytes().size()}}; }

constexpr std::string_view chosen_by_id = "id = ?";
constexpr std::string_view chosen_by_key = "(ordering_key = ? or instr(' ' || keys || ' ', ' ' || ? || ' ') > 0)";

/// The ids that `selection` means, of a table that has id, keys and ordering_key; oldest first.
std::vector<MessageId> chosen(Transaction& tx, const char* table, const AwaitedSelection& selection, std::size_t limit) {
    const std::string sql = "select id from " + std::string{table} + " where " +
                            std::string{selection.id ? chosen_by_id : chosen_by_key} + " order by id limit ?";
    const auto most = static_cast<std::int64_t>(limit);
    auto rows = selection.id ? tx.query(sql, blob(*selection.id), most) : tx.query(sql, selection.key, selection.key, most);
    std::vector<MessageId> ids;
    while (rows.step()) ids.push_back(id_at(rows, 0));
    return ids;
}

void tell_events(Transaction& tx, LifeStory& story) {
    auto rows = tx.query(
        "select at, what, detail from (select created_at_us as at, 'appended' as what, 'asks ' || replace(groups, ',', ', "
        "') "
        "as detail, 0 as n from hufu_awaiting where id = ?1 "
        "union all select created_at_us, 'appended', '', 0 from hufu_awaited where id = ?1 "
        "union all select at_us, what, detail, number from hufu_awaiting_log where id = ?1 "
        "union all select at_us, case outcome when 'done' then 'receipt' else 'refused' end, consumer_group || "
        "case when reason = '' then '' else ': ' || reason end, 0 from hufu_receipt where id = ?1 "
        "union all select ended_at_us, state, '', 9223372036854775807 from hufu_awaited where id = ?1) order by at, n",
        blob(story.id));
    while (rows.step()) story.events.push_back({time_of(rows.integer(0)), rows.text(1), rows.text(2)});
    story.sends = static_cast<std::uint32_t>(
        std::count_if(story.events.begin(), story.events.end(), [](const auto& event) { return event.what == "sent"; }));
}

LifeStory awaiting_story(Transaction& tx, const MessageId& id) {
    LifeStory story{.id = id};
    auto rows = tx.query(
        "select a.topic, a.ordering_key, a.groups, d.due_at_us, p.id is not null from hufu_awaiting a "
        "left join hufu_awaiting_due d on d.id = a.id left join hufu_awaiting_parked p on p.id = a.id "
        "where a.id = ?",
        blob(id));
    rows.step();
    story.topic = rows.text(0);
    story.ordering_key = rows.text(1);
    story.missing = missing_groups(tx, id, rows.view(2));
    story.state = rows.integer(4) != 0 ? "parked" : rows.is_null(3) ? "pending" : "awaiting";
    if (story.state == "awaiting") {
        const auto now = microseconds_of(tx.database().clock().system_now());
        story.next_send_in = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::microseconds{rows.integer(3) - now});
    }
    tell_events(tx, story);
    return story;
}

LifeStory ended_story(Transaction& tx, const MessageId& id) {
    LifeStory story{.id = id};
    auto rows = tx.query("select topic, ordering_key, state from hufu_awaited where id = ?", blob(id));
    rows.step();
    story.topic = rows.text(0);
    story.ordering_key = rows.text(1);
    story.state = rows.text(2);
    tell_events(tx, story);
    return story;
}

/// True if it was made overdue.
bool resend_one(Transaction& tx, const MessageId& id, const outbox::AuditNote& note) {
    const auto now = microseconds_of(tx.database().clock().system_now());
    const auto parked = tx.execute("delete from hufu_awaiting_parked where id = ?", blob(id));
    const auto due = tx.execute("delete from hufu_awaiting_due where id = ?", blob(id));
    if (parked + due == 0) return false;
    tx.execute("insert into hufu_awaiting_due(id, due_at_us, sends) values (?, ?, 0)", blob(id), now);
    tx.execute("insert into hufu_awaiting_log(id, at_us, what, detail) values (?, ?, 'resend', ?)", blob(id), now,
               "asked by " + note.who + ": " + note.why);
    tx.execute(
        "insert into hufu_parking_audit(at_us, action, topic, ordering_key, seq, rows, who, why) "
        "select ?, 'resend', topic, ordering_key, null, 1, ?, ? from hufu_awaiting where id = ?",
        now, note.who, note.why, blob(id));
    return true;
}

}  // namespace

Result<std::vector<LifeStory>> Awaiting::trace(const AwaitedSelection& selection, std::size_t limit) {
    return caught<std::vector<LifeStory>>([&]() -> Result<std::vector<LifeStory>> {
        Transaction tx{*database_, Transaction::Access::read};
        std::vector<LifeStory> stories;
        for (const auto& id : chosen(tx, "hufu_awaiting", selection, limit)) stories.push_back(awaiting_story(tx, id));
        for (const auto& id : chosen(tx, "hufu_awaited", selection, limit)) stories.push_back(ended_story(tx, id));
        if (stories.empty()) return outbox::no_such_message(selection);
        std::sort(stories.begin(), stories.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
        if (stories.size() > limit) stories.resize(limit);
        return stories;
    });
}

Result<std::uint64_t> Awaiting::resend(const AwaitedSelection& selection, const outbox::AuditNote& note) {
    constexpr std::size_t all = 1'000'000;
    auto count = caught<std::uint64_t>([&]() -> Result<std::uint64_t> {
        Transaction tx{*database_};
        std::uint64_t asked = 0;
        for (const auto& id : chosen(tx, "hufu_awaiting", selection, all)) asked += resend_one(tx, id, note) ? 1U : 0U;
        if (asked > 0) tx.commit();
        return asked;
    });
    if (!count || *count > 0) return count;
    auto known = trace(selection, 1);
    if (!known) return known.error();
    return outbox::cannot_resend(selection, known->front().state);
}

Result<std::uint64_t> Awaiting::forget(std::chrono::milliseconds keep, std::size_t limit) {
    return caught<std::uint64_t>([&]() -> Result<std::uint64_t> {
        const auto cut = microseconds_of(database_->clock().system_now() - keep);
        std::vector<MessageId> old;
        {
            Transaction look{*database_, Transaction::Access::read};
            auto rows = look.query("select id from hufu_awaited where ended_at_us < ? limit ?", cut,
                                   static_cast<std::int64_t>(limit));
            while (rows.step()) old.push_back(id_at(rows, 0));
        }
        if (old.empty()) return std::uint64_t{0};
        Transaction tx{*database_};
        for (const auto& id : old) {
            for (const char* table : {"hufu_receipt", "hufu_awaiting_log", "hufu_awaited"}) {
                tx.execute("delete from " + std::string{table} + " where id = ?", blob(id));
            }
        }
        tx.commit();
        return static_cast<std::uint64_t>(old.size());
    });
}

}  // namespace hufu::sqlite
