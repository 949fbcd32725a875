#include "service.hpp"

#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <hufu/connect/connect.hpp>
#include <hufu/connect/ladder.hpp>
#include <hufu/core/consumer.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/outbox/relay.hpp>
#include <hufu/outbox/wake.hpp>

#include "roles/hand_over.hpp"
#include "roles/keyed_requests.hpp"
#include "roles/ladder_page.hpp"

namespace shop {
namespace {

/// Payment and stock have no requests that send: what they tell follows from a message, and goes out with its effect.
bool tells_by(const ServiceOptions& options, Telling telling) {
    return options.role == "order" && options.settings.telling == telling;
}

Role role_of(const ServiceOptions& options, Store& store, HandOver* hand_over) {
    if (options.role == "payment") return payment_role(store);
    if (options.role == "stock") return stock_role(store);
    RoleSettings settings = options.settings;
    settings.hand_over = hand_over;
    return order_role(store, settings);
}

/// What carries the order service's events: the broker, and below it what holds them while the broker is away.
std::unique_ptr<hufu::degradation::BufferingPublisher> ladder_of(const ServiceOptions& options, hufu::Log& log) {
    hufu::degradation::LadderOptions ladder;
    ladder.need = options.tolerates;
    return hufu::connect::buffering_publisher({.broker = options.broker, .redis = options.redis, .journal = options.journal},
                                              ladder, {.log = &log})
        .value();
}

#if defined(HUFU_WITH_MUTANTS)
/// For `order-demo --break`: stops the whole process between an effect's commit and its acknowledgement, the moment in
/// which only the guard stands between a crash and a second effect. Whoever watches kills it there.
hufu::Handler pausing_before_acknowledgement(hufu::Handler handler) {
    const char* after = std::getenv("ORDER_SERVICE_PAUSE_AFTER");
    if (after == nullptr) return handler;
    auto left = std::make_shared<std::atomic<long>>(std::atol(after));
    return [handler = std::move(handler), left](const hufu::Delivery& delivery) {
        auto result = handler(delivery);
        if (result.handled == hufu::Handled::done && --*left == 0) std::raise(SIGSTOP);
        return result;
    };
}
#else
hufu::Handler pausing_before_acknowledgement(hufu::Handler handler) { return handler; }
#endif

/// The threads of a service. The first that cannot go on ends them all, and its error is the service's.
class Threads {
public:
    explicit Threads(std::stop_token outer) : outer_{std::move(outer), [this] { stop_.request_stop(); }} {}

    void start(std::function<hufu::Result<void>(std::stop_token)> body) {
        threads_.emplace_back([this, body = std::move(body)] {
            const auto ended = body(stop_.get_token());
            if (ended) return;
            const std::scoped_lock lock{mutex_};
            if (!error_) error_ = ended.error();
            stop_.request_stop();
        });
    }

