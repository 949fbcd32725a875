#include <hufu/outbox/awaiting.hpp>
#include <hufu/outbox/receipts.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <hufu/core/mutant.hpp>

namespace hufu::outbox {
namespace {

constexpr std::size_t groups_max = 32;
constexpr std::size_t name_max = 127;
constexpr std::uint32_t sends_limit = 1'000;
constexpr std::chrono::milliseconds wait_max{std::chrono::hours{24 * 30}};
constexpr std::size_t reason_max = 1'000;
constexpr std::string_view receipt_version = "hufu-receipt/1";
constexpr std::string_view plan_version = "1";

Error refuse(std::string text) { return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)}; }
Error no_receipt(std::string text) { return Error{ErrorCode::protocol, Disposition::reject, std::move(text)}; }

/// Long or binary input as it may stand in an error.
std::string shown(std::string_view text) {
    std::string safe{text.substr(0, 40)};
    for (char& character : safe) {
        if (static_cast<unsigned char>(character) < 0x20) character = '?';
    }
    return "\"" + safe + (text.size() > 40 ? "…\"" : "\"");
}

bool is_name(std::string_view text) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '%' || c == '|';
    };
    return !text.empty() && text.size() <= name_max && std::all_of(text.begin(), text.end(), fits);
}

Result<void> check_name(std::string_view what, std::string_view text) {
    if (is_name(text)) return {};
    return refuse("receipts: " + std::string{what} + " " + shown(text) + " must be 1 to 127 characters of %|a-zA-Z0-9_-");
}

/// The part up to `separator` (or all), which is taken off the front.
std::string_view take(std::string_view& text, char separator) {
    const auto end = text.find(separator);
    const auto part = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return part;
}

std::optional<std::int64_t> number(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string ms(std::chrono::milliseconds value) { return std::to_string(value.count()) + " ms"; }

}  // namespace

Result<void> validate(const Receipts& receipts) {
    if (receipts.groups.empty()) {
        return refuse(
            "receipts: no group is named, so nobody could confirm: name the consumer groups, or ask for no receipts");
    }
    if (receipts.groups.size() > groups_max) {
        return refuse("receipts: " + std::to_string(receipts.groups.size()) + " groups are named, at most " +
                      std::to_string(groups_max) + " are allowed");
    }
    for (const auto& group : receipts.groups) {
        if (auto fine = check_name("group", group); !fine) return fine;
        if (std::count(receipts.groups.begin(), receipts.groups.end(), group) > 1) {
            return refuse("receipts: group " + shown(group) + " is named twice");
        }
    }
    if (receipts.deadline.count() < 1 || receipts.deadline > wait_max) {
        return refuse("receipts: deadline of " + ms(receipts.deadline) +
                      " must lie in the future (1 ms to 30 days after the message was sent)");
    }
    if (receipts.backoff_cap < receipts.deadline || receipts.backoff_cap > wait_max) {
        return refuse("receipts: backoff_cap of " + ms(receipts.backoff_cap) + " must be from deadline (" +
                      ms(receipts.deadline) + ") to 30 days");
    }
    if (receipts.sends_max < 1 || receipts.sends_max > sends_limit) {
        return refuse("receipts: sends_max of " + std::to_string(receipts.sends_max) + " must be 1 to 1000");
    }
    if (auto fine = check_name("receipts_topic", receipts.receipts_topic); !fine) return fine;
    if (!receipts.outcome_topic.empty()) return check_name("outcome_topic", receipts.outcome_topic);
    return {};
}

std::string encode(const Receipts& receipts) {
    std::string text{plan_version};
    text += ';';
    for (std::size_t at = 0; at < receipts.groups.size(); ++at) text += (at == 0 ? "" : ",") + receipts.groups[at];
    text += ';' + std::to_string(receipts.deadline.count()) + ';' + std::to_string(receipts.backoff_cap.count()) + ';' +
            std::to_string(receipts.sends_max) + ';' + receipts.receipts_topic + ';' + receipts.outcome_topic;
    return text;
}

Result<Receipts> decode_receipts(std::string_view text) {
    const auto whole = text;
    Receipts receipts;
    if (take(text, ';') != plan_version) {
        return refuse("header hufu-receipts " + shown(whole) + " is of a version that this program does not know");
    }
    for (auto groups = take(text, ';'); !groups.empty();) receipts.groups.emplace_back(take(groups, ','));
    const auto deadline = number(take(text, ';'));
    const auto cap = number(take(text, ';'));
    const auto sends = number(take(text, ';'));
    receipts.receipts_topic = take(text, ';');
    receipts.outcome_topic = text;
    if (!deadline || !cap || !sends || *sends < 0 || *sends > sends_limit) {
        return refuse("header hufu-receipts " + shown(whole) + " has something that is no number where one belongs");
    }
    receipts.deadline = std::chrono::milliseconds{*deadline};
    receipts.backoff_cap = std::chrono::milliseconds{*cap};
    receipts.sends_max = static_cast<std::uint32_t>(*sends);
    if (auto fine = validate(receipts); !fine) return fine.error();
    return receipts;
}

