#include <hufu/txmsg/responder.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <hufu/txmsg/responder_machine.hpp>

namespace hufu::txmsg {
namespace {

ResponderRules rules_of(const ResponderOptions& options, std::string store_uuid) {
    ResponderRules rules;
    rules.store = std::move(store_uuid);
    rules.handlers.insert(options.handlers.begin(), options.handlers.end());
    for (const auto& [handler, checker] : options.checkers) {
        rules.handlers.insert(handler);
        rules.checkers.insert(handler);
    }
    rules.answer_within = options.answer_within;
    rules.running_per_handler = options.running_per_handler;
    rules.waiting_max = options.waiting_max;
    return rules;
}

/// What the metrics show of the machine's figures: each grows by what came since the last look.
class Metrics {
public:
    Metrics(MetricsRegistry* registry, const std::string& group) {
        if (registry == nullptr) {
            return;
        }
        constexpr std::string_view checks = "hufu_tx_checks_total";
        constexpr std::string_view about = "Checks of brokers, by what became of them";
        const auto add = [&](const char* outcome, std::uint64_t ResponderFigures::*figure) {
            rows_.push_back({&registry->counter(checks, about, {{"group", group}, {"outcome", outcome}}), figure});
        };
        add("committed", &ResponderFigures::committed);
        add("rolled_back", &ResponderFigures::rolled_back);
        add("unknown", &ResponderFigures::unknown);
        add("foreign", &ResponderFigures::foreign);
        add("unknown_handler", &ResponderFigures::unknown_handler);
        constexpr std::string_view troubles = "hufu_tx_check_troubles_total";
        constexpr std::string_view why = "Why checks were answered unknown, or answers dropped";
        const auto trouble = [&](const char* kind, std::uint64_t ResponderFigures::*figure) {
            rows_.push_back({&registry->counter(troubles, why, {{"group", group}, {"kind", kind}}), figure});
        };
        trouble("timed_out", &ResponderFigures::timed_out);
        trouble("failed", &ResponderFigures::failed);
        trouble("nonsense", &ResponderFigures::nonsense);
        trouble("overloaded", &ResponderFigures::overloaded);
        trouble("late", &ResponderFigures::late);
    }
    void show(const ResponderFigures& figures) {
        for (const auto& [counter, figure] : rows_) {
            counter->add(figures.*figure - shown_.*figure);
        }
        shown_ = figures;
    }

private:
    struct Row {
        Counter* counter;
        std::uint64_t ResponderFigures::*figure;
    };
    std::vector<Row> rows_;
    ResponderFigures shown_;
};

std::string what_was_thrown() {
    try {
        throw;
    } catch (const std::exception& exception) {
        return exception.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

}  // namespace

struct Responder::Impl {
    Impl(HalfPublisher& halves_, VerdictStore* store_, ResponderOptions options_, Clock& clock_, std::string store_uuid)
        : halves{halves_},
          store{store_},
          options{std::move(options_)},
          clock{clock_},
          log{options.log != nullptr ? *options.log : no_log()},
          machine{rules_of(options, std::move(store_uuid))},
          metrics{options.metrics, options.group} {}

    struct Open {
        Check check;
        HalfPublisher::Answer answer;
    };
    struct Said {
        HalfPublisher::Answer answer;
        ResponderAction action;  // answer, or stay_silent: the answer is destroyed unused
    };

    void on_check(Check check, HalfPublisher::Answer answer) {
        std::vector<Said> said;
        {
            const std::scoped_lock lock{mutex};
            if (stopping) {
                return;
            }
            const CheckNumber number = ++last_number;
            machine.arrived(number, check.context, clock.steady_now());
            open.emplace(number, Open{std::move(check), std::move(answer)});
            said = obey();
        }
        say(std::move(said));
    }

    /// Carries out what the machine wants; answers are given back, to be said without the lock. Call with the lock held.
    [[nodiscard]] std::vector<Said> obey() {
        std::vector<Said> said;
        for (auto& action : machine.take()) {
            switch (action.kind) {
                case ResponderAction::Kind::ask_store:
                case ResponderAction::Kind::ask_checker: hand_to_worker(std::move(action)); break;
                case ResponderAction::Kind::answer:
                case ResponderAction::Kind::stay_silent: {
                    auto ended = open.extract(action.number);
                    said.push_back({std::move(ended.mapped().answer), std::move(action)});
                    break;
                }
            }
        }
        metrics.show(machine.figures());
        deadlines_moved.notify_one();
        return said;
    }

    void hand_to_worker(ResponderAction job) {
        jobs.push_back(std::move(job));
        if (idle + starting < jobs.size()) {
            try {
                workers.emplace_back([this](const std::stop_token& stop) { work(stop); });
                ++starting;
            } catch (const std::system_error& error) {  // answered `unknown` in time, unless another worker comes to it
                log.error("no thread for a check", {{"group", options.group}, {"why", error.what()}});
            }
        }
        job_there.notify_one();
    }

    void say(std::vector<Said> said) {
        for (auto& [answer, action] : said) {
            const bool silent = action.kind == ResponderAction::Kind::stay_silent;
            if (silent || action.verdict == Verdict::unknown) {
                log.warning(
                    silent ? "check not answered" : "check answered unknown",
                    {{"transaction", action.transaction.to_string()}, {"group", options.group}, {"why", action.reason}});
            }
            if (!silent) {
                answer(action.verdict, std::move(action.reason));
            }
        }
    }

    void work(const std::stop_token& stop) {
        std::unique_lock lock{mutex};
        --starting;
        for (;;) {
            ++idle;
            const bool there = job_there.wait(lock, stop, [this] { return !jobs.empty(); });
            --idle;
            if (!there) {
                return;
            }
            const ResponderAction job = std::move(jobs.front());
            jobs.pop_front();
            const auto found = open.find(job.number);
            if (found == open.end()) {  // answered meanwhile, for want of time
                machine.checker_failed(job.number, "it was not asked in time", clock.steady_now());
                auto next = obey();
                lock.unlock();
                say(std::move(next));
                lock.lock();
                continue;
            }
            const Check check = found->second.check;
            lock.unlock();
            auto said = job.kind == ResponderAction::Kind::ask_store ? ask_store(job) : ask_checker(job, check, stop);
            say(std::move(said));
            lock.lock();
        }
    }

    [[nodiscard]] std::vector<Said> ask_store(const ResponderAction& job) {
        auto seen = [&]() -> Result<Seen> {
            try {
                return store->check(job.transaction);
            } catch (...) {
                return Error{ErrorCode::internal, Disposition::retry, what_was_thrown()};
            }
        }();
        const std::scoped_lock lock{mutex};
        machine.store_said(job.number, seen, clock.steady_now());
        return obey();
    }

    [[nodiscard]] std::vector<Said> ask_checker(const ResponderAction& job, const Check& check,
                                                const std::stop_token& stop) {
        try {
            const Verdict verdict = options.checkers.at(job.handler)(check, stop);
            const std::scoped_lock lock{mutex};
            machine.checker_said(job.number, verdict, "the checker of the service says so", clock.steady_now());
            return obey();
        } catch (...) {
            const auto what = what_was_thrown();
            const std::scoped_lock lock{mutex};
            machine.checker_failed(job.number, what, clock.steady_now());
            return obey();
        }
    }

    void watch_deadlines(const std::stop_token& stop) {
        std::unique_lock lock{mutex};
        while (!stop.stop_requested()) {
            const auto deadline = machine.next_deadline();
            const auto now = clock.steady_now();
            if (!deadline) {
                deadlines_moved.wait(lock, stop, [this] { return machine.next_deadline().has_value(); });
            } else if (*deadline > now) {
                deadlines_moved.wait_for(lock, stop, *deadline - now, [&] { return machine.next_deadline() != deadline; });
            } else {
                machine.tick(now);
                auto said = obey();
                lock.unlock();
                say(std::move(said));
                lock.lock();
            }
        }
    }

    HalfPublisher& halves;
    VerdictStore* const store;
    const ResponderOptions options;
    Clock& clock;
    Log& log;

    std::mutex mutex;
    std::condition_variable_any job_there;
    std::condition_variable_any deadlines_moved;
    // All below is guarded by mutex.
    ResponderMachine machine;
    Metrics metrics;
    CheckNumber last_number = 0;
    bool stopping = false;
    std::map<CheckNumber, Open> open;  // not answered yet
    std::deque<ResponderAction> jobs;
    std::size_t idle = 0;      // workers that wait for a job
    std::size_t starting = 0;  // workers that do not yet
    std::vector<std::jthread> workers;
    std::jthread watcher;
};

Responder::Responder(HalfPublisher& halves, VerdictStore* store, ResponderOptions options, Clock& clock) {
    std::string uuid;
    if (store != nullptr) {
        uuid = store->uuid().value();
    }
    impl_ = std::make_unique<Impl>(halves, store, std::move(options), clock, std::move(uuid));
    Impl& impl = *impl_;
    impl.watcher = std::jthread{[&impl](const std::stop_token& stop) { impl.watch_deadlines(stop); }};
    std::vector<std::string> handlers{impl.options.handlers.begin(), impl.options.handlers.end()};
    for (const auto& [handler, checker] : impl.options.checkers) {
        handlers.push_back(handler);
    }
    std::erase(handlers, "");
    halves
        .serve_checks(
            impl.options.group, std::move(handlers),
            [&impl](Check check, HalfPublisher::Answer answer) { impl.on_check(std::move(check), std::move(answer)); })
        .value();
}

Responder::~Responder() {
    Impl& impl = *impl_;
    (void)impl.halves.serve_checks(impl.options.group, {}, {});
    std::vector<std::jthread> workers;
    std::vector<Impl::Said> unanswered;
    {
        const std::scoped_lock lock{impl.mutex};
        impl.stopping = true;
        impl.machine.stop();
        unanswered = impl.obey();
        impl.jobs.clear();
        workers.swap(impl.workers);
    }
    for (auto& worker : workers) {
        worker.request_stop();
    }
    workers.clear();  // joins
    unanswered.clear();
    impl.watcher = {};
}

}  // namespace hufu::txmsg
