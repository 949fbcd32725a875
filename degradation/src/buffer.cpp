#include <hufu/degradation/buffer.hpp>

#include <array>
#include <utility>

namespace hufu::degradation {
namespace {

constexpr std::array<std::pair<Loss, std::string_view>, 3> names = {
    {{Loss::nothing, "nothing"}, {Loss::last_second, "last_second"}, {Loss::everything, "everything"}}};

}  // namespace

std::string_view to_string(Loss loss) noexcept {
    for (const auto& [known, name] : names) {
        if (known == loss) {
            return name;
        }
    }
    return "everything";
}

Result<Loss> parse_loss(std::string_view text) {
    for (const auto& [known, name] : names) {
        if (name == text) {
            return known;
        }
    }
    return Error{ErrorCode::invalid_argument, Disposition::reject,
                 "\"" + std::string{text} + "\" is not a loss: nothing, last_second and everything are known"};
}

Result<void> Buffer::browse(Shelf, const std::function<bool(const Entry&)>&) {
    return Error{ErrorCode::unsupported, Disposition::reject,
                 "\"" + describe() + "\" cannot be looked at without taking entries"};
}

Result<std::uint64_t> Buffer::unpark() {
    return Error{ErrorCode::unsupported, Disposition::reject, "\"" + describe() + "\" cannot put back what was set aside"};
}

}  // namespace hufu::degradation
