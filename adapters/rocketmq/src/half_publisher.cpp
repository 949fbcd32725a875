#include <hufu/rocketmq/half_publisher.hpp>

#include <atomic>
#include <future>
#include <mutex>

#include <hufu/core/assert.hpp>

#include "half_machine.hpp"
#include "loop.hpp"

namespace hufu::rocketmq {
namespace {

/// The thread-safe face of a HalfMachine: callers put tasks into an inbox, the loop's thread does the rest.
class ClusterHalfPublisher final : public txmsg::HalfPublisher, private Machine {
public:
    ClusterHalfPublisher(ClientOptions client, HalfPublisherOptions options, Clock& clock, Random& random, Log& log)
        : options_{options},
          loop_{std::move(client), clock, random, log},
          machine_{loop_.cluster(), options, clock, log},
          way_back_{std::make_shared<WayBack>()} {
        way_back_->publisher = this;
        loop_.start(*this);
    }

    ~ClusterHalfPublisher() override {
        {
            const std::lock_guard lock{way_back_->mutex};
            way_back_->publisher = nullptr;
        }
        loop_.post([this](SteadyTime now) {
            drain(now);
            machine_.close();
        });
        loop_.stop();
        drain(SteadyTime{});  // what a last `done` asked for from inside
        settled(SteadyTime{});
    }

    void prepare(const txmsg::HalfContext& context, std::span<const Message> messages,
                 std::span<txmsg::HalfOutcome> outcomes, Done done) override {
        HUFU_ASSERT(messages.size() == outcomes.size());
        auto job = std::make_shared<HalfJob>(
            HalfJob{.context = context, .messages = messages, .outcomes = outcomes, .done = std::move(done)});
        put([this, job = std::move(job)](SteadyTime now) { machine_.prepare(now, job); });
    }

    void end(const txmsg::HalfContext& context, std::span<const txmsg::Half> halves, txmsg::Verdict verdict,
             std::string_view reason, txmsg::EndOutcome& outcome, Done done) override {
        auto job = std::make_shared<EndJob>(EndJob{.context = context,
                                                   .halves = halves,
                                                   .verdict = verdict,
                                                   .reason = std::string{reason},
                                                   .outcome = &outcome,
                                                   .done = std::move(done)});
        put([this, job = std::move(job)](SteadyTime now) { machine_.end(now, job); });
    }

    Result<void> serve_checks(std::string group, std::vector<std::string> handlers, OnCheck on_check) override {
        if (auto named = check_group(group, {}); !named) {
            return named;
        }
        for (const std::string& handler : handlers) {
            if (auto named = check_group(group, handler); !named) return named;
        }
        HalfMachine::OnCheck asked;
        if (on_check) {
            asked = [this, on_check = std::move(on_check)](txmsg::Check check) { hand_out(on_check, std::move(check)); };
        }
        std::promise<void> registered;
        put([&](SteadyTime now) {
            machine_.serve(now, group, handlers, std::move(asked), [&registered] { registered.set_value(); });
        });
        registered.get_future().wait();
        return {};
    }

private:
    using Task = std::function<void(SteadyTime)>;

    /// What answers hold on to: they may come when the publisher has gone.
    struct WayBack {
        std::mutex mutex;
        ClusterHalfPublisher* publisher = nullptr;  // guarded by mutex
        std::atomic<std::size_t> open{0};
    };
    /// One question that is out. Gone with its last copy: answered or passed over in silence.
    struct Question {
        Question(std::shared_ptr<WayBack> back, txmsg::HalfContext of, txmsg::Half at)
            : way_back{std::move(back)}, context{std::move(of)}, half{std::move(at)} {
            ++way_back->open;
        }
        ~Question() { --way_back->open; }
        Question(const Question&) = delete;
        Question& operator=(const Question&) = delete;

        std::shared_ptr<WayBack> way_back;
        txmsg::HalfContext context;
        txmsg::Half half;
        std::atomic<bool> answered{false};
    };

    void hand_out(const OnCheck& on_check, txmsg::Check check) {
        if (way_back_->open >= options_.checks_open_max) {
            return;  // the broker asks again
        }
        auto question = std::make_shared<Question>(way_back_, check.context, check.half);
        on_check(std::move(check), [question](txmsg::Verdict verdict, std::string reason) {
            if (question->answered.exchange(true)) {
                return;
            }
            const std::lock_guard lock{question->way_back->mutex};
            if (ClusterHalfPublisher* const publisher = question->way_back->publisher) {
                publisher->put([publisher, question, verdict, reason = std::move(reason)](SteadyTime now) {
                    publisher->machine_.answer(now, question->context, question->half, verdict, reason);
                });
            }
        });
    }

    void put(Task task) {
        bool wake = false;
        {
            const std::lock_guard lock{mutex_};
            wake = inbox_.empty();
            inbox_.push_back(std::move(task));
        }
        if (wake) {
            loop_.post([this](SteadyTime now) { drain(now); });
        }
    }

    void drain(SteadyTime now) {
        std::vector<Task> tasks;
        {
            const std::lock_guard lock{mutex_};
            tasks.swap(inbox_);
        }
        for (const Task& task : tasks) task(now);
    }

    void settled(SteadyTime now) override {
        for (auto finished = machine_.take_finished(); !finished.empty(); finished = machine_.take_finished()) {
            for (const Done& done : finished) done();
            drain(now);
        }
    }

    void link(SteadyTime now, const std::string& address, bool up) override { machine_.link(now, address, up); }
    void request(SteadyTime now, const std::string& address, const remoting::CommandView& command) override {
        machine_.request(now, address, command);
    }
    void tick(SteadyTime now) override { machine_.tick(now); }
    [[nodiscard]] std::optional<SteadyTime> next_tick() const override { return machine_.next_tick(); }

    HalfPublisherOptions options_;
    std::mutex mutex_;
    std::vector<Task> inbox_;  // guarded by mutex_
    Loop loop_;
    HalfMachine machine_;
    std::shared_ptr<WayBack> way_back_;
};

}  // namespace

Result<std::unique_ptr<txmsg::HalfPublisher>> open_half_publisher(ClientOptions client, HalfPublisherOptions options,
                                                                  Clock& clock, Random& random, Log& log) {
    auto completed = complete(std::move(client), random);
    if (!completed) {
        return completed.error();
    }
    const auto refuse = [](std::string text) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, std::move(text)};
    };
    if (options.body_bytes_max > 4 * 1'024 * 1'024) {
        return refuse("half publisher option body_bytes_max must stay within 4 MB: brokers take no more");
    }
    if (options.prepare_timeout.count() <= 0 || options.end_timeout.count() <= 0 ||
        options.end_answer_timeout.count() <= 0 || options.heartbeat_every.count() <= 0) {
        return refuse(
            "half publisher options prepare_timeout, end_timeout, end_answer_timeout and heartbeat_every must "
            "be above 0 ms");
    }
    if (options.checks_open_max == 0) {
        return refuse("half publisher option checks_open_max must be at least 1: else no question is ever answered");
    }
    return std::unique_ptr<txmsg::HalfPublisher>{
        std::make_unique<ClusterHalfPublisher>(std::move(*completed), options, clock, random, log)};
}

}  // namespace hufu::rocketmq
