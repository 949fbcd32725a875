// Seeded bugs, compiled only into the `_mutable` twins of the libraries, to prove that the tests can see them.
#pragma once

#include <string_view>

namespace hufu {

#if defined(HUFU_WITH_MUTANTS)
/// True while the seeded bug `name` is switched on. Test builds only.
[[nodiscard]] bool mutant_active(std::string_view name) noexcept;
/// Switches one seeded bug on (empty: none). Call before the code under test runs; not thread-safe.
void activate_mutant(std::string_view name);
#else
/// Product builds: no seeded bug exists, and the compiler removes the branch.
[[nodiscard]] constexpr bool mutant_active(std::string_view) noexcept { return false; }
#endif

}  // namespace hufu
