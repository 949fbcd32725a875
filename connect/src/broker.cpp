#include <hufu/connect/connect.hpp>

#include <charconv>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <hufu/broker/embedded.hpp>
#include <hufu/rocketmq/client.hpp>
#include <hufu/kafka/topic_reader.hpp>
#include <hufu/rocketmq/half_publisher.hpp>
#include <hufu/rocketmq/topic_reader.hpp>

#include "kafka.hpp"
#include "secret.hpp"
#include "url.hpp"

namespace hufu::connect {
namespace {

constexpr std::string_view known[] = {"rocketmq://HOST:PORT[,HOST:PORT]", "rocketmq+unix:PATH", "embedded:DIR",
                                      "kafka://HOST:PORT[,HOST:PORT]"};
constexpr std::string_view what = "a broker";

/// Surroundings with every gap filled.
struct Filled {
    explicit Filled(const Surroundings& given)
        : clock{given.clock ? *given.clock : system_clock()},
          random{given.random ? *given.random : system_random()},
          log{given.log ? *given.log : no_log()} {
        if (given.metrics == nullptr) {
            own_metrics = std::make_unique<MetricsRegistry>();
        }
        metrics = given.metrics ? given.metrics : own_metrics.get();
    }
    Clock& clock;
    Random& random;
    Log& log;
    std::unique_ptr<MetricsRegistry> own_metrics;
    MetricsRegistry* metrics = nullptr;
};

/// Where to connect, and the bundled broker if it is ours to run.
struct Place {
    rocketmq::ClientOptions client;
    std::unique_ptr<MetricsRegistry> metrics;
    std::unique_ptr<broker::EmbeddedBroker> broker;
};

bool is_host_and_port(std::string_view server) {
    const auto colon = server.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
        return false;
    }
    std::uint16_t port = 0;
    const auto digits = server.substr(colon + 1);
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    return problem == std::errc{} && end == digits.data() + digits.size() && port > 0;
}

/// What stands before '@'. A secret that is not there comes from the environment: HUFU_ROCKETMQ_SECRET, or the file that
/// HUFU_ROCKETMQ_SECRET_FILE names. Command lines are for everybody to read.
Result<void> credentials(std::string_view text, rocketmq::ClientOptions& client) {
    if (text.find('@') != std::string_view::npos) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "a secret with an '@' does not go into a URL: set HUFU_ROCKETMQ_SECRET and write KEY@HOST:PORT"};
    }
    const auto colon = text.find(':');
    client.access_key = text.substr(0, colon);
    if (colon != std::string_view::npos) {
        client.secret_key = text.substr(colon + 1);
        return {};
    }
    auto secret = secret_of_environment("HUFU_ROCKETMQ_SECRET", "access key \"" + client.access_key + "\"", "KEY:SECRET@");
    if (!secret) {
        return secret.error();
    }
    client.secret_key = std::move(*secret);
    return {};
}

Result<Place> name_servers(const std::string& url, std::string_view list) {
    Place place;
    if (const auto at = list.rfind('@'); at != std::string_view::npos) {
        if (auto read = credentials(list.substr(0, at), place.client); !read) {
            return read.error();
        }
        list.remove_prefix(at + 1);
    }
    while (!list.empty()) {
        const auto end = std::min(list.find_first_of(",;"), list.size());
        const auto server = list.substr(0, end);
        if (!is_host_and_port(server)) {
            return Error{ErrorCode::invalid_argument, Disposition::reject,
                         "\"" + without_password(url) + "\": \"" + std::string{server} +
                             "\" is not HOST:PORT of a name server; write rocketmq://127.0.0.1:9876"};
        }
        place.client.name_servers.emplace_back(server);
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return place;
}

Result<Place> embedded(const std::string& folder, const Surroundings& surroundings) {
    Filled filled{surroundings};
    Place place;
    broker::ServerOptions options;
    options.folder = folder;
    options.unix_socket = broker::EmbeddedBroker::socket_path(folder);
    place.client.name_servers = {"unix:" + options.unix_socket};
    auto opened = broker::EmbeddedBroker::open(std::move(options), filled.clock, filled.random, *filled.metrics, filled.log);
    if (opened) {
        place.broker = std::move(*opened);
        place.metrics = std::move(filled.own_metrics);
    } else if (opened.error().code() != ErrorCode::busy) {
        return opened.error();
    }
    return place;  // busy: another owner serves the socket
}

Result<Place> place_of(const std::string& url, const Surroundings& surroundings) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed) {
        return parsed.error();
    }
    if (parsed->scheme == "rocketmq") {
        return name_servers(url, parsed->rest);
    }
    if (parsed->scheme == "rocketmq+unix") {
        Place place;
        place.client.name_servers = {"unix:" + parsed->rest};
        return place;
    }
    if (parsed->scheme == "embedded") {
        return embedded(parsed->rest, surroundings);
    }
    return unknown_url(url, what, known);
}

