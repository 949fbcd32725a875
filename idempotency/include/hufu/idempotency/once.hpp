// One effect per message and group: the order of steps, decided without a database.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <hufu/core/handler.hpp>
#include <hufu/idempotency/guard.hpp>

namespace hufu::idempotency {

/// What a user's effect says. `result` is kept with the guard row and given to duplicates.
struct EffectResult {
    Handled handled = Handled::retry;
    std::string result = {};
    std::string reason = {};
    std::optional<Error> error = {};  ///< what the guard's store failed with, where that is why; not for effects to set

    EffectResult() = default;
    EffectResult(Handled value) : handled{value} {}  // NOLINT(google-explicit-constructor): `return Handled::done;`
    EffectResult(HandlerResult value)                // NOLINT(google-explicit-constructor): handlers return either
        : handled{value.handled}, reason{std::move(value.reason)} {}
    EffectResult(Handled value, std::string kept, std::string why = {})
        : handled{value}, result{std::move(kept)}, reason{std::move(why)} {}
};

/// How it ended: `done` (now), `already_done` (by an earlier delivery; `result` is what was kept then), `retry` or
/// `reject` with the reason; after the latter two nothing of the effect remains.
using OnceOutcome = EffectResult;

/// What the shell has to do next. Each is one call on `GuardRows` or `EffectTransaction`, except `run_effect`.
enum class OnceAction : std::uint8_t {
    begin,
    insert_guard,
    find_guard,
    run_effect,
    keep_result,
    commit,
    roll_back,
    finished,
};

/// How old the message is for a guard: core's word, see there.
using hufu::first_stored_at;

/// The steps of one guarded delivery: begin, insert the guard row, run the effect, keep its result, commit.
///
/// The insert comes first so that two deliveries of one message meet at the unique key before either has an effect.
/// A duplicate ends as `already_done`. A message that was stored before the guard's horizon and has no row ends as
/// `reject`: its row may have been purged, so running it could be a second effect.
///
/// Not thread-safe; one object per delivery. Borrows nothing.
class OnceMachine {
public:
    OnceMachine(GuardKey key, SystemTime first_stored_at);

    [[nodiscard]] const GuardKey& key() const noexcept { return key_; }
    [[nodiscard]] OnceAction next() const noexcept;

    /// `begin`, `keep_result`, `commit` or `roll_back` is done.
    void done();
    /// `insert_guard` or `find_guard` has answered.
    void seen(const GuardSeen& seen);
    /// `run_effect` has returned.
    void returned(EffectResult result);
    /// The step has failed. The transaction, if open, is rolled back next.
    void failed(const Error& error);

    /// The bytes to keep, at `keep_result`; the verdict, at `finished`.
    [[nodiscard]] const OnceOutcome& outcome() const noexcept { return outcome_; }

private:
    void advance();
    void end_with(OnceOutcome outcome);

    GuardKey key_;
    SystemTime first_stored_at_;
    std::span<const OnceAction> plan_;
    std::size_t step_ = 0;
    bool open_ = false;    // a transaction is open
    bool ending_ = false;  // the plan is left: roll back if open, then finished
    bool effect_ran_ = false;
    OnceOutcome outcome_;
};

/// Drives a machine to its end over a store: what the database adapters' `once` does for each delivery. Exceptions of
/// `effect` pass through, after the transaction was rolled back.
[[nodiscard]] OnceOutcome run_once(OnceMachine machine, EffectTransaction& transaction, GuardRows& rows,
                                   const std::function<EffectResult()>& effect);

}  // namespace hufu::idempotency
