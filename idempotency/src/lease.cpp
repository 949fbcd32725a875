#include <hufu/idempotency/lease.hpp>

#include <cstring>

namespace hufu::idempotency {
namespace {

Error refused(ErrorCode code, std::string text) { return Error{code, Disposition::reject, std::move(text)}; }

}  // namespace

LeaseToken::LeaseToken(Random& random) {
    for (std::size_t at = 0; at < bytes_.size(); at += sizeof(std::uint64_t)) {
        const std::uint64_t bits = random.next();
        std::memcpy(bytes_.data() + at, &bits, sizeof bits);
    }
}

Result<void> check(const LeaseKey& key, std::string_view fingerprint) {
    if (key.group.empty()) return refused(ErrorCode::invalid_argument, "a guard's key needs a group");
    if (key.id.empty()) {
        return refused(ErrorCode::invalid_argument, "the key is empty: group \"" + key.group +
                                                        "\" would take all such messages for one; give each an id");
    }
    if (key.group.size() > group_bytes_max || key.id.size() > id_bytes_max) {
        return refused(ErrorCode::too_large, "key \"" + key.id.substr(0, 40) + "…\" of group \"" + key.group.substr(0, 40) +
                                                 "\" has " + std::to_string(key.id.size()) + " bytes (group " +
                                                 std::to_string(key.group.size()) + "): at most " +
                                                 std::to_string(id_bytes_max) + " (group " +
                                                 std::to_string(group_bytes_max) + "); use a hash of it");
    }
    if (fingerprint.size() > fingerprint_bytes_max) {
        return refused(ErrorCode::too_large, "the payload's fingerprint has " + std::to_string(fingerprint.size()) +
                                                 " bytes, at most " + std::to_string(fingerprint_bytes_max) +
                                                 ": use a hash, not the payload");
    }
    return {};
}

}  // namespace hufu::idempotency