/// Empty: the address is of another kind.
Result<std::optional<kafka::ClientOptions>> kafka_of(const std::string& url) {
    const auto parsed = parse_url(url, what, known);
    if (!parsed || parsed->scheme != "kafka") {
        return std::optional<kafka::ClientOptions>{};
    }
    auto client = kafka_client(url, parsed->rest);
    if (!client) {
        return client.error();
    }
    return std::optional{std::move(*client)};
}

/// The port ends before the broker that it talks to.
class OwningPublisher final : public Publisher {
public:
    OwningPublisher(Place place, std::unique_ptr<Publisher> publisher)
        : place_{std::move(place)}, publisher_{std::move(publisher)} {}
    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        publisher_->publish(batch, outcomes, std::move(done));
    }

private:
    Place place_;
    std::unique_ptr<Publisher> publisher_;
};

class OwningHalfPublisher final : public txmsg::HalfPublisher {
public:
    OwningHalfPublisher(Place place, std::unique_ptr<txmsg::HalfPublisher> publisher)
        : place_{std::move(place)}, publisher_{std::move(publisher)} {}
    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        publisher_->prepare(context, messages, outcomes, std::move(done));
    }
    void end(const txmsg::HalfContext& context, std::span<const txmsg::Half> halves, txmsg::Verdict verdict,
             std::string_view reason, txmsg::EndOutcome& outcome, Done done) override {
        publisher_->end(context, halves, verdict, reason, outcome, std::move(done));
    }
    Result<void> serve_checks(std::string group, std::vector<std::string> handlers, OnCheck on_check) override {
        return publisher_->serve_checks(std::move(group), std::move(handlers), std::move(on_check));
    }

private:
    Place place_;
    std::unique_ptr<txmsg::HalfPublisher> publisher_;
};

class OwningSubscription final : public Subscription {
public:
    OwningSubscription(Place place, std::unique_ptr<Subscription> subscription)
        : place_{std::move(place)}, subscription_{std::move(subscription)} {}
    Result<std::vector<Delivery>> receive(std::size_t max, std::chrono::milliseconds timeout,
                                          std::stop_token stop) override {
        return subscription_->receive(max, timeout, std::move(stop));
    }
    void acknowledge(std::span<const DeliveryTag> tags) override { subscription_->acknowledge(tags); }
    std::vector<std::uint64_t> lost_queues() override { return subscription_->lost_queues(); }

private:
    Place place_;
    std::unique_ptr<Subscription> subscription_;
};

}  // namespace

Result<std::unique_ptr<Publisher>> publisher(const std::string& url, const Surroundings& surroundings) {
    if (auto kafka = kafka_of(url); !kafka) {
        return kafka.error();
    } else if (*kafka) {
        const Filled filled{surroundings};
        return kafka::open_publisher(std::move(**kafka), {}, filled.clock, filled.random, filled.log);
    }
    auto place = place_of(url, surroundings);
    if (!place) {
        return place.error();
    }
    const Filled filled{surroundings};
    auto opened = rocketmq::open_publisher(place->client, {}, filled.clock, filled.random, filled.log);
    if (!opened || place->broker == nullptr) {
        return opened;
    }
    return std::make_unique<OwningPublisher>(std::move(*place), std::move(*opened));
}

