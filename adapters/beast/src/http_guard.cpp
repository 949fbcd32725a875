#include <hufu/beast/http_guard.hpp>

#include <algorithm>
#include <iterator>

namespace hufu::beast {
namespace {

namespace http = boost::beast::http;

constexpr const char* key_header = "Idempotency-Key";

/// Belongs to one connection, or is made anew with each response (RFC 9110 §7.6.1, §8.6).
bool made_anew(http::field name) {
    constexpr http::field names[] = {http::field::connection, http::field::keep_alive, http::field::transfer_encoding,
                                     http::field::content_length};
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string text_of(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

idempotency::HttpCall call_of(const Request& request, std::string caller) {
    idempotency::HttpCall call{.method = text_of(request.method_string()),
                               .target = text_of(request.target()),
                               .caller = std::move(caller),
                               .body = request.body()};
    // Several lines of one header are one list (RFC 9110 §5.3): a key of its own, and the same one when it is repeated.
    const auto [first, last] = request.equal_range(key_header);
    for (auto field = first; field != last; ++field) {
        const auto value = text_of(field->value());
        call.key = call.key ? *call.key + ", " + value : value;
    }
    return call;
}

idempotency::HttpReply reply_of(const Response& response) {
    idempotency::HttpReply reply{.status = response.result_int(), .body = response.body()};
    for (const auto& field : response) {
        if (!made_anew(field.name())) reply.headers.emplace_back(text_of(field.name_string()), text_of(field.value()));
    }
    return reply;
}

Response response_of(const idempotency::HttpReply& reply, const Request& request) {
    Response response;
    response.version(request.version());
    response.result(reply.status);
    for (const auto& [name, value] : reply.headers) response.insert(name, value);
    if (reply.retry_after) response.set(http::field::retry_after, std::to_string(reply.retry_after->count()));
    if (reply.replayed) response.set("Idempotent-Replayed", "true");
    response.keep_alive(request.keep_alive());
    response.body() = reply.body;
    response.prepare_payload();
    return response;
}

}  // namespace hufu::beast
