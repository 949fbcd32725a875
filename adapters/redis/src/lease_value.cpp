#include "lease_value.hpp"

namespace hufu::redis {
namespace {

using idempotency::LeaseSeen;

constexpr char held_mark = 'L';
constexpr char done_mark = 'D';
constexpr std::size_t head = 1 + 16;         // mark and token
constexpr std::size_t done_head = head + 2;  // and whether the result was dropped, and the fingerprint's length

Error foreign(std::string_view value) {
    return Error{ErrorCode::corrupt, Disposition::fatal,
                 "a guard's key holds " + std::to_string(value.size()) +
                     " bytes that no guard has written: another program uses the same prefix; give this guard its own"};
}

}  // namespace

std::string held_value(const idempotency::LeaseRequest& request) {
    std::string value{held_mark};
    value += request.token.bytes();
    value += request.fingerprint;
    return value;
}

std::string done_value(const idempotency::LeaseRequest& request, const idempotency::LeaseResult& result) {
    std::string value{done_mark};
    value.reserve(done_head + request.fingerprint.size() + result.bytes.size());
    value += request.token.bytes();
    value += result.dropped ? '1' : '0';
    value += static_cast<char>(request.fingerprint.size());
    value += request.fingerprint;
    value += result.bytes;
    return value;
}

Result<LeaseSeen> read_value(std::string_view value, const idempotency::LeaseToken& token) {
    if (value.size() < head) return foreign(value);
    if (value.front() == held_mark) {
        const bool ours = value.substr(1, 16) == token.bytes();
        return LeaseSeen{.state = ours ? LeaseSeen::State::ours : LeaseSeen::State::in_progress,
                         .fingerprint = std::string{value.substr(head)}};
    }
    if (value.front() != done_mark || value.size() < done_head) return foreign(value);
    const auto length = static_cast<std::size_t>(static_cast<unsigned char>(value[head + 1]));
    if (value.size() < done_head + length) return foreign(value);
    return LeaseSeen{.state = LeaseSeen::State::done,
                     .fingerprint = std::string{value.substr(done_head, length)},
                     .result = std::string{value.substr(done_head + length)},
                     .result_dropped = value[head] == '1'};
}

std::string key_name(std::string_view prefix, const idempotency::LeaseKey& key) {
    std::string name{prefix};
    name += std::to_string(key.group.size());
    name += ':';
    name += key.group;
    name += ':';
    name += key.id;
    return name;
}

}  // namespace hufu::redis
