#include "errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hufu::kafka {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Case {
    rd_kafka_resp_err_t error;
    Persisted persisted;
    PublishStatus status;
    ErrorCode code;
    Disposition disposition;
};

TEST(Errors, BecomeTheCallersChoices) {
    const Case cases[] = {
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, Persisted::no, PublishStatus::not_sent, ErrorCode::timeout, Disposition::retry},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, Persisted::possibly, PublishStatus::in_doubt, ErrorCode::timeout,
         Disposition::in_doubt},
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, Persisted::no, PublishStatus::not_sent, ErrorCode::cancelled, Disposition::retry},
        {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, Persisted::possibly, PublishStatus::in_doubt, ErrorCode::cancelled,
         Disposition::in_doubt},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Persisted::no, PublishStatus::not_sent, ErrorCode::not_found,
         Disposition::retry},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Persisted::no, PublishStatus::not_sent, ErrorCode::permission,
         Disposition::retry},
        {RD_KAFKA_RESP_ERR_INVALID_RECORD, Persisted::no, PublishStatus::rejected, ErrorCode::invalid_argument,
         Disposition::reject},
        {RD_KAFKA_RESP_ERR_INVALID_RECORD, Persisted::possibly, PublishStatus::in_doubt, ErrorCode::invalid_argument,
         Disposition::in_doubt},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Persisted::no, PublishStatus::not_sent, ErrorCode::unavailable,
         Disposition::retry},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, Persisted::possibly, PublishStatus::in_doubt,
         ErrorCode::unavailable, Disposition::in_doubt},
        {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, Persisted::possibly, PublishStatus::in_doubt, ErrorCode::internal,
         Disposition::in_doubt},
    };
    for (const Case& one : cases) {
        const auto outcome = outcome_of(one.error, one.persisted, true, "orders");
        EXPECT_EQ(outcome.status, one.status) << rd_kafka_err2name(one.error);
        EXPECT_EQ(outcome.error.code(), one.code) << rd_kafka_err2name(one.error);
        EXPECT_EQ(outcome.error.disposition(), one.disposition) << rd_kafka_err2name(one.error);
        EXPECT_THAT(outcome.error.text(), AllOf(HasSubstr("\"orders\""), HasSubstr(rd_kafka_err2name(one.error))));
    }
}

TEST(Errors, OnlyAStoredRecordIsConfirmed) {
    EXPECT_EQ(outcome_of(RD_KAFKA_RESP_ERR_NO_ERROR, Persisted::yes, true, "t").status, PublishStatus::confirmed);
    EXPECT_EQ(outcome_of(RD_KAFKA_RESP_ERR_NO_ERROR, Persisted::possibly, true, "t").status, PublishStatus::in_doubt);
}

TEST(Errors, ARefusedBatchDoesNotCondemnTheRecordsInIt) {
    const auto alone = outcome_of(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, Persisted::no, true, "t");
    EXPECT_EQ(alone.status, PublishStatus::rejected);
    const auto among_others = outcome_of(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, Persisted::no, false, "t");
    EXPECT_EQ(among_others.status, PublishStatus::not_sent);
    EXPECT_EQ(among_others.error.code(), ErrorCode::too_large);
    EXPECT_THAT(among_others.error.text(), HasSubstr("batch_bytes_max"));
}

}  // namespace
}  // namespace hufu::kafka
