#include <hufu/remoting/transaction_headers.hpp>

#include "field_reader.hpp"

namespace hufu::remoting {

using header_fields::Reader;

namespace {

void field_unless_empty(CommandWriter& writer, std::string_view name, std::string_view value) {
    if (!value.empty()) writer.field(name, value);
}

}  // namespace

Result<EndTransactionRequest> EndTransactionRequest::decode(const CommandView& command) {
    EndTransactionRequest request;
    request.reason = command.remark;
    return Reader{command}
        .required("producerGroup", request.producer_group)
        .optional("topic", request.topic)
        .required("tranStateTableOffset", request.half_queue_offset)
        .required("commitLogOffset", request.half_log_offset)
        .required("commitOrRollback", request.verdict)
        .optional("fromTransactionCheck", request.from_check)
        .required("msgId", request.message_id)
        .optional("transactionId", request.transaction_id)
        .optional("bname", request.broker_name)
        .optional("hufuReason", request.reason)
        .finish(request);
}

void EndTransactionRequest::write(CommandWriter& writer) const {
    writer.field("producerGroup", producer_group);
    field_unless_empty(writer, "topic", topic);
    writer.field("tranStateTableOffset", half_queue_offset);
    writer.field("commitLogOffset", half_log_offset);
    writer.field("commitOrRollback", std::int64_t{verdict});
    writer.flag("fromTransactionCheck", from_check);
    writer.field("msgId", message_id);
    field_unless_empty(writer, "transactionId", transaction_id);
    field_unless_empty(writer, "bname", broker_name);
    field_unless_empty(writer, "hufuReason", reason);
}

Result<EndTransactionResponse> EndTransactionResponse::decode(const CommandView& command) {
    EndTransactionResponse response;
    return Reader{command}
        .optional("transactionState", response.state)
        .optional("decidedBefore", response.decided_before)
        .finish(response);
}

void EndTransactionResponse::write(CommandWriter& writer) const {
    field_unless_empty(writer, "transactionState", state);
    writer.flag("decidedBefore", decided_before);
}

Result<CheckTransactionRequest> CheckTransactionRequest::decode(const CommandView& command) {
    CheckTransactionRequest request;
    return Reader{command}
        .required("tranStateTableOffset", request.half_queue_offset)
        .required("commitLogOffset", request.half_log_offset)
        .optional("msgId", request.message_id)
        .optional("transactionId", request.transaction_id)
        .optional("offsetMsgId", request.offset_message_id)
        .optional("topic", request.topic)
        .optional("bname", request.broker_name)
        .optional("hufuCheckTimes", request.times)
        .optional("hufuAnswersEnd", request.answers_end)
        .finish(request);
}

void CheckTransactionRequest::write(CommandWriter& writer) const {
    writer.field("tranStateTableOffset", half_queue_offset);
    writer.field("commitLogOffset", half_log_offset);
    field_unless_empty(writer, "msgId", message_id);
    field_unless_empty(writer, "transactionId", transaction_id);
    field_unless_empty(writer, "offsetMsgId", offset_message_id);
    field_unless_empty(writer, "topic", topic);
    field_unless_empty(writer, "bname", broker_name);
    if (times != 0) writer.field("hufuCheckTimes", std::int64_t{times});
    if (answers_end) writer.flag("hufuAnswersEnd", true);
}

Result<ResumeCheckRequest> ResumeCheckRequest::decode(const CommandView& command) {
    ResumeCheckRequest request;
    return Reader{command}.optional("topic", request.topic).required("msgId", request.message_id).finish(request);
}

void ResumeCheckRequest::write(CommandWriter& writer) const {
    field_unless_empty(writer, "topic", topic);
    writer.field("msgId", message_id);
}

}  // namespace hufu::remoting
