#include "receipts_judge.hpp"

#include <set>
#include <utility>

#include <pqxx/pqxx>

namespace hufu::fault {
namespace {

/// What was claimed before the last receipt may be sent until 2 s later, and then takes its time through a broker that is just
/// coming back.
constexpr std::chrono::seconds claim_allowance{6};

struct Ledger {
    std::map<std::string, bool> orders;  ///< id, and whether "points" refuses it
    std::map<std::string, SystemTime> completed;
    std::map<std::string, std::string> parked;
    std::set<std::string> open;
    std::set<std::pair<std::string, std::string>> confirmed;  ///< id and group
};

Ledger read_shop(const std::string& url) {
    Ledger ledger;
    pqxx::connection connection{url};
    pqxx::work work{connection};
    for (const auto& row : work.exec("select id, refuse from orders"))
        ledger.orders[row[0].as<std::string>()] = row[1].as<bool>();
    for (const auto& row :
         work.exec("select message_id, (extract(epoch from ended_at) * 1000000)::bigint from hufu.awaited"))
        ledger.completed[row[0].as<std::string>()] = SystemTime{std::chrono::microseconds{row[1].as<std::int64_t>()}};
    for (const auto& row : work.exec("select message_id, reason from hufu.awaiting_parked"))
        ledger.parked[row[0].as<std::string>()] = row[1].as<std::string>();
    for (const auto& row : work.exec("select message_id from hufu.awaiting")) ledger.open.insert(row[0].as<std::string>());
    for (const auto& row : work.exec("select message_id, consumer_group from hufu.receipt where outcome = 'done'"))
        ledger.confirmed.emplace(row[0].as<std::string>(), row[1].as<std::string>());
    return ledger;
}

std::map<std::string, int> read_effects(const std::string& url) {
    std::map<std::string, int> effects;
    pqxx::connection connection{url};
    pqxx::work work{connection};
    for (const auto& row : work.exec("select message_id, count(*) from effects group by 1"))
        effects[row[0].as<std::string>()] = row[1].as<int>();
    return effects;
}

}  // namespace

ReceiptVerdictCounts judge_receipts(const std::string& shop, const std::map<std::string, std::string>& consumers,
                                    std::uint64_t copies, const CopiesAgain& again) {
    ReceiptVerdictCounts counts;
    const Ledger ledger = read_shop(shop);
    counts.messages = ledger.orders.size();
    for (const auto& [id, refuse] : ledger.orders) {
        if (ledger.completed.contains(id)) {
            ++counts.completed;
        } else if (const auto parked = ledger.parked.find(id); parked != ledger.parked.end()) {
            ++counts.parked;
            if (!refuse || parked->second.find("points refused: sold out") == std::string::npos) ++counts.parked_wrongly;
        } else {
            ++(ledger.open.contains(id) ? counts.open : counts.forgotten);
        }
    }
    for (const auto& [group, url] : consumers) {
        const auto effects = read_effects(url);
        for (const auto& [id, times] : effects) counts.effects_twice += times > 1 ? 1U : 0U;
        for (const auto& [id, refuse] : ledger.orders) {
            const bool expected = !(refuse && group == "points");
            if (expected && !effects.contains(id)) ++counts.effects_missing;
            if (ledger.confirmed.contains({id, group}) && !effects.contains(id)) ++counts.receipts_without_effect;
        }
    }
    counts.copies = copies;
    counts.copies_again = again.size();
    for (const auto& [id, stored] : again) {
        const auto ended = ledger.completed.find(id.to_string());
        if (ended != ledger.completed.end() && stored > ended->second + claim_allowance) ++counts.copies_after_confirmation;
    }
    return counts;
}

}  // namespace hufu::fault