Message with_receipts(Message message, const Receipts& receipts) {
    validate(receipts).value();
    message.headers.set(receipts_header, encode(receipts));
    hufu::validate(message).value();
    return message;
}

Message receipt_message(const std::string& topic, const Receipt& receipt) {
    Message message;
    message.topic = topic;
    message.keys = {receipt.message.to_string()};
    message.body = std::string{receipt_version} + '\n' + message.keys.front() + '\n' + receipt.group + '\n' +
                   (receipt.outcome == Receipt::Outcome::done ? "done" : "refused") + '\n' +
                   receipt.reason.substr(0, reason_max);
    return message;
}

Result<Receipt> read_receipt(const Message& message) {
    std::string_view text = message.body;
    const std::string where = "message " + message.id.to_string() + " of topic \"" + message.topic + "\"";
    if (take(text, '\n') != receipt_version) {
        return no_receipt(where + " is no receipt: its body does not begin with hufu-receipt/1");
    }
    const auto id = MessageId::parse(take(text, '\n'));
    if (!id) return no_receipt(where + " is no receipt: " + id.error().text());
    Receipt receipt{.message = *id, .group = std::string{take(text, '\n')}};
    if (!is_name(receipt.group)) return no_receipt(where + " is no receipt: group " + shown(receipt.group) + " is no name");
    const auto outcome = take(text, '\n');
    if (outcome != "done" && outcome != "refused") {
        return no_receipt(where + " is no receipt: outcome " + shown(outcome) + " is neither done nor refused");
    }
    receipt.outcome = outcome == "done" ? Receipt::Outcome::done : Receipt::Outcome::refused;
    receipt.reason = text.substr(0, reason_max);
    return receipt;
}

ReceiptDuty::ReceiptDuty(std::string group, const Message& message) : group_{std::move(group)}, message_{message.id} {
    const auto text = message.headers.get(receipts_header);
    if (!text) return;
    const auto asked = decode_receipts(*text);
    if (!asked) return;  // a sender of a later version; its message is worth its effect all the same
    const auto& groups = asked->groups;
    if (std::find(groups.begin(), groups.end(), group_) != groups.end()) topic_ = asked->receipts_topic;
}

std::optional<Message> ReceiptDuty::with_effect(Handled handled) const {
    if (!owed() || (handled != Handled::done && handled != Handled::already_done)) return std::nullopt;
    return receipt_message(topic_, {.message = message_, .group = group_});
}

std::optional<Message> ReceiptDuty::afterwards(Handled handled, std::string_view reason, bool written) const {
    if (!owed()) return std::nullopt;
    if (handled == Handled::already_done && !written && !mutant_active("duplicate_keeps_silent")) {
        return receipt_message(topic_, {.message = message_, .group = group_});
    }
    if (handled != Handled::reject) return std::nullopt;
    return receipt_message(topic_, {.message = message_,
                                    .group = group_,
                                    .outcome = Receipt::Outcome::refused,
                                    .reason = std::string{reason.substr(0, reason_max)}});
}

std::string_view to_string(ReceiptVerdict verdict) noexcept {
    switch (verdict) {
        case ReceiptVerdict::taken: return "taken";
        case ReceiptVerdict::completed: return "completed";
        case ReceiptVerdict::parked: return "parked";
        case ReceiptVerdict::duplicate: return "duplicate";
        case ReceiptVerdict::unknown_group: return "unknown_group";
        case ReceiptVerdict::unknown_message: return "unknown_message";
    }
    return "?";
}

Message outcome_message(const Receipts& receipts, const MessageId& id, const std::string& ordering_key,
                        const std::string& outcome) {
    Message message;
    message.topic = receipts.outcome_topic;
    message.keys = {id.to_string()};
    message.ordering_key = ordering_key;
    message.headers.set(receipt_of_header, message.keys.front());
    message.body = outcome;
    return message;
}

namespace {

std::string named(const AwaitedSelection& selection) {
    return selection.id ? "message " + selection.id->to_string() : "key " + shown(selection.key);
}

}  // namespace

Error no_such_message(const AwaitedSelection& selection) {
    return Error{ErrorCode::not_found, Disposition::reject,
                 "the book of receipts knows nothing of " + named(selection) +
                     ": it was never appended here, asked for no receipts, or ended longer ago than stories are kept"};
}

Error cannot_resend(const AwaitedSelection& selection, const std::string& state) {
    const std::string why = state == "completed"   ? "every group has confirmed it, so nothing is sent any more"
                            : state == "discarded" ? "a person has discarded it"
                                                   : "it waits to be sent for the first time: \"hufu outbox status\" and "
                                                     "\"hufu outbox list\" show where";
    return Error{ErrorCode::conflict, Disposition::reject, named(selection) + " cannot be sent again: " + why};
}

}  // namespace hufu::outbox
