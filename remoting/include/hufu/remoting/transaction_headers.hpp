// The typed headers of transactions: END (37), its answer, the broker's question (39), and 323. Rules: headers.hpp.
#pragma once

#include <cstdint>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::remoting {

/// 37. Names one half by where it stands in the broker's queue of halves and in its log.
struct EndTransactionRequest {
    std::string_view producer_group = {};
    std::string_view topic = {};  ///< only newer clients say it
    std::int64_t half_queue_offset = 0;
    std::int64_t half_log_offset = 0;
    std::int32_t verdict = 0;  ///< sys_flag::transaction_commit, _rollback or _none; off the wire any number
    bool from_check = false;   ///< answers a question (39)
    std::string_view message_id = {};
    std::string_view transaction_id = {};
    std::string_view broker_name = {};
    std::string_view reason = {};  ///< a sentence for a person; written as a field of our own, read from the remark too

    static Result<EndTransactionRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// Answer to 37 of Hufu's broker (RocketMQ's has no fields: `state` is then empty).
struct EndTransactionResponse {
    std::string_view state = {};  ///< one of transaction_state
    bool decided_before = false;  ///< this request changed nothing

    static Result<EndTransactionResponse> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 39, one-way. The body is the half's record with the topic and queue it is meant for.
struct CheckTransactionRequest {
    std::int64_t half_queue_offset = 0;
    std::int64_t half_log_offset = 0;
    std::string_view message_id = {};
    std::string_view transaction_id = {};
    std::string_view offset_message_id = {};
    std::string_view topic = {};
    std::string_view broker_name = {};
    std::int32_t times = 0;    ///< Hufu's own: questions answered so far, this one not counted
    bool answers_end = false;  ///< Hufu's own: the broker answers an END that is not one-way

    static Result<CheckTransactionRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

/// 323: a parked half is checked again.
struct ResumeCheckRequest {
    std::string_view topic = {};
    std::string_view message_id = {};  ///< the offset message id, or UNIQ_KEY

    static Result<ResumeCheckRequest> decode(const CommandView& command);
    void write(CommandWriter& writer) const;
};

}  // namespace hufu::remoting
