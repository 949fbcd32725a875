// One effect per message and group, several messages in one transaction.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <hufu/core/handler.hpp>
#include <hufu/idempotency/guard.hpp>
#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

/// What `run_once_batch` works with; all lent.
struct BatchShell {
    EffectTransaction& transaction;
    GuardRows& rows;
    /// Runs the effect of the message at this place of the batch, in the transaction.
    std::function<EffectResult(std::size_t)> effect;
    /// The same message by itself: its own transaction, with its own guard. Settles whatever is out of the ordinary.
    std::function<HandlerResult(const Delivery&)> alone;
};

/// Handles a batch for `group` in one transaction: the guard rows of all (inserted first, in the order of their ids, so that
/// two batches wait for each other and never in a circle), then the effects in the order of the batch, then one commit.
///
/// Where an effect fails, throws or is too old for its guard, nothing of the transaction remains and each message is run alone,
/// in order; what is behind a failure of its own key is not run and answered `retry`. Duplicates are settled alone too. So the
/// answers are the same as without batches; only the number of commits is not.
[[nodiscard]] std::vector<HandlerResult> run_once_batch(const std::string& group, std::span<const Delivery* const> batch,
                                                        const BatchShell& shell);

}  // namespace hufu::idempotency
