#include <hufu/core/mutant.hpp>

#if defined(HUFU_WITH_MUTANTS)
#include <string>

namespace hufu {
namespace {
// Test builds only: the one process-wide switch, set before anything runs.
std::string& active() {
    static std::string name;
    return name;
}
}  // namespace

bool mutant_active(std::string_view name) noexcept { return active() == name; }
void activate_mutant(std::string_view name) { active() = name; }

}  // namespace hufu
#endif
