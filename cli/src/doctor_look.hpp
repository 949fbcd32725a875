// Gathers what `hufu doctor` judges: one function a part of the set-up, each with findings also when it is not reached.
#pragma once

#include <string>

#include "doctor_facts.hpp"

namespace hufu::cli {

[[nodiscard]] Findings look_at_outbox(const std::string& url, const Limits& limits);
/// `verdicts`: the store that is here to answer check-backs; empty: none.
[[nodiscard]] Findings look_at_broker(const std::string& url, const std::string& verdicts, const Limits& limits);
[[nodiscard]] Findings look_at_metrics(const std::string& url);
[[nodiscard]] Findings look_at_redis(const std::string& url);
/// redis://… or journal:DIR, as `hufu replay` takes them.
[[nodiscard]] Findings look_at_buffer(const std::string& url, const Limits& limits);

}  // namespace hufu::cli