Result<std::unique_ptr<txmsg::HalfPublisher>> half_publisher(const std::string& url, const Surroundings& surroundings) {
    if (const auto kafka = kafka_of(url); !kafka || *kafka) {
        return Error{ErrorCode::unsupported, Disposition::reject,
                     "\"" + without_password(url) +
                         "\": Kafka has no half messages: send them to the bundled broker, and let \"hufu forward\" carry "
                         "what is committed to Kafka"};
    }
    auto place = place_of(url, surroundings);
    if (!place) {
        return place.error();
    }
    const Filled filled{surroundings};
    auto opened = rocketmq::open_half_publisher(place->client, {}, filled.clock, filled.random, filled.log);
    if (!opened || place->broker == nullptr) {
        return opened;
    }
    return std::make_unique<OwningHalfPublisher>(std::move(*place), std::move(*opened));
}

Result<std::unique_ptr<rocketmq::TransactionAdmin>> transaction_admin(const std::string& url,
                                                                      const Surroundings& surroundings) {
    const auto place = place_of(url, surroundings);
    if (!place) {
        return place.error();
    }
    if (place->broker != nullptr) {
        return Error{ErrorCode::unavailable, Disposition::retry,
                     "\"" + url + "\": nobody serves this folder; start its owner first"};
    }
    const Filled filled{surroundings};
    return rocketmq::open_transaction_admin(place->client, filled.clock, filled.random, filled.log);
}

Result<std::vector<rocketmq::BrokerHealth>> probe_brokers(const std::string& url, const Surroundings& surroundings) {
    if (const auto kafka = kafka_of(url); !kafka) {
        return kafka.error();
    } else if (*kafka) {
        return Error{ErrorCode::unsupported, Disposition::reject,
                     "\"" + without_password(url) + "\": Kafka does not tell how its brokers are"};
    }
    const auto place = place_of(url, surroundings);
    if (!place) {
        return place.error();
    }
    if (place->broker != nullptr) {
        return Error{ErrorCode::unavailable, Disposition::retry,
                     "\"" + url + "\": nobody serves this folder; start its owner first"};
    }
    const Filled filled{surroundings};
    return rocketmq::probe_brokers(place->client, filled.clock, filled.random, filled.log);
}

Result<std::unique_ptr<deadletter::TopicReader>> topic_reader(const std::string& url, const Surroundings& surroundings) {
    const Filled filled{surroundings};
    if (auto kafka = kafka_of(url); !kafka) {
        return kafka.error();
    } else if (*kafka) {
        return kafka::open_topic_reader(std::move(**kafka), filled.clock, filled.log);
    }
    const auto place = place_of(url, surroundings);
    if (!place) {
        return place.error();
    }
    if (place->broker != nullptr) {
        return Error{ErrorCode::unavailable, Disposition::retry,
                     "\"" + url + "\": nobody serves this folder; start its owner first"};
    }
    return rocketmq::open_topic_reader(place->client, filled.clock, filled.random, filled.log);
}

Result<std::unique_ptr<Subscription>> subscription(const std::string& url, SubscriptionOptions options,
                                                   const Surroundings& surroundings) {
    if (auto kafka = kafka_of(url); !kafka) {
        return kafka.error();
    } else if (*kafka) {
        const Filled filled{surroundings};
        return kafka::open_subscription(std::move(**kafka), std::move(options), {}, filled.clock, filled.log);
    }
    auto place = place_of(url, surroundings);
    if (!place) {
        return place.error();
    }
    const Filled filled{surroundings};
    auto opened =
        rocketmq::open_subscription(place->client, std::move(options), {}, filled.clock, filled.random, filled.log);
    if (!opened || place->broker == nullptr) {
        return opened;
    }
    return std::make_unique<OwningSubscription>(std::move(*place), std::move(*opened));
}

}  // namespace hufu::connect
