#include <hufu/idempotency/lease_guard.hpp>

#include <condition_variable>
#include <list>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace hufu::idempotency {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds shortest_lease{100};

struct Counts {
    Counter* runs = nullptr;
    Counter* duplicates = nullptr;
    Counter* in_progress = nullptr;
    Counter* conflicts = nullptr;
    Counter* lost = nullptr;
    Counter* unrecorded = nullptr;
    Counter* failures = nullptr;

    Counts(MetricsRegistry* metrics, const std::string& group) {
        if (metrics == nullptr) return;
        const MetricsRegistry::Labels labels{{"group", group}};
        const auto counter = [&](const char* name, const char* help) { return &metrics->counter(name, help, labels); };
        runs = counter("hufu_guard_runs_total", "Effects that took place");
        duplicates = counter("hufu_guard_duplicates_total", "Duplicates answered with the kept result");
        in_progress = counter("hufu_guard_in_progress_total", "Duplicates that met a running effect");
        conflicts = counter("hufu_guard_conflicts_total", "Keys used again with another payload");
        lost = counter("hufu_guard_lease_lost_total", "Effects whose lease was not theirs for a while: possible doubles");
        unrecorded = counter("hufu_guard_unrecorded_total", "Effects that could not be recorded as done");
        failures = counter("hufu_guard_store_failures_total", "Attempts that ended because the store did not answer");
    }

    void count(const LeaseOutcome& outcome) const {
        if (runs == nullptr) return;
        switch (outcome.state) {
            case LeaseOutcome::State::done:
                runs->add();
                if (outcome.lease_lost) lost->add();
                if (!outcome.recorded) unrecorded->add();
                break;
            case LeaseOutcome::State::already_done: duplicates->add(); break;
            case LeaseOutcome::State::in_progress: in_progress->add(); break;
            case LeaseOutcome::State::conflict: conflicts->add(); break;
            default: break;
        }
    }
};

/// One attempt, shared by the thread that runs the effect and the one that renews.
struct Running {
    Running(LeaseRequest request, const LeaseOptions& options, milliseconds keep_for)
        : machine{std::move(request), options, keep_for} {}

    /// Calls `step(machine)` under the lock: the renewer may look at any time.
    template <class Step>
    auto with(const Step& step) {
        const std::lock_guard lock{mutex};
        return step(machine);
    }
    [[nodiscard]] LeaseAction next() {
        return with([](const LeaseMachine& m) { return m.next(); });
    }
    /// Never changes once made.
    [[nodiscard]] const LeaseRequest& request() const noexcept { return machine.request(); }

    std::mutex mutex;
    std::condition_variable idle;
    LeaseMachine machine;   // guarded by mutex
    bool renewing = false;  // guarded by mutex: a renewal is under way
};

}  // namespace

struct LeaseGuard::Impl {
    LeaseStore& store;
    GuardDeclaration declaration;
    LeaseOptions options;
    GuardEnvironment environment;
    Counts counts;
    std::mutex mutex;
    std::list<std::shared_ptr<Running>> running;  // guarded by mutex
    std::jthread renewer;

    Impl(LeaseStore& from, GuardDeclaration declared, LeaseOptions with, GuardEnvironment around)
        : store{from},
          declaration{std::move(declared)},
          options{with},
          environment{around},
          counts{around.metrics, declaration.group} {}

    void renew_until(const std::stop_token& stop) {
        // A lease is renewed once a third of it has passed; looking twice as often keeps the delay below half of it.
        const milliseconds tick = options.lease / 6;
        while (!stop.stop_requested()) {
            environment.clock.sleep_until(environment.clock.steady_now() + tick, stop);
            if (!stop.stop_requested()) renew_due();
        }
    }

    void renew_due() {
        const SteadyTime now = environment.clock.steady_now();
        std::vector<std::shared_ptr<Running>> due;
        {
            const std::lock_guard lock{mutex};
            for (const auto& one : running) {
                const std::lock_guard lock_one{one->mutex};
                if (!one->machine.renewal_due(now) || one->renewing) continue;
                one->renewing = true;
                due.push_back(one);
            }
        }
        renew(due, now);
    }

    void renew(const std::vector<std::shared_ptr<Running>>& due, SteadyTime now) {
        if (due.empty()) return;
        std::vector<const LeaseRequest*> requests;
        for (const auto& one : due) requests.push_back(&one->request());
        std::vector<Result<LeaseKept>> answers(due.size(), Result<LeaseKept>{LeaseKept::kept});
        store.renew(requests, answers);
        for (std::size_t i = 0; i < due.size(); ++i) {
            const std::lock_guard lock{due[i]->mutex};
            if (answers[i]) {
                due[i]->machine.renewed(*answers[i], now);
            } else {
                due[i]->machine.renewal_failed(environment.clock.steady_now());
            }
            due[i]->renewing = false;
            due[i]->idle.notify_all();
        }
    }

    LeaseOutcome drive(const std::shared_ptr<Running>& one, const Effect& effect);
    void acquire(Running& one);
    void release(Running& one);
    void confirm(const std::shared_ptr<Running>& one);
    void complete(Running& one);
    void run_effect(const std::shared_ptr<Running>& one, const Effect& effect);
};

namespace {

class Held final : public HeldLease {
public:
    Held(std::shared_ptr<Running> one, std::function<void()> renew, Clock& clock)
        : one_{std::move(one)}, renew_{std::move(renew)}, clock_{clock} {}

