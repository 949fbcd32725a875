#include <hufu/txmsg/half_publisher.hpp>
#include <hufu/txmsg/verdict_store.hpp>

namespace hufu::txmsg {

std::string_view to_string(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::unknown: return "unknown";
        case Verdict::commit: return "commit";
        case Verdict::rollback: return "rollback";
    }
    return "unknown";
}

std::string_view to_string(Seen seen) noexcept {
    switch (seen) {
        case Seen::committed: return "committed";
        case Seen::rolled_back: return "rolled_back";
        case Seen::ongoing: return "ongoing";
        case Seen::beyond_retention: return "beyond_retention";
    }
    return "ongoing";
}

}  // namespace hufu::txmsg
