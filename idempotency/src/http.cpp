#include <hufu/idempotency/http.hpp>

#include <algorithm>
#include <boost/uuid/name_generator_sha1.hpp>
#include <charconv>
#include <string_view>

namespace hufu::idempotency {
namespace {

constexpr std::size_t key_bytes_max = 255;
constexpr std::size_t fingerprint_bytes = 16;

/// SHA-1 of the parts with their lengths, as a version 5 UUID (RFC 9562 §5.5): 122 bits.
std::array<std::uint8_t, 16> digest(std::initializer_list<std::string_view> parts) {
    std::string bytes;
    for (const auto part : parts) {
        bytes += std::to_string(part.size());
        bytes += ':';
        bytes += part;
    }
    const boost::uuids::name_generator_sha1 hash{boost::uuids::ns::oid()};
    const auto uuid = hash(bytes.data(), bytes.size());
    std::array<std::uint8_t, 16> out{};
    std::copy(uuid.begin(), uuid.end(), out.begin());
    return out;
}

std::string text_of(const std::array<std::uint8_t, 16>& bytes) { return {bytes.begin(), bytes.end()}; }

/// "length:bytes"
void put(std::string& into, std::string_view part) {
    into += std::to_string(part.size());
    into += ':';
    into += part;
}

/// Takes one off the front; nothing when the bytes are not of this form.
std::optional<std::string_view> take(std::string_view& from) {
    std::size_t size = 0;
    const auto [end, problem] = std::from_chars(from.data(), from.data() + from.size(), size);
    const auto digits = static_cast<std::size_t>(end - from.data());
    if (problem != std::errc{} || digits >= from.size() || from[digits] != ':' || from.size() - digits - 1 < size) {
        return std::nullopt;
    }
    const auto part = from.substr(digits + 1, size);
    from.remove_prefix(digits + 1 + size);
    return part;
}

/// The fingerprint, the status, each header's name and value, an empty name, the body.
std::string packed(const std::string& fingerprint, const HttpReply& reply) {
    std::string bytes = fingerprint;
    put(bytes, std::to_string(reply.status));
    for (const auto& [name, value] : reply.headers) {
        put(bytes, name);
        put(bytes, value);
    }
    put(bytes, "");
    put(bytes, reply.body);
    return bytes;
}

std::optional<HttpReply> unpacked(std::string_view bytes) {
    HttpReply reply{.replayed = true};
    const auto status = take(bytes);
    if (!status) return std::nullopt;
    std::from_chars(status->data(), status->data() + status->size(), reply.status);
    for (;;) {
        const auto name = take(bytes);
        if (!name) return std::nullopt;
        if (name->empty()) break;
        const auto value = take(bytes);
        if (!value) return std::nullopt;
        reply.headers.emplace_back(*name, *value);
    }
    const auto body = take(bytes);
    if (!body) return std::nullopt;
    reply.body = *body;
    return reply;
}

std::string json_text(const std::string& text) {
    std::string out = "\"";
    for (const char character : text) {
        if (character == '"' || character == '\\') out += '\\';
        out += static_cast<unsigned char>(character) < 0x20 ? ' ' : character;
    }
    return out + "\"";
}

bool printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char character) { return character >= 0x20 && character <= 0x7e; });
}

}  // namespace

HttpReply HttpGuard::refuse(unsigned status, const std::string& detail) const {
    HttpReply reply;
    if (options_.refusal) {
        reply = options_.refusal(status, detail);
    } else {
        reply.headers.emplace_back("content-type", "application/problem+json");
        reply.body = "{\"status\":" + std::to_string(status) + ",\"detail\":" + json_text(detail) + "}";
    }
    reply.status = status;
    if (status == 409 || status == 503) reply.retry_after = options_.retry_after;
    return reply;
}

HttpQuestion HttpGuard::read(const HttpCall& call) const {
    HttpQuestion question{*this};
    if (!call.key) {
        if (options_.key_required) {
            question.refused_ = refuse(400,
                                       "this request needs a header Idempotency-Key: a new one for each new request, the "
                                       "same one when it is repeated");
        }
        return question;
    }
    if (call.key->empty() || call.key->size() > key_bytes_max || !printable(*call.key)) {
        question.refused_ = refuse(400, "Idempotency-Key has " + std::to_string(call.key->size()) + " bytes; it has 1 to " +
                                            std::to_string(key_bytes_max) + ", all printable ASCII");
        return question;
    }
    question.guarded_ = true;
    question.id_ = MessageId{digest({call.caller, *call.key})};
    question.fingerprint_ = text_of(digest({call.method, call.target, call.body}));
    return question;
}

