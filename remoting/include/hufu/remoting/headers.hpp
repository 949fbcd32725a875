// The typed headers of the commands Hufu speaks. Strings are views: into the frame when decoded, the caller's when written.
//
// `decode` reads a command's ext fields; a missing or malformed required field is `protocol` and names the field. `write`
// adds the fields to a writer. Numbers carry the protocol's own defaults where a field may be absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::remoting {

/// 10 and 324 (names in full), 310, 320 and 325 (one-letter names).
struct SendRequest {
    std::string_view producer_group = {};
    std::string_view topic = {};
    std::string_view default_topic = "TBW102";
    std::int32_t default_topic_queues = 4;
    std::int32_t queue_id = -1;  ///< negative: the broker picks a queue
    std::int32_t sys_flag = 0;
    std::int64_t born_timestamp = 0;  ///< milliseconds since 1970 UTC
    std::int32_t flag = 0;
    std::string_view properties = {};  ///< encoded, see properties.hpp; of a batch: of the whole, usually empty
    std::int32_t reconsume_times = 0;
    std::optional<std::int32_t> reconsume_times_max = {};
    bool unit_mode = false;
    bool batch = false;  ///< the body is a batch (batch.hpp); decides alone, whatever the code
    std::string_view broker_name = {};

    static Result<SendRequest> decode(const CommandView& command);
    /// One-letter names: for 310 and 320.
    void write(CommandWriter& writer) const;
};

/// What an answer's ext field DURABILITY says (Hufu's own; other brokers leave it out, other clients pass it over).
namespace durability {
inline constexpr std::string_view sync = "sync";    ///< the message was on disk before the answer left
inline constexpr std::string_view async = "async";  ///< the broker's log has taken it; power loss may lose the last moments
}  // namespace durability

/// Answer to a send. Clients read it for codes 0, 10, 11 and 12.
struct SendResponse {
    std::string_view message_id = {};  ///< offset message id (ids.hpp); of a batch: joined with commas
    std::int32_t queue_id = 0;
    std::int64_t queue_offset = 0;  ///< of a batch: of its first message
    std::string_view transaction_id = {};
    std::string_view durability = {};     ///< see the namespace of that name; empty: not said
    std::string_view recall_handle = {};  ///< of a message for a later time: what a recall (370) takes

    static Result<SendResponse> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 11.
struct PullRequest {
    std::string_view consumer_group = {};
    std::string_view topic = {};
    std::int32_t queue_id = 0;
    std::int64_t queue_offset = 0;
    std::int32_t messages_max = 32;
    std::int32_t sys_flag = 0;  ///< pull_flag bits
    std::int64_t commit_offset = 0;
    std::int64_t suspend_timeout_ms = 15'000;
    std::string_view subscription = {};
    std::int64_t sub_version = 0;
    std::string_view expression_type = "TAG";
    std::optional<std::int32_t> bytes_max = {};

    static Result<PullRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// Answer to a pull, for codes 0, 19, 20 and 21.
struct PullResponse {
    std::int64_t suggest_which_broker_id = 0;
    std::int64_t next_begin_offset = 0;
    std::int64_t min_offset = 0;
    std::int64_t max_offset = 0;

    static Result<PullResponse> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 33. The body of the answer is the stored record.
struct ViewMessageRequest {
    std::int64_t offset = 0;  ///< in the log

    static Result<ViewMessageRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 12. The body of the answer is the stored records, back to back.
struct QueryMessageRequest {
    std::string_view topic = {};
    std::string_view key = {};
    std::int32_t messages_max = 32;
    std::int64_t begin_timestamp = 0;
    std::int64_t end_timestamp = 0;
    bool unique_key = false;  ///< `key` is a UNIQ_KEY

    static Result<QueryMessageRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// Answer to 12.
struct QueryMessageResponse {
    std::int64_t index_timestamp = 0;  ///< what was stored before is indexed
    std::int64_t index_offset = 0;     ///< the same, as offset in the log

    static Result<QueryMessageResponse> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 321.
struct QueryConsumeQueueRequest {
    std::string_view topic = {};
    std::int32_t queue_id = 0;
    std::int64_t index = 0;
    std::int32_t count = 0;
    std::string_view consumer_group = {};

    static Result<QueryConsumeQueueRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 14.
struct QueryOffsetRequest {
    std::string_view consumer_group = {};
    std::string_view topic = {};
    std::int32_t queue_id = 0;
    std::optional<bool> set_zero_if_not_found = {};

    static Result<QueryOffsetRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 15. The answer has no fields.
struct UpdateOffsetRequest {
    std::string_view consumer_group = {};
    std::string_view topic = {};
    std::int32_t queue_id = 0;
    std::int64_t commit_offset = 0;

    static Result<UpdateOffsetRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 30 and 31.
struct QueueRequest {
    std::string_view topic = {};
    std::int32_t queue_id = 0;

    static Result<QueueRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 29.
struct SearchOffsetRequest {
    std::string_view topic = {};
    std::int32_t queue_id = 0;
    std::int64_t timestamp = 0;  ///< milliseconds since 1970 UTC
    bool upper = false;          ///< the last message at or before it, instead of the first at or after it

    static Result<SearchOffsetRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// Answer to 14, 29, 30 and 31.
struct OffsetResponse {
    std::int64_t offset = 0;

    static Result<OffsetResponse> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// Answer to 34.
struct HeartbeatResponse {
    bool supports_v2 = false;
    bool subscriptions_changed = true;

    static Result<HeartbeatResponse> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 35.
struct UnregisterRequest {
    std::string_view client_id = {};
    std::string_view producer_group = {};
    std::string_view consumer_group = {};

    static Result<UnregisterRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 38 and 40.
struct GroupRequest {
    std::string_view consumer_group = {};

    static Result<GroupRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 105.
struct RouteRequest {
    std::string_view topic = {};

    static Result<RouteRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// A command without ext fields (34, 41, 42 and plain answers).
struct NoFields {
    void write(CommandWriter&) const {}
};

/// Appends a whole request to `out`.
template <class Header>
void append_request(std::string& out, SerializeType serialize_type, RequestCode code, std::int32_t opaque,
                    const Header& header, std::string_view body = {}, bool one_way = false) {
    auto writer = CommandWriter::request(out, serialize_type, code, opaque, one_way);
    header.write(writer);
    writer.finish(body);
}

/// Appends a whole answer to `request` to `out`.
template <class Header>
void append_response(std::string& out, const CommandView& request, ResponseCode code, const Header& header,
                     std::string_view body = {}, std::string_view remark = {}) {
    auto writer = CommandWriter::response(out, request, code, remark);
    header.write(writer);
    writer.finish(body);
}

}  // namespace hufu::remoting
