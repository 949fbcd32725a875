// Who answers for which group, and the broker's questions on their way in.
#include "half_machine.hpp"

#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/transaction_headers.hpp>

#include "message_codec.hpp"

namespace hufu::rocketmq {
namespace {

namespace property = remoting::property;

/// Every broker that holds halves has it, so its route names them all.
constexpr std::string_view half_topic = "RMQ_SYS_TRANS_HALF_TOPIC";

}  // namespace

void HalfMachine::serve(SteadyTime now, const std::string& group, const std::vector<std::string>& handlers, OnCheck on_check,
                        std::function<void()> registered) {
    std::set<std::string> gone;
    std::erase_if(served_, [&](const auto& entry) {
        if (entry.second.group != group) return false;
        gone.insert(entry.first);
        return true;
    });
    if (on_check) {
        const auto shared = std::make_shared<OnCheck>(std::move(on_check));
        const auto add = [&](const std::string& handler) {
            const std::string name = wire_group(group, handler);
            gone.erase(name);
            served_[name] = {group, handler, shared};
        };
        if (handlers.empty()) add({});
        for (const std::string& handler : handlers) add(handler);
    }
    for (const std::string& name : gone) {
        for (const std::string& address : brokers_) {
            cluster_.post(address, remoting::RequestCode::unregister_client,
                          remoting::UnregisterRequest{.client_id = cluster_.options().client_id, .producer_group = name});
        }
    }
    if (served_.empty() || closed_) {
        registered();
        return;
    }
    find_brokers(now, std::move(registered));
}

void HalfMachine::find_brokers(SteadyTime now, std::function<void()> found) {
    heartbeat_at_ = now + options_.heartbeat_every;
    cluster_.lookup(
        now, std::string{half_topic}, [this, found = std::move(found)](SteadyTime at, Result<remoting::TopicRoute> route) {
            if (closed_) {
                return found();
            }
            if (!route) {
                log_.warning("no name server tells where halves are kept", {{"reason", route.error().text()}});
                heartbeat_at_ = std::min(heartbeat_at_, at + cluster_.options().request_timeout);
            } else {
                for (const remoting::BrokerData& broker : route->brokers) {
                    if (std::string address = cluster_.broker_address(*route, broker.broker_name); !address.empty()) {
                        brokers_.insert(std::move(address));
                    }
                }
            }
            if (brokers_.empty()) {
                return found();
            }
            const auto open = std::make_shared<std::size_t>(brokers_.size());
            for (const std::string& address : std::set<std::string>{brokers_}) {
                cluster_.want(at, address);
                beat(at, address, [open, found] {
                    if (--*open == 0) found();
                });
            }
        });
}

void HalfMachine::beat(SteadyTime now, const std::string& address, std::function<void()> answered) {
    remoting::Heartbeat heartbeat{.client_id = cluster_.options().client_id, .producer_groups = {}, .consumers = {}};
    for (const auto& [name, served] : served_) heartbeat.producer_groups.push_back(name);
    cluster_.call(now, address, remoting::RequestCode::heartbeat, remoting::NoFields{}, heartbeat.to_json(),
                  cluster_.options().request_timeout,
                  [this, address, answered = std::move(answered)](SteadyTime, const Answer& answer) {
                      if (answer.command != nullptr && answer.command->response_code() != remoting::ResponseCode::success) {
                          log_.warning("a broker does not take our groups",
                                       {{"peer", address}, {"reason", std::string{answer.command->remark.substr(0, 300)}}});
                      }
                      answered();
                  });
}

void HalfMachine::request(SteadyTime, const std::string& address, const remoting::CommandView& command) {
    if (closed_ || command.request_code() != remoting::RequestCode::check_transaction_state) {
        return;
    }
    std::shared_ptr<OnCheck> on_check;
    if (auto check = read_check(address, command, on_check)) {
        (*on_check)(std::move(*check));
    }
}

std::optional<txmsg::Check> HalfMachine::read_check(const std::string& address, const remoting::CommandView& command,
                                                    std::shared_ptr<OnCheck>& on_check) const {
    const auto header = remoting::CheckTransactionRequest::decode(command);
    const auto record = remoting::decode_record(std::as_bytes(std::span{command.body.data(), command.body.size()}));
    if (!header || !record) {
        log_.warning("a broker's question cannot be read",
                     {{"peer", address}, {"reason", header ? record.error().text() : header.error().text()}});
        return std::nullopt;
    }
    const remoting::PropertiesView properties{record->properties};
    const auto text = [&](std::string_view name) { return std::string{properties.get(name).value_or("")}; };
    const auto served = served_.find(text(property::producer_group));
    if (served == served_.end()) {
        log_.debug("a question for a group that nobody here answers for", {{"group", text(property::producer_group)}});
        return std::nullopt;
    }
    on_check = served->second.on_check;
    Delivery delivery = to_delivery(*record);
    const std::string unique_key = text(property::unique_key);
    const std::string named = text(property::hufu_transaction_id);
    const auto id = MessageId::parse(named);
    txmsg::Check check;
    check.context.transaction = id ? *id : delivery.message.id;
    check.context.group = served->second.group;
    check.context.handler = served->second.handler;
    check.context.store = text(property::hufu_verdict_store);
    if (const auto seconds = remoting::parse_integer(text(property::check_immunity_s)); seconds && *seconds >= 0) {
        check.context.first_check_after = std::chrono::seconds{*seconds};
    }
    if (const auto at = remoting::parse_integer(text(property::timer_deliver_ms)); at && *at > 0) {
        delivery.message.deliver_at = SystemTime{std::chrono::milliseconds{*at}};
    }
    const auto stock_times = remoting::parse_integer(text(property::check_times)).value_or(0);
    check.times = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(std::max<std::int64_t>(header->times, stock_times), 0, 1'000'000'000));
    check.prepared_at = delivery.stored_at;
    check.half = {.id = delivery.message.id,
                  .topic = std::string{record->topic},
                  .token = HalfPlace{.answers_end = header->answers_end,
                                     .queue_offset = header->half_queue_offset,
                                     .log_offset = header->half_log_offset,
                                     .unique_key = unique_key.empty() ? std::string{header->message_id} : unique_key,
                                     .transaction_id = id ? named : std::string{header->transaction_id},
                                     .broker_name = std::string{header->broker_name},
                                     .address = address}
                               .to_token()};
    check.message = std::move(delivery.message);
    return check;
}

}  // namespace hufu::rocketmq