GuardKey HttpQuestion::guard_key() const { return {guard_.options().group, id_}; }

std::string HttpQuestion::lease_id() const { return id_.to_string(); }

EffectResult HttpQuestion::keep(HttpReply reply) {
    reply_ = std::move(reply);
    if (reply_->status >= 500) {
        return {Handled::retry, {}, "the application answered " + std::to_string(reply_->status)};
    }
    std::string bytes = packed(fingerprint_, *reply_);
    if (bytes.size() > guard_.options().reply_bytes_max) {
        const auto reason = "the answer of " + std::to_string(bytes.size()) +
                            " bytes is too large to be kept for a repeated "
                            "request, the limit is " +
                            std::to_string(guard_.options().reply_bytes_max) + "; nothing was changed";
        reply_ = guard_.refuse(500, reason);
        return {Handled::reject, {}, reason};
    }
    return {Handled::done, std::move(bytes)};
}

HttpReply HttpQuestion::replay(const std::string& kept, bool dropped) const {
    if (!dropped && kept.size() >= fingerprint_bytes) {
        if (kept.substr(0, fingerprint_bytes) != fingerprint_) {
            return guard_.refuse(422, "this Idempotency-Key was used for another request: a new request needs a new key");
        }
        if (auto reply = unpacked(std::string_view{kept}.substr(fingerprint_bytes))) return *reply;
    }
    return guard_.refuse(500, "this request was handled before, and its answer was not kept; ask for the result instead");
}

HttpReply HttpQuestion::failed(const std::string& reason) const { return reply_ ? *reply_ : guard_.refuse(503, reason); }

HttpReply HttpQuestion::answer(const OnceOutcome& outcome) const {
    switch (outcome.handled) {
        case Handled::done: return reply_ ? *reply_ : replay(outcome.result, false);
        case Handled::already_done: return replay(outcome.result, false);
        case Handled::reject: return reply_ ? *reply_ : guard_.refuse(500, outcome.reason);
        case Handled::retry: break;
    }
    if (outcome.error && outcome.error->code() == ErrorCode::busy && !reply_) {
        return guard_.refuse(409, "the first request with this Idempotency-Key is still being handled; repeat it later");
    }
    // Its changes were rolled back, whatever it answered.
    return reply_ && reply_->status >= 500 ? *reply_ : guard_.refuse(503, outcome.reason);
}

HttpReply HttpQuestion::answer(const LeaseOutcome& outcome) const {
    switch (outcome.state) {
        case LeaseOutcome::State::done: return reply_ ? *reply_ : failed(outcome.reason);
        case LeaseOutcome::State::already_done: return replay(outcome.result, outcome.result_dropped);
        case LeaseOutcome::State::conflict:
            return guard_.refuse(422, "this Idempotency-Key was used for another request: a new request needs a new key");
        case LeaseOutcome::State::in_progress: {
            auto reply =
                guard_.refuse(409, "the first request with this Idempotency-Key is still being handled; repeat later");
            reply.retry_after =
                std::max(std::chrono::ceil<std::chrono::seconds>(outcome.retry_after), std::chrono::seconds{1});
            return reply;
        }
        case LeaseOutcome::State::retry: return failed(outcome.reason);
        case LeaseOutcome::State::reject: break;
    }
    return reply_ ? *reply_ : guard_.refuse(500, outcome.reason);
}

HttpReply answer_under_lease(const HttpGuard& edge, LeaseGuard& guard, const HttpCall& call,
                             const std::function<HttpReply()>& application) {
    auto question = edge.read(call);
    if (question.refused()) return *question.refused();
    if (!question.guarded()) return application();
    return question.answer(
        guard.run(question.lease_id(), question.fingerprint(), [&](HeldLease&) { return question.keep(application()); }));
}

}  // namespace hufu::idempotency
