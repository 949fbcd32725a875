// What stands under a lease's key.
#pragma once

#include <string>
#include <string_view>

#include <hufu/idempotency/lease.hpp>

namespace hufu::redis {

/// While the effect runs: 'L', the token, the payload's fingerprint.
[[nodiscard]] std::string held_value(const idempotency::LeaseRequest& request);
/// Afterwards: 'D', the token, '1' where the result was dropped and '0' where not, the fingerprint's length in one byte, the
/// fingerprint, the result.
[[nodiscard]] std::string done_value(const idempotency::LeaseRequest& request, const idempotency::LeaseResult& result);
/// What a value says to somebody who asks with `token`. `corrupt`/fatal for bytes that are neither.
Result<idempotency::LeaseSeen> read_value(std::string_view value, const idempotency::LeaseToken& token);
/// `prefix`, the group's length, group and id: so that no two pairs make one name.
[[nodiscard]] std::string key_name(std::string_view prefix, const idempotency::LeaseKey& key);

}  // namespace hufu::redis
