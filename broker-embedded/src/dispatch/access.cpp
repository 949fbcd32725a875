#include "access.hpp"

#include <algorithm>
#include <optional>

#include <hufu/core/mutant.hpp>
#include <hufu/remoting/bodies.hpp>

#include "access_rules.hpp"
#include "names.hpp"
#include "state.hpp"

namespace hufu::broker {
namespace {

constexpr std::size_t checked_body_bytes_max = 4U << 20U;
constexpr std::size_t shown_bytes_max = 128;

/// A name as it may stand in a log line and an answer: it comes from whoever connects.
std::string shown(std::string_view text) {
    std::string result = "\"";
    for (const char character : text.substr(0, shown_bytes_max))
        result.push_back(character < ' ' || character == '"' || character == 0x7F ? '?' : character);
    return result + "\"";
}

std::string command_name(std::int32_t code) {
    return std::string{to_string(static_cast<remoting::RequestCode>(code))} + " (" + std::to_string(code) + ")";
}

std::string lacks_topic(const Account& account, Right right, std::string_view topic) {
    return "account " + shown(account.name()) + " has no right to " +
           (right == Right::publish ? "publish to" : "subscribe to") + " topic " + shown(topic);
}

std::string lacks_group(const Account& account, std::string_view group) {
    return "account " + shown(account.name()) + " has no right to consume with group " + shown(group);
}

/// One of two fields of the same name could be checked and the other obeyed.
bool has_twins(const remoting::Fields& fields) {
    std::vector<std::string_view> names;
    names.reserve(fields.size());
    for (const auto& entry : fields.entries()) names.push_back(entry.name);
    std::sort(names.begin(), names.end());
    return std::adjacent_find(names.begin(), names.end()) != names.end();
}

/// Who signed the request; the reason when nobody known did. The client learns less than the operator: which keys exist
/// is not its business.
const Account* authenticate(DispatchState& state, const Request& request, std::string& reason) {
    const std::string_view key = request.command.fields.get(remoting::acl_field::access_key).value_or("");
    if (key.empty()) {
        reason = "no AccessKey was given, and this broker asks for one";
        return nullptr;
    }
    const Account* account = state.access.table()->find(key);
    if (account == nullptr) {
        reason = "there is no account " + shown(key);
        return nullptr;
    }
    if (!account->signer.verify(request.command)) {
        reason = "the signature of account " + shown(key) + " is wrong";
        return nullptr;
    }
    const Session* session = state.find(request.connection);
    if (session == nullptr || !account->may_come_from(session->peer.ip)) {
        reason = "account " + shown(key) + " may not come from this address";
        return nullptr;
    }
    return account;
}

template <class Body>
std::optional<Body> body_of(const Request& request, std::string& fault) {
    if (request.command.body.size() > checked_body_bytes_max) {
        fault = "the body has " + std::to_string(request.command.body.size()) + " bytes, too many to be checked";
        return {};
    }
    auto parsed = Body::parse(request.command.body);
    if (parsed) return std::move(*parsed);
    fault = parsed.error().text();
    return {};
}

std::string heartbeat_fault(const Account& account, const Request& request) {
    std::string fault;
    const auto heartbeat = body_of<remoting::Heartbeat>(request, fault);
    if (!heartbeat) return fault;
    for (const remoting::ConsumerData& consumer : heartbeat->consumers) {
        if (!account.may_use_group(consumer.group)) return lacks_group(account, consumer.group);
        for (const remoting::SubscriptionData& subscription : consumer.subscriptions)
            if (!account.may(Right::subscribe, subscription.topic))
                return lacks_topic(account, Right::subscribe, subscription.topic);
    }
    return {};
}

std::string locks_fault(const Account& account, const Request& request) {
    std::string fault;
    const auto locks = body_of<remoting::LockRequest>(request, fault);
    if (!locks) return fault;
    if (!account.may_use_group(locks->consumer_group)) return lacks_group(account, locks->consumer_group);
    for (const remoting::MessageQueue& queue : locks->queues)
        if (!account.may(Right::subscribe, queue.topic)) return lacks_topic(account, Right::subscribe, queue.topic);
    return {};
}

std::string fields_fault(const Account& account, const AccessRule& rule, const remoting::Fields& fields) {
    if (!rule.group_field.empty()) {
        const std::string_view group = fields.get(rule.group_field).value_or("");
        if (!(group.empty() && rule.group_optional) && !account.may_use_group(group)) return lacks_group(account, group);
    }
    if (!rule.topic_field.empty()) {
        const std::string_view topic = fields.get(rule.topic_field).value_or("");
        if (!account.may(rule.topic_right, topic)) return lacks_topic(account, rule.topic_right, topic);
    }
    return {};
}

/// Empty when the account has the rights that the request needs.
std::string rights_fault(const Account& account, const Request& request) {
    if (account.admin) return {};
    const AccessRule* rule = access_rule_of(request.command.code);
    switch (rule == nullptr ? Need::admin : rule->need) {
        case Need::any_account: return {};
        case Need::admin:
            return "account " + shown(account.name()) + " is no admin, and " + command_name(request.command.code) +
                   " is for admins";
        case Need::fields: return fields_fault(account, *rule, request.command.fields);
        case Need::heartbeat: return heartbeat_fault(account, request);
        case Need::locks: return locks_fault(account, request);
    }
    return "the request cannot be judged";
}

std::string address_of(const DispatchState& state, ConnectionId connection) {
    const Session& session = state.sessions[connection.slot];
    std::string text;
    for (const std::uint8_t byte : session.peer.ip) text += (text.empty() ? "" : ".") + std::to_string(byte);
    return text + ":" + std::to_string(session.peer.port);
}

void turn_away(DispatchState& state, const Request& request, const std::string& remark, const std::string& reason) {
    state.access.refused.add();
    state.access.audit(
        "refused " + command_name(request.command.code) + " from " + address_of(state, request.connection) + ": " + reason,
        request.now);
    state.refuse(request, ResponseCode::no_permission, remark);
}

}  // namespace

void AccessControl::audit(std::string line, SteadyTime now) {
    if (!audit_rate_.take(now)) {
        ++unwritten_;
        return;
    }
    if (unwritten_ > 0) line += " (" + std::to_string(std::exchange(unwritten_, 0)) + " lines before it were left out)";
    audit_.push_back(std::move(line));
}

bool admit(DispatchState& state, Request& request) {
    if (state.access.table() == nullptr) return true;
    if (has_twins(request.command.fields)) {
        turn_away(state, request, "a field is given twice, so the request cannot be checked", "a field is given twice");
        return false;
    }
    std::string reason;
    request.account = authenticate(state, request, reason);
    if (request.account == nullptr) {
        turn_away(state, request,
                  "access refused: no AccessKey with a right Signature and address; check the client's credentials", reason);
        return false;
    }
    if (const std::string fault = rights_fault(*request.account, request);
        !fault.empty() && !mutant_active("broker_rights_ignored")) {
        turn_away(state, request, "access refused: " + fault, fault);
        return false;
    }
    if (const AccessRule* rule = access_rule_of(request.command.code); rule == nullptr || rule->need == Need::admin)
        state.access.audit("account " + shown(request.account->name()) + " from " + address_of(state, request.connection) +
                               " asks " + command_name(request.command.code),
                           request.now);
    return true;
}

bool admit_topic(DispatchState& state, const Request& request, Right right, std::string_view topic) {
    if (request.account == nullptr || request.account->may(right, topic)) return true;
    const std::string fault = lacks_topic(*request.account, right, topic);
    turn_away(state, request, "access refused: " + fault, fault);
    return false;
}

}  // namespace hufu::broker
