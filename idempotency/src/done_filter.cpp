#include <hufu/idempotency/done_filter.hpp>

#include <utility>

#include <hufu/core/mutant.hpp>

namespace hufu::idempotency {

FilteredGuard::FilteredGuard(DoneMarks& marks, Options options, Clock& clock)
    : marks_{marks}, options_{options}, clock_{clock} {}

bool FilteredGuard::usable() const { return clock_.steady_now().time_since_epoch().count() >= paused_until_ns_; }

void FilteredGuard::note(bool good) {
    if (!good) paused_until_ns_ = (clock_.steady_now() + options_.pause).time_since_epoch().count();
}

OnceOutcome FilteredGuard::run(const GuardKey& key, const std::function<OnceOutcome()>& in_database) {
    if (usable()) {
        auto found = marks_.find(key);
        note(found.has_value());
        if (found && *found) return {Handled::already_done, std::move(**found)};
    }
    // Seeded bug: marked before the commit, so an effect that then fails is never run again.
    if (mutant_active("mark_before_commit")) static_cast<void>(marks_.mark(key, {}, options_.keep_for));
    auto outcome = in_database();
    const bool committed = outcome.handled == Handled::done || outcome.handled == Handled::already_done;
    if (committed && usable()) note(marks_.mark(key, outcome.result, options_.keep_for).has_value());
    return outcome;
}

Handler filtered(FilteredGuard& guard, std::string group, Handler in_database) {
    return
        [&guard, group = std::move(group), in_database = std::move(in_database)](const Delivery& delivery) -> HandlerResult {
            auto outcome = guard.run({group, delivery.message.id}, [&] { return OnceOutcome{in_database(delivery)}; });
            return {outcome.handled, std::move(outcome.reason)};
        };
}

}  // namespace hufu::idempotency
