#include <hufu/rocketmq/client.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>

#include <hufu/core/message.hpp>

#include "loop.hpp"
#include "subscription_machine.hpp"

namespace hufu::rocketmq {
namespace {

/// The thread-safe face of a SubscriptionMachine.
class ClusterSubscription final : public hufu::Subscription, private Machine {
public:
    ClusterSubscription(ClientOptions client, SubscriptionOptions subscription, SubscriberOptions options, Clock& clock,
                        Random& random, Log& log)
        : loop_{std::move(client), clock, random, log},
          machine_{loop_.cluster(), std::move(subscription), options,
                   std::chrono::duration_cast<std::chrono::milliseconds>(clock.system_now().time_since_epoch()).count(),
                   log} {
        loop_.start(*this);
        loop_.post([this](SteadyTime now) { machine_.step(now); });
    }

    ~ClusterSubscription() override {
        std::promise<void> closed;
        loop_.post([this, &closed](SteadyTime now) {
            drain(now);
            machine_.close(now, [&closed] { closed.set_value(); });
        });
        closed.get_future().wait();  // bounded: every call has a time-out
        loop_.stop();
    }

    Result<std::vector<Delivery>> receive(std::size_t max, std::chrono::milliseconds timeout,
                                          std::stop_token stop) override {
        std::vector<Delivery> taken;
        std::unique_lock lock{mutex_};
        arrived_.wait_for(lock, stop, timeout, [this] { return !ready_.empty() || failure_; });
        if (failure_) {
            return *failure_;
        }
        if (stop.stop_requested()) {
            return taken;
        }
        const auto count = static_cast<std::ptrdiff_t>(std::min(max, ready_.size()));
        taken.assign(std::make_move_iterator(ready_.begin()), std::make_move_iterator(ready_.begin() + count));
        ready_.erase(ready_.begin(), ready_.begin() + count);
        return taken;
    }

    void acknowledge(std::span<const DeliveryTag> tags) override {
        if (tags.empty()) {
            return;
        }
        bool wake = false;
        {
            const std::lock_guard lock{mutex_};
            wake = acknowledged_.empty();
            acknowledged_.insert(acknowledged_.end(), tags.begin(), tags.end());
        }
        if (wake) {
            loop_.post([this](SteadyTime now) { drain(now); });
        }
    }

    std::vector<std::uint64_t> lost_queues() override {
        const std::lock_guard lock{mutex_};
        return std::exchange(lost_, {});
    }

private:
    void drain(SteadyTime now) {
        std::vector<DeliveryTag> tags;
        {
            const std::lock_guard lock{mutex_};
            tags.swap(acknowledged_);
        }
        machine_.acknowledge(now, tags);
    }

    void settled(SteadyTime now) override {
        machine_.step(now);
        auto lost = machine_.take_lost();
        auto deliveries = machine_.take_deliveries();
        auto failure = machine_.take_failure();
        if (lost.empty() && deliveries.empty() && !failure) {
            return;
        }
        {
            const std::lock_guard lock{mutex_};
            for (const auto& [queue, session] : lost) {
                std::erase_if(ready_, [&](const Delivery& delivery) {
                    return delivery.tag.queue == queue && delivery.tag.session == session;
                });
                lost_.push_back(queue);
            }
            ready_.insert(ready_.end(), std::make_move_iterator(deliveries.begin()),
                          std::make_move_iterator(deliveries.end()));
            if (failure) {
                failure_ = std::move(failure);
            }
        }
        arrived_.notify_one();
    }

    void link(SteadyTime now, const std::string& address, bool up) override { machine_.link(now, address, up); }
    void request(SteadyTime now, const std::string& address, const remoting::CommandView& command) override {
        machine_.request(now, address, command);
    }
    void tick(SteadyTime now) override { machine_.tick(now); }
    [[nodiscard]] std::optional<SteadyTime> next_tick() const override { return machine_.next_tick(); }

    std::mutex mutex_;
    std::condition_variable_any arrived_;
    std::deque<Delivery> ready_;             // guarded by mutex_
    std::vector<DeliveryTag> acknowledged_;  // guarded by mutex_
    std::vector<std::uint64_t> lost_;        // guarded by mutex_
    std::optional<Error> failure_;           // guarded by mutex_
    Loop loop_;
    SubscriptionMachine machine_;
};

}  // namespace

Result<std::unique_ptr<hufu::Subscription>> open_subscription(ClientOptions client, SubscriptionOptions subscription,
                                                              SubscriberOptions options, Clock& clock, Random& random,
                                                              Log& log) {
    auto completed = complete(std::move(client), random);
    if (!completed) {
        return completed.error();
    }
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    constexpr std::size_t group_max = 120;
    if (subscription.group.empty() || subscription.group.size() > group_max ||
        !validate(Message{.topic = subscription.group})) {
        return refuse("consumer group \"" + subscription.group + "\" must be 1 to 120 characters of %|a-zA-Z0-9_-");
    }
    if (subscription.topics.empty()) {
        return refuse("consumer group \"" + subscription.group + "\" subscribes to no topic: name at least one");
    }
    std::sort(subscription.topics.begin(), subscription.topics.end());
    subscription.topics.erase(std::unique(subscription.topics.begin(), subscription.topics.end()),
                              subscription.topics.end());
    for (const std::string& topic : subscription.topics) {
        if (const auto valid = validate(Message{.topic = topic}); !valid) {
            return valid.error();
        }
    }
    if (options.heartbeat_every.count() <= 0 || options.rebalance_every.count() <= 0 || options.route_every.count() <= 0 ||
        options.offsets_every.count() <= 0 || options.pull_messages_max <= 0 || options.cached_messages_max == 0 ||
        options.cached_bytes_max == 0) {
        return refuse("subscriber options must all be above 0");
    }
    return std::unique_ptr<hufu::Subscription>{
        std::make_unique<ClusterSubscription>(std::move(*completed), std::move(subscription), options, clock, random, log)};
}

}  // namespace hufu::rocketmq
