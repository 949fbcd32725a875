// Ending the waits of pulls for another reason than messages or time.
#pragma once

#include <string_view>

#include <hufu/core/clock.hpp>

namespace hufu::broker {

class DispatchState;

/// The group wants something else now: its waiting pulls are answered, so that its clients pull with what they want.
void end_waits_of_group(DispatchState& state, std::string_view group, SteadyTime now);  // pull.cpp

}  // namespace hufu::broker
