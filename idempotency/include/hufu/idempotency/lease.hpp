// The lease guard's port: who may run the effect of a key, and what came of it. Grade `best_effort`.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/core/random.hpp>

namespace hufu::idempotency {

/// Names one attempt to run an effect, unlike any other's.
class LeaseToken {
public:
    LeaseToken() = default;
    explicit LeaseToken(Random& random);
    [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_.data(), bytes_.size()}; }
    friend auto operator<=>(const LeaseToken&, const LeaseToken&) = default;

private:
    std::array<char, 16> bytes_{};
};

/// What is to have one effect: this id, within this group. Any bytes.
struct LeaseKey {
    std::string group = {};
    std::string id = {};
    friend auto operator<=>(const LeaseKey&, const LeaseKey&) = default;
};

inline constexpr std::size_t group_bytes_max = 255;
inline constexpr std::size_t id_bytes_max = 512;
inline constexpr std::size_t fingerprint_bytes_max = 64;

/// Refuses empty and giant keys and fingerprints (`invalid_argument` or `too_large`, reject).
Result<void> check(const LeaseKey& key, std::string_view fingerprint);

/// One attempt: who asks, for what, with which payload, for how long.
struct LeaseRequest {
    LeaseKey key = {};
    LeaseToken token = {};
    /// Of the payload; a repeated key with another fingerprint is a conflict. Empty: not compared.
    std::string fingerprint = {};
    std::chrono::milliseconds lease{30'000};
};

struct LeaseSeen {
    enum class State : std::uint8_t {
        ours,         ///< the lease was free and is now held under this token (or was already, by an earlier try)
        in_progress,  ///< somebody else holds it
        done,         ///< the effect has taken place; `result` is what was kept
    };
    State state = State::ours;
    std::string fingerprint = {};  ///< of the holder's or the first payload
    std::string result = {};
    bool result_dropped = false;  ///< there was a result, too large to keep
};

/// Whether the lease was still this token's.
enum class LeaseKept : std::uint8_t {
    kept,
    retaken,  ///< the store had forgotten it (lost data, or the lease had run out) and nobody had taken it: it is ours again
    lost,     ///< somebody else holds it, or has finished
};

/// What a lease's effect left behind.
struct LeaseResult {
    std::string_view bytes = {};
    bool dropped = false;
    std::chrono::milliseconds keep_for{0};
};

/// Leases with a time limit in a store that all processes of the group share. Thread-safe.
///
/// Every method may be repeated with the same token after an error: what had already happened is found as ours.
class LeaseStore {
public:
    virtual ~LeaseStore() = default;
    virtual Result<LeaseSeen> acquire(const LeaseRequest& request) = 0;
    /// Begins each request's time anew, in one flight; `answers` has the size of `requests`.
    virtual void renew(std::span<const LeaseRequest* const> requests, std::span<Result<LeaseKept>> answers) = 0;
    /// Keeps the result under the key, if the lease is still this token's or nobody's.
    virtual Result<LeaseKept> complete(const LeaseRequest& request, const LeaseResult& result) = 0;
    /// Gives the lease up, if it is still this token's: the next one may run the effect at once.
    virtual Result<void> release(const LeaseRequest& request) = 0;
};

}  // namespace hufu::idempotency