    /// Waits for all; throws what one of them could not go on with.
    void join() {
        for (auto& thread : threads_) thread.join();
        threads_.clear();
        if (error_) throw hufu::Exception{*error_};
    }

private:
    std::stop_source stop_;
    std::mutex mutex_;
    std::optional<hufu::Error> error_;  // guarded by mutex_ until joined
    std::vector<std::jthread> threads_;
    std::stop_callback<std::function<void()>> outer_;
};

hufu::RetrySchedule retries() {
    return hufu::RetrySchedule::capped(std::chrono::milliseconds{20}, std::chrono::seconds{5}, 100).jitter(0.2);
}

/// What the guard of this group must remember; refused at start where it forgets too early.
hufu::idempotency::GuardDeclaration guard_of(const ServiceOptions& options, const std::string& group) {
    return {.group = group, .window = options.guard_window, .duplicates = {.retry = retries(), .replay = options.replay}};
}

hufu::Result<void> consume(const ServiceOptions& options, const Role& role, const Reaction& reaction, Store& store,
                           hufu::Log& log, std::stop_token stop) {
    const hufu::connect::Surroundings surroundings{.log = &log};
    const auto subscription =
        hufu::connect::subscription(options.broker, {.group = reaction.group, .topics = topics_of(reaction)}, surroundings);
    if (!subscription) return subscription.error();
    const auto dead_letters = hufu::connect::publisher(options.broker, surroundings);
    if (!dead_letters) return dead_letters.error();

    hufu::ConsumerOptions consumer_options;
    consumer_options.group = reaction.group;
    consumer_options.running_max = options.effects_max;
    consumer_options.retry = retries();
    hufu::Consumer consumer{**subscription, **dead_letters, consumer_options, {.log = log}};
    auto once = store.once(guard_of(options, reaction.group), reaction.effect);
    if (role.around) once = role.around(std::move(once));
    return consumer.run(pausing_before_acknowledgement([&](const hufu::Delivery& delivery) -> hufu::HandlerResult {
                            if (!concerns(reaction, delivery.message)) return hufu::Handled::done;
                            return once(delivery);
                        }),
                        stop);
}

hufu::outbox::RelayOptions relay_options(std::chrono::milliseconds lease) {
    hufu::outbox::RelayOptions options;
    options.lease_margin = options.lease_margin * lease.count() / options.lease.count();
    options.renew_every = options.renew_every * lease.count() / options.lease.count();
    options.lease = lease;
    return options;
}

hufu::Result<void> relay(const ServiceOptions& options, Store& store, hufu::Publisher& publisher, hufu::Log& log,
                         std::stop_token stop) {
    const auto outbox = store.outbox();
    hufu::MetricsRegistry metrics;
    hufu::outbox::Relay relay{
        *outbox, publisher, relay_options(options.relay_lease), hufu::system_clock(), hufu::system_random(), metrics};
    const auto lane = hufu::connect::lane_name(options.store);
    if (!lane) return lane.error();
    const auto hints = hufu::outbox::DatagramHintReceiver::open(*lane, relay);
    if (!hints) log.warning("no wake-up hints, polling alone finds new rows", {{"error", hints.error().text()}});
    return relay.run(stop);
}

}  // namespace

void serve(const ServiceOptions& options, hufu::Log& log, std::stop_token stop) {
    // Outlives the store, whose producer borrows it.
    const auto halves = tells_by(options, Telling::transaction_messages)
                            ? hufu::connect::half_publisher(options.broker, {.log = &log}).value()
                            : nullptr;
    const auto store = open_store(options.store);
    // What a request hands over and what the relay carries take one way, or they would overtake each other in an outage.
    const auto ladder = tells_by(options, Telling::hand_over) ? ladder_of(options, log) : nullptr;
    const auto direct = ladder ? nullptr : hufu::connect::publisher(options.broker, {.log = &log}).value();
    hufu::Publisher& publisher = ladder ? static_cast<hufu::Publisher&>(*ladder) : *direct;
    HandOver hand_over{publisher};
    const auto role = role_of(options, *store, &hand_over);
    for (const auto& reaction : role.reactions) hufu::idempotency::check(guard_of(options, reaction.group)).value();
    store->prepare(role.tables);
    if (halves) store->send_through(*halves, options.role);
    const hufu::idempotency::HttpGuard edge{edge_options()};
    const auto http =
        HttpServer::listen(options.http, ladder ? with_ladder_page(role.application, *ladder) : role.application,
                           keyed_application(role, *store, edge))
            .value();
    log.info("serves", {{"role", options.role}, {"address", options.http.host + ":" + std::to_string(http->port())}});
    Threads threads{std::move(stop)};
    for (const auto& reaction : role.reactions) {
        threads.start(
            [&](std::stop_token ending) { return consume(options, role, reaction, *store, log, std::move(ending)); });
    }
    if (options.relay) {
        threads.start([&](std::stop_token ending) { return relay(options, *store, publisher, log, std::move(ending)); });
    }
    threads.join();
}

}  // namespace shop
