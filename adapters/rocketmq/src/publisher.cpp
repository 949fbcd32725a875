#include <hufu/rocketmq/client.hpp>

#include <mutex>
#include <variant>

#include <hufu/core/assert.hpp>

#include "loop.hpp"
#include "publish_machine.hpp"

namespace hufu::rocketmq {
namespace {

/// The thread-safe face of a PublishMachine: callers put jobs into an inbox, the loop's thread does the rest.
class ClusterPublisher final : public hufu::Publisher, private Machine {
public:
    ClusterPublisher(ClientOptions client, PublisherOptions options, Clock& clock, Random& random, Log& log)
        : ids_{clock, random},
          loop_{std::move(client), clock, random, log},
          machine_{loop_.cluster(), std::move(options), clock, ids_} {
        loop_.start(*this);
    }

    ~ClusterPublisher() override {
        loop_.post([this](SteadyTime now) {
            drain(now);
            machine_.close();
        });
        loop_.stop();
        drain(SteadyTime{});  // what a last `done` published from inside
        settled(SteadyTime{});
    }

    void publish(std::span<const Message> batch, std::span<PublishOutcome> outcomes, Done done) override {
        HUFU_ASSERT(batch.size() == outcomes.size());
        put(std::make_shared<Job>(Job{.batch = batch, .outcomes = outcomes, .done = std::move(done)}));
    }

private:
    // The moments between which a caller learns of a failure stand in the inbox among the jobs, in their true order.
    struct Reporting {
        std::shared_ptr<Job> job;
    };
    struct Reported {
        std::shared_ptr<Job> job;
    };
    using Entry = std::variant<std::shared_ptr<Job>, Reporting, Reported>;

    void put(Entry entry) {
        bool wake = false;
        {
            const std::lock_guard lock{mutex_};
            wake = inbox_.empty();
            inbox_.push_back(std::move(entry));
        }
        if (wake) {
            loop_.post([this](SteadyTime now) { drain(now); });
        }
    }

    void drain(SteadyTime now) {
        std::vector<Entry> entries;
        {
            const std::lock_guard lock{mutex_};
            entries.swap(inbox_);
        }
        for (Entry& entry : entries) {
            if (auto* job = std::get_if<std::shared_ptr<Job>>(&entry)) {
                machine_.accept(now, std::move(*job));
            } else if (const auto* begun = std::get_if<Reporting>(&entry)) {
                machine_.reporting(*begun->job);
            } else {
                machine_.reported(*std::get<Reported>(entry).job);
            }
        }
    }

    void settled(SteadyTime now) override {
        for (;;) {
            const auto finished = machine_.take_finished();
            if (finished.empty()) {
                return;
            }
            for (const auto& job : finished) {
                const bool failed = !job->failed_keys.empty();
                if (failed) {
                    put(Reporting{job});
                }
                // The caller's storage may be gone as soon as `done` has been called.
                const Done done = std::move(job->done);
                done();
                if (failed) {
                    put(Reported{job});
                }
            }
            drain(now);
        }
    }

    void link(SteadyTime now, const std::string& address, bool up) override { machine_.link(now, address, up); }
    void request(SteadyTime, const std::string&, const remoting::CommandView&) override {}
    void tick(SteadyTime now) override { machine_.tick(now); }
    [[nodiscard]] std::optional<SteadyTime> next_tick() const override { return machine_.next_tick(); }

    MessageIdGenerator ids_;
    std::mutex mutex_;
    std::vector<Entry> inbox_;  // guarded by mutex_
    Loop loop_;
    PublishMachine machine_;
};

}  // namespace

Result<std::unique_ptr<hufu::Publisher>> open_publisher(ClientOptions client, PublisherOptions options, Clock& clock,
                                                        Random& random, Log& log) {
    auto completed = complete(std::move(client), random);
    if (!completed) {
        return completed.error();
    }
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (options.group.empty()) {
        return refuse("publisher option group is empty: give the producer group a name");
    }
    if (options.batch_messages_max == 0 || options.in_flight_per_queue == 0) {
        return refuse("publisher options batch_messages_max and in_flight_per_queue must be at least 1");
    }
    if (options.batch_bytes_max > 4'000'000 || options.body_bytes_max > 4 * 1'024 * 1'024) {
        return refuse("publisher options batch_bytes_max and body_bytes_max must stay within 4 MB: brokers take no more");
    }
    if (options.send_timeout.count() <= 0 || options.queue_timeout.count() <= 0) {
        return refuse("publisher options send_timeout and queue_timeout must be above 0 ms");
    }
    return std::unique_ptr<hufu::Publisher>{
        std::make_unique<ClusterPublisher>(std::move(*completed), std::move(options), clock, random, log)};
}

}  // namespace hufu::rocketmq
