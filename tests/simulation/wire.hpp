// What travels between simulated services and the bundled broker: whole frames of the remoting protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hufu/remoting/codes.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/transaction_headers.hpp>
#include <hufu/txmsg/half_publisher.hpp>

namespace hufu::simulation {

/// A command that came off the wire. Owns its bytes.
struct WireCommand {
    std::int32_t code = 0;
    std::int32_t opaque = 0;
    bool response = false;
    std::string remark;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;

    [[nodiscard]] std::string_view field(std::string_view name) const {
        for (const auto& [key, value] : fields)
            if (key == name) return value;
        return {};
    }
    [[nodiscard]] std::int64_t number(std::string_view name) const {
        return remoting::parse_integer(field(name)).value_or(-1);
    }
    [[nodiscard]] bool is(remoting::ResponseCode wanted) const { return code == static_cast<std::int32_t>(wanted); }
};

/// All commands in `bytes`, which end where a command ends.
[[nodiscard]] std::vector<WireCommand> decode_commands(std::string_view bytes);

template <class Header>
[[nodiscard]] std::string request_frame(remoting::RequestCode code, std::int32_t opaque, const Header& header,
                                        std::string_view body = {}, bool one_way = false) {
    std::string frame;
    remoting::append_request(frame, remoting::SerializeType::json, code, opaque, header, body, one_way);
    return frame;
}

/// SEND of a half. Names as the adapter writes them: group and handler in PGROUP, transaction and store beside.
[[nodiscard]] std::string half_frame(const txmsg::HalfContext& context, const Message& message, std::int32_t queue,
                                     std::int32_t opaque);
/// PGROUP of a handler.
[[nodiscard]] std::string producer_group(std::string_view group, std::string_view handler);

/// Where a half stands, as the answer to its SEND or a check names it.
struct HalfAddress {
    std::int64_t queue_offset = 0;
    std::int64_t log_offset = 0;

    [[nodiscard]] std::string token() const;
    [[nodiscard]] static HalfAddress of_token(std::string_view token);
};
[[nodiscard]] std::optional<HalfAddress> address_in_answer(const WireCommand& answer);

struct EndWords {
    std::string group;  ///< PGROUP
    std::string transaction;
    HalfAddress half;
    txmsg::Verdict verdict = txmsg::Verdict::unknown;
    bool from_check = false;
    std::string reason;
};
[[nodiscard]] std::string end_frame(const EndWords& words, std::int32_t opaque, bool one_way);

/// A message as a consumer sees it.
struct SeenMessage {
    std::string id;  ///< UNIQ_KEY
    std::uint64_t offset = 0;
    std::string body;
    bool intact = true;
};
/// The records in the body of an answer to a pull.
[[nodiscard]] std::vector<SeenMessage> pulled_messages(const WireCommand& answer);

}  // namespace hufu::simulation
