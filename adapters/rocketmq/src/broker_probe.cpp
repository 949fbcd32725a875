#include <hufu/rocketmq/broker_probe.hpp>

#include <cstdlib>
#include <map>

#include <hufu/remoting/runtime_bodies.hpp>

#include "blocking_client.hpp"

namespace hufu::rocketmq {
namespace {

// Topics that every broker has, so that their routes name them all: the bundled broker's and RocketMQ's.
constexpr std::string_view everywhere[] = {"RMQ_SYS_TRANS_HALF_TOPIC", "TBW102", "SELF_TEST_TOPIC"};

using Addresses = std::map<std::string, std::string>;  // name -> address

Result<Addresses> brokers_of(BlockingClient& client, const std::string& topic) {
    return client.wait<Addresses>([&](SteadyTime now, auto answered) {
        client.cluster().lookup(now, topic, [&client, answered](SteadyTime, Result<remoting::TopicRoute> route) {
            if (!route) return answered(route.error());
            Addresses found;
            for (const remoting::BrokerData& broker : route->brokers) {
                found[broker.broker_name] = client.cluster().broker_address(*route, broker.broker_name);
            }
            answered(std::move(found));
        });
    });
}

BrokerHealth health_of(BlockingClient& client, const std::string& name, const std::string& address) {
    BrokerHealth health{.name = name, .address = address};
    if (address.empty()) {
        health.error = {ErrorCode::unavailable, Disposition::retry, "broker \"" + name + "\" has no master"};
        return health;
    }
    const auto body = client.ask(address, remoting::RequestCode::get_broker_runtime_info, remoting::NoFields{},
                                 "state of broker " + address);
    const auto values = body ? remoting::parse_name_values(*body) : Result<std::map<std::string, std::string>>{body.error()};
    if (!values) {
        health.error = values.error();
        return health;
    }
    const auto value = [&](const char* key) {
        const auto found = values->find(key);
        return found == values->end() ? std::string{} : found->second;
    };
    health.version = value("brokerVersionDesc");
    if (health.version.empty()) health.version = "unknown";
    health.taking = value("brokerActive") != "false";
    if (const std::string used = value("commitLogDiskRatio"); !used.empty()) {
        health.disk_used = std::strtod(used.c_str(), nullptr);
    }
    return health;
}

}  // namespace

Result<std::vector<BrokerHealth>> probe_brokers(ClientOptions options, Clock& clock, Random& random, Log& log) {
    auto completed = complete(std::move(options), random);
    if (!completed) return completed.error();
    BlockingClient client{std::move(*completed), clock, random, log};
    Addresses all;
    Error problem;
    for (const auto topic : everywhere) {
        auto found = brokers_of(client, std::string{topic});
        if (found) {
            all.merge(*found);
        } else {
            problem = found.error();
            if (problem.code() != ErrorCode::not_found) break;
        }
    }
    if (all.empty()) return problem;
    std::vector<BrokerHealth> brokers;
    for (const auto& [name, address] : all) brokers.push_back(health_of(client, name, address));
    return brokers;
}

}  // namespace hufu::rocketmq
