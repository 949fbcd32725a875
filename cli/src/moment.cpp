#include "moment.hpp"

#include <chrono>
#include <cstdio>
#include <cstring>

#include <hufu/core/config.hpp>

namespace hufu::cli {
namespace {

using namespace std::chrono;

/// What stands after the seconds: nothing or 'Z', a fraction before it.
bool read_rest(const char* rest, microseconds& fraction) {
    if (*rest == '.') {
        std::int64_t unit = 100'000;
        for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) fraction += microseconds{unit * (*rest - '0')};
    }
    return *rest == '\0' || (*rest == 'Z' && rest[1] == '\0');
}

}  // namespace

Result<SystemTime> parse_moment(const std::string& text, SystemTime now) {
    if (const auto ago = parse_duration(text)) {
        return now - duration_cast<microseconds>(*ago);
    }
    int year_number = 0;
    unsigned month_number = 0;
    unsigned day_number = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int used = 0;
    microseconds fraction{0};
    bool fine = std::sscanf(text.c_str(), "%4d-%2u-%2u%n", &year_number, &month_number, &day_number, &used) == 3;
    const char* rest = text.c_str() + used;
    if (fine && (*rest == 'T' || *rest == ' ')) {
        fine = std::sscanf(rest + 1, "%2d:%2d:%2d%n", &hour, &minute, &second, &used) == 3;
        rest += 1 + used;
    }
    const year_month_day date{year{year_number}, month{month_number}, day{day_number}};
    fine = fine && read_rest(rest, fraction) && date.ok() && hour >= 0 && hour < 24 && minute >= 0 && minute < 60 &&
           second >= 0 && second < 60;
    if (!fine) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "\"" + text + "\" is no time: write 2026-01-02T03:04:05Z (UTC), or how long ago, such as 2h"};
    }
    return SystemTime{sys_days{date}} + hours{hour} + minutes{minute} + seconds{second} + fraction;
}

}  // namespace hufu::cli
