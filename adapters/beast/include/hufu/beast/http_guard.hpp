// The HTTP edge on Boost.Beast: a middleware in front of an application.
#pragma once

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include <hufu/idempotency/http.hpp>

namespace hufu::beast {

using Request = boost::beast::http::request<boost::beast::http::string_body>;
using Response = boost::beast::http::response<boost::beast::http::string_body>;

/// Answers one request. Called from as many threads as the server has.
using Application = std::function<Response(const Request&)>;
/// Who asks (an account, an API key), so that two callers may use the same key. The server has authenticated it.
using CallerOf = std::function<std::string(const Request&)>;

/// What a guard needs of the request. A header `Idempotency-Key` that is there and empty is an empty key, which is refused.
[[nodiscard]] idempotency::HttpCall call_of(const Request& request, std::string caller = {});
/// What is kept of a response: status, body, and the headers without those that belong to one connection or are made anew
/// (Connection, Keep-Alive, Transfer-Encoding, Content-Length).
[[nodiscard]] idempotency::HttpReply reply_of(const Response& response);
/// The response to `request`: with `Retry-After` and `Idempotent-Replayed: true` where the reply says so.
[[nodiscard]] Response response_of(const idempotency::HttpReply& reply, const Request& request);

/// How a call is answered once, and what the guard hands to the application (`In`: a transaction, or nothing).
template <class... In>
using Guarding = std::function<idempotency::HttpReply(const idempotency::HttpCall& call,
                                                      const std::function<idempotency::HttpReply(In...)>& application)>;

/// The middleware: a repeated request with the same key gets the first answer, byte for byte. In a database, where the
/// application's changes and its answer commit together:
///
///     guarded<pqxx::work&>([&](const auto& call, const auto& run) { return postgres::answer_once(pool, edge, call, 2s, run); },
///                          [&](pqxx::work& tx, const Request& request) { return place_order(tx, request); });
///
/// and without one: `guarded<>([&](const auto& call, const auto& run) { return answer_under_lease(edge, guard, call, run); }, …)`.
///
/// Thread-safe as far as its parts are. What the application throws passes through, with nothing changed.
template <class... In>
[[nodiscard]] Application guarded(std::type_identity_t<Guarding<In...>> guarding,
                                  std::type_identity_t<std::function<Response(In..., const Request&)>> application,
                                  CallerOf caller_of = {}) {
    return [guarding = std::move(guarding), application = std::move(application),
            caller_of = std::move(caller_of)](const Request& request) {
        const auto call = call_of(request, caller_of ? caller_of(request) : std::string{});
        const auto run = [&](In... in) { return reply_of(application(std::forward<In>(in)..., request)); };
        return response_of(guarding(call, run), request);
    };
}

}  // namespace hufu::beast
