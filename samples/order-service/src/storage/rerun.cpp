#include "storage/rerun.hpp"

#include <chrono>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>
#include <hufu/core/random.hpp>
#include <hufu/core/retry.hpp>

namespace shop {
namespace {

bool nothing_happened(const hufu::Error& error) {
    return error.disposition() == hufu::Disposition::retry || error.disposition() == hufu::Disposition::abort_transaction;
}

}  // namespace

void rerun_while_allowed(const std::function<void()>& transaction) {
    const auto schedule =
        hufu::RetrySchedule::capped(std::chrono::milliseconds{5}, std::chrono::milliseconds{200}, 6).jitter(0.5);
    for (std::uint32_t attempt = 1;; ++attempt) {
        try {
            return transaction();
        } catch (const hufu::Exception& exception) {
            const auto wait = schedule.wait_after(attempt, hufu::system_random());
            if (!nothing_happened(exception.error()) || !wait) throw;
            auto& clock = hufu::system_clock();
            clock.sleep_until(clock.steady_now() + *wait, {});
        }
    }
}

std::string with_serial(std::string_view table, std::string_view serial) {
    constexpr std::string_view mark = "{serial}";
    std::string text{table};
    if (const auto at = text.find(mark); at != std::string::npos) text.replace(at, mark.size(), serial);
    return text;
}

}  // namespace shop
