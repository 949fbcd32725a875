#include <hufu/idempotency/grade.hpp>

#include <optional>

namespace hufu::idempotency {
namespace {

using std::chrono::milliseconds;

/// Jitter only shortens waits, so the longest is without.
class NoChance final : public Random {
public:
    [[nodiscard]] std::uint64_t next() noexcept override { return 0; }
};

std::optional<milliseconds> all_waits(RetrySchedule retry) {
    if (retry.attempts_max() == 0) return std::nullopt;
    NoChance chance;
    retry.jitter(0);
    milliseconds sum{0};
    for (std::uint32_t attempt = 1; const auto wait = retry.wait_after(attempt, chance); ++attempt) sum += *wait;
    return sum;
}

Error refused(const GuardDeclaration& declaration, const std::string& why) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, "guard of group \"" + declaration.group + "\": " + why};
}

}  // namespace

std::optional<milliseconds> latest_duplicate(const DuplicateAge& duplicates) {
    const auto retries = all_waits(duplicates.retry);
    if (!retries) return std::nullopt;
    return *retries + duplicates.replay + duplicates.buffer;
}

std::string duration_text(milliseconds duration) {
    struct Unit {
        std::int64_t ms;
        const char* name;
    };
    constexpr Unit units[] = {{86'400'000, " d"}, {3'600'000, " h"}, {60'000, " min"}, {1'000, " s"}, {1, " ms"}};
    std::string text;
    auto left = duration.count();
    for (const auto& [ms, name] : units) {
        if (left < ms) continue;
        text += (text.empty() ? "" : " ") + std::to_string(left / ms) + name;
        left %= ms;
    }
    return text.empty() ? "0 s" : text;
}

Result<void> check(const GuardDeclaration& declaration) {
    if (declaration.group.empty() || declaration.group.size() > 255) {
        return refused(declaration, "a group's name has 1 to 255 bytes");
    }
    const auto latest = latest_duplicate(declaration.duplicates);
    if (!latest) {
        return refused(declaration,
                       "its retry schedule never ends, so no window covers the last duplicate; give "
                       "RetrySchedule an attempts_max");
    }
    if (milliseconds{declaration.window} >= *latest) return {};
    const milliseconds replay = declaration.duplicates.replay;
    const milliseconds buffer = declaration.duplicates.buffer;
    return refused(declaration, "it forgets a message after " + duration_text(declaration.window) +
                                    ", but a duplicate may come " + duration_text(*latest) +
                                    " after the first delivery (retries " + duration_text(*latest - replay - buffer) +
                                    " + replay " + duration_text(replay) + " + buffer " + duration_text(buffer) +
                                    "); make the window at least that long, or shorten a part");
}

Result<void> check_retention(const GuardDeclaration& declaration) {
    if (const auto fine = check(declaration); !fine) return fine;
    if (declaration.window >= shortest_retention) return {};
    return refused(declaration, "its rows are not deleted after " + duration_text(declaration.window) +
                                    ", at the earliest after " + duration_text(shortest_retention) +
                                    ": clocks differ, and messages are on their way");
}

}  // namespace hufu::idempotency