    [[nodiscard]] bool held() const override {
        const std::lock_guard lock{one_->mutex};
        return one_->machine.held(clock_.steady_now());
    }
    Result<void> confirm() override {
        renew_();
        if (held()) return {};
        return Error{ErrorCode::fenced, Disposition::retry,
                     "the lease on \"" + one_->request().key.id +
                         "\" is no longer ours: stop before the effect, it may be another's by now"};
    }

private:
    std::shared_ptr<Running> one_;
    std::function<void()> renew_;
    Clock& clock_;
};

}  // namespace

LeaseOutcome LeaseGuard::Impl::drive(const std::shared_ptr<Running>& one, const Effect& effect) {
    for (;;) {
        switch (one->next()) {
            case LeaseAction::acquire: acquire(*one); break;
            case LeaseAction::run_effect: run_effect(one, effect); break;
            case LeaseAction::complete: complete(*one); break;
            case LeaseAction::release: release(*one); break;
            case LeaseAction::finished: {
                auto outcome = one->with([](const LeaseMachine& machine) { return machine.outcome(); });
                counts.count(outcome);
                return outcome;
            }
        }
    }
}

void LeaseGuard::Impl::acquire(Running& one) {
    one.with([&](LeaseMachine& machine) { machine.asked(environment.clock.steady_now()); });
    auto seen = store.acquire(one.request());
    if (!seen && counts.failures != nullptr) counts.failures->add();
    one.with([&](LeaseMachine& machine) {
        seen ? machine.seen(std::move(*seen)) : machine.failed(seen.error(), environment.clock.steady_now());
    });
}

void LeaseGuard::Impl::complete(Running& one) {
    const auto later = one.with([](const LeaseMachine& machine) { return machine.not_before(); });
    if (later) environment.clock.sleep_until(*later, {});
    // Points into the machine; nothing changes the result any more.
    const auto keep = one.with([&](LeaseMachine& machine) {
        machine.asked(environment.clock.steady_now());
        return machine.to_keep();
    });
    const auto kept = store.complete(one.request(), keep);
    one.with([&](LeaseMachine& machine) {
        kept ? machine.completed(*kept) : machine.failed(kept.error(), environment.clock.steady_now());
    });
}

void LeaseGuard::Impl::release(Running& one) {
    {
        // A renewal that came after the release would take the lease again, for nobody.
        std::unique_lock lock{one.mutex};
        one.idle.wait(lock, [&] { return !one.renewing; });
    }
    static_cast<void>(store.release(one.request()));  // failed: the lease ends by itself
    one.with([](LeaseMachine& machine) { machine.released(); });
}

void LeaseGuard::Impl::run_effect(const std::shared_ptr<Running>& one, const Effect& effect) {
    std::list<std::shared_ptr<Running>> mine{one};
    const auto place = mine.begin();
    {
        const std::lock_guard lock{mutex};
        running.splice(running.end(), mine);
    }
    const auto leave = [&] {
        const std::lock_guard lock{mutex};
        running.erase(place);
    };
    Held held{one, [&] { confirm(one); }, environment.clock};
    try {
        auto result = effect(held);
        leave();
        one->with([&](LeaseMachine& machine) { machine.returned(std::move(result)); });
    } catch (...) {
        leave();
        one->with([](LeaseMachine& machine) { machine.threw("the effect threw an exception"); });
        if (one->next() == LeaseAction::release) release(*one);
        throw;
    }
}

void LeaseGuard::Impl::confirm(const std::shared_ptr<Running>& one) {
    {
        std::unique_lock lock{one->mutex};
        one->idle.wait(lock, [&] { return !one->renewing; });
        one->renewing = true;
    }
    renew({one}, environment.clock.steady_now());
}

LeaseGuard::LeaseGuard(LeaseStore& store, GuardDeclaration declaration, LeaseOptions options, GuardEnvironment environment) {
    check(declaration).value();
    if (declaration.grade != Grade::best_effort) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              "guard of group \"" + declaration.group +
                                  "\": a lease cannot keep effect_once; declare best_effort, or guard the effect in its "
                                  "database transaction (once)"}};
    }
    if (options.lease < shortest_lease) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              "guard of group \"" + declaration.group + "\": a lease of " + duration_text(options.lease) +
                                  " ends before it can be renewed; give at least " + duration_text(shortest_lease)}};
    }
    impl_ = std::make_unique<Impl>(store, std::move(declaration), options, environment);
    impl_->renewer = std::jthread{[impl = impl_.get()](const std::stop_token& stop) { impl->renew_until(stop); }};
}

LeaseGuard::~LeaseGuard() = default;

LeaseOutcome LeaseGuard::run(const std::string& id, const std::string& fingerprint, const Effect& effect) {
    const auto one = std::make_shared<Running>(LeaseRequest{.key = {impl_->declaration.group, id},
                                                            .token = LeaseToken{impl_->environment.random},
                                                            .fingerprint = fingerprint},
                                               impl_->options, impl_->declaration.window);
    return impl_->drive(one, effect);
}

const GuardDeclaration& LeaseGuard::declaration() const noexcept { return impl_->declaration; }

Handler best_effort(LeaseGuard& guard, LeasedEffect effect) {
    return [&guard, effect = std::move(effect)](const Delivery& delivery) {
        return guard
            .run(delivery.message.id.to_string(), {}, [&](HeldLease& lease) { return effect(delivery.message, lease); })
            .handled();
    };
}

}  // namespace hufu::idempotency
