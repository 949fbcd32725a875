// The HTTP edge: a repeated request with the same key gets the first answer, byte for byte.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <hufu/idempotency/lease_guard.hpp>
#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

/// What of a request matters here; any HTTP library's request gives it.
struct HttpCall {
    std::string method = {};
    std::string target = {};
    std::optional<std::string> key = {};  ///< of the header `Idempotency-Key`, if it is there
    std::string caller = {};              ///< who asks (account, API key), so that two callers may use the same key
    std::string body = {};
};

struct HttpReply {
    unsigned status = 200;
    std::vector<std::pair<std::string, std::string>> headers = {};
    std::string body = {};
    bool replayed = false;  ///< the first answer to a repeated request; send `Idempotent-Replayed: true` with it
    /// Send as `Retry-After`, in seconds.
    std::optional<std::chrono::seconds> retry_after = {};
};

struct HttpGuardOptions {
    std::string group = "http";
    bool key_required = false;  ///< without a key: 400
    std::size_t reply_bytes_max = 256 * 1024;
    std::chrono::seconds retry_after{1};
    /// Makes the answers that are the guard's own, in the service's style. Empty: `application/problem+json`.
    std::function<HttpReply(unsigned status, const std::string& detail)> refusal = {};
};

class HttpGuard;

/// One request between being read and being answered. Not thread-safe; outlived by its guard.
class HttpQuestion {
public:
    /// Set: the guard's own answer, nothing is to be run (bad or missing key).
    [[nodiscard]] const std::optional<HttpReply>& refused() const noexcept { return refused_; }
    /// False: it has no key; run it plainly.
    [[nodiscard]] bool guarded() const noexcept { return guarded_; }
    /// For a database guard, and for a lease guard.
    [[nodiscard]] GuardKey guard_key() const;
    [[nodiscard]] std::string lease_id() const;
    [[nodiscard]] const std::string& fingerprint() const noexcept { return fingerprint_; }

    /// Turns the application's reply into the effect's result, to be kept with the guard. A status of 500 or more is not kept:
    /// the effect is rolled back, and a repeated request runs it again. A reply that is too large to keep is refused.
    [[nodiscard]] EffectResult keep(HttpReply reply);
    /// What to send: the reply, the first reply again, 422 (key used with another request), 409 (first one still running), or
    /// 503.
    [[nodiscard]] HttpReply answer(const OnceOutcome& outcome) const;
    [[nodiscard]] HttpReply answer(const LeaseOutcome& outcome) const;

private:
    friend class HttpGuard;
    explicit HttpQuestion(const HttpGuard& guard) : guard_{guard} {}
    [[nodiscard]] HttpReply replay(const std::string& kept, bool dropped) const;
    [[nodiscard]] HttpReply failed(const std::string& reason) const;

    const HttpGuard& guard_;
    bool guarded_ = false;
    std::optional<HttpReply> refused_;
    MessageId id_;
    std::string fingerprint_;
    std::optional<HttpReply> reply_;  // of the application, now
};

/// Reads requests, compares payloads, keeps and replays answers; the store is the caller's choice: a database's `run_once`
/// (the application's changes and its answer commit together; grade effect_once) or a `LeaseGuard` (`answer_under_lease`).
///
/// Answers: 400 no key where one is required, or a key that is empty, longer than 255 bytes or not printable ASCII · 409 with
/// Retry-After while the first request runs · 422 when the key was used with another method, target or body.
///
/// Thread-safe.
class HttpGuard {
public:
    explicit HttpGuard(HttpGuardOptions options = {}) : options_{std::move(options)} {}
    [[nodiscard]] HttpQuestion read(const HttpCall& call) const;
    [[nodiscard]] const HttpGuardOptions& options() const noexcept { return options_; }

private:
    friend class HttpQuestion;
    [[nodiscard]] HttpReply refuse(unsigned status, const std::string& detail) const;

    HttpGuardOptions options_;
};

/// The whole way with a lease guard. What `application` throws passes through, after the key was given up.
[[nodiscard]] HttpReply answer_under_lease(const HttpGuard& edge, LeaseGuard& guard, const HttpCall& call,
                                           const std::function<HttpReply()>& application);

}  // namespace hufu::idempotency
