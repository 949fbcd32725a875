#include "errors.hpp"

namespace hufu::kafka {
namespace {

struct Row {
    rd_kafka_resp_err_t error;
    ErrorCode code;
    Disposition disposition;  // reject: this record will never be accepted
    const char* way_out;
};

constexpr auto retry = Disposition::retry;
constexpr auto reject = Disposition::reject;

constexpr Row table[] = {
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, ErrorCode::timeout, retry, "the broker did not confirm it in time"},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, ErrorCode::timeout, retry, "no answer in time"},
    {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, ErrorCode::timeout, retry, "no answer in time"},
    {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, ErrorCode::timeout, retry, "replicas did not confirm it in time"},
    {RD_KAFKA_RESP_ERR__TRANSPORT, ErrorCode::unavailable, retry, "the broker is not reachable"},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, ErrorCode::unavailable, retry, "no broker is reachable"},
    {RD_KAFKA_RESP_ERR__RESOLVE, ErrorCode::unavailable, retry, "the host name has no address"},
    {RD_KAFKA_RESP_ERR__WAIT_COORD, ErrorCode::unavailable, retry, "the coordinator is not known yet"},
    {RD_KAFKA_RESP_ERR__NODE_UPDATE, ErrorCode::unavailable, retry, "the cluster is changing"},
    {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, ErrorCode::unavailable, retry, "the partition has no leader now"},
    {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, ErrorCode::unavailable, retry, "the partition's leader changes"},
    {RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, ErrorCode::unavailable, retry, "the broker is away"},
    {RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, ErrorCode::unavailable, retry, "the replica is away"},
    {RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, ErrorCode::unavailable, retry, "the broker is not reachable"},
    {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::unavailable, retry, "the coordinator is starting"},
    {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, ErrorCode::unavailable, retry, "the coordinator is away"},
    {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, ErrorCode::unavailable, retry, "the coordinator changes"},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, ErrorCode::unavailable, retry, "fewer replicas than min.insync.replicas"},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ErrorCode::unavailable, retry,
     "written, but to fewer replicas than min.insync.replicas"},
    {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, ErrorCode::unavailable, retry, "the broker's disk failed; see its log"},
    {RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, ErrorCode::busy, retry, "the quota is used up; send again later"},
    {RD_KAFKA_RESP_ERR__QUEUE_FULL, ErrorCode::busy, retry, "the producer's queue is full; send again later"},
    {RD_KAFKA_RESP_ERR__PURGE_QUEUE, ErrorCode::cancelled, retry, "the producer is closing or starts anew"},
    {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, ErrorCode::cancelled, retry, "the producer is closing or starts anew"},
    {RD_KAFKA_RESP_ERR__DESTROY, ErrorCode::cancelled, retry, "the client is closing"},
    {RD_KAFKA_RESP_ERR__FATAL, ErrorCode::cancelled, retry, "the producer starts anew"},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ErrorCode::not_found, retry,
     "create the topic, or let the broker create topics by itself"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ErrorCode::not_found, retry,
     "create the topic, or let the broker create topics by itself"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ErrorCode::not_found, retry, "the topic has no such partition now"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorCode::permission, retry, "grant the client the right to the topic"},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ErrorCode::permission, retry, "grant the client the right to the group"},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ErrorCode::permission, retry,
     "grant the client IdempotentWrite on the cluster"},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ErrorCode::permission, retry, "check user and password"},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, ErrorCode::permission, retry, "check user and password"},
    {RD_KAFKA_RESP_ERR__SSL, ErrorCode::permission, retry, "check certificates and security.protocol"},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ErrorCode::too_large, reject,
     "raise max.message.bytes of the topic, or put large content elsewhere and send its address"},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ErrorCode::too_large, reject, "raise segment.bytes of the topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ErrorCode::invalid_argument, reject, "the broker does not take this topic's name"},
    {RD_KAFKA_RESP_ERR_INVALID_MSG, ErrorCode::invalid_argument, reject,
     "the broker does not take this record; a compacted topic needs an ordering key"},
    {RD_KAFKA_RESP_ERR_INVALID_RECORD, ErrorCode::invalid_argument, reject,
     "the broker's checks refuse this record; a compacted topic needs an ordering key"},
    {RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, ErrorCode::invalid_argument, retry,
     "clocks differ by more than the topic allows (message.timestamp.before.max.ms, message.timestamp.after.max.ms)"},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, ErrorCode::invalid_argument, reject, "a policy of the broker refuses it"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, ErrorCode::wrong_version, reject,
     "use a broker of version 2.1 or later"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, ErrorCode::wrong_version, reject, "use a broker of version 2.1 or later"},
};

Row row_of(rd_kafka_resp_err_t error) {
    for (const Row& row : table) {
        if (row.error == error) {
            return row;
        }
    }
    return {error, ErrorCode::internal, retry, "see the logs of client and broker"};
}

std::string text_of(const Row& row, const std::string& doing) {
    return doing + ": " + rd_kafka_err2name(row.error) + " (" + rd_kafka_err2str(row.error) + "): " + row.way_out;
}

}  // namespace

PublishOutcome outcome_of(rd_kafka_resp_err_t error, Persisted persisted, bool alone, const std::string& topic) {
    PublishOutcome outcome;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        // Never without its message: an answer that proves nothing proves nothing.
        outcome.status = persisted == Persisted::yes ? PublishStatus::confirmed : PublishStatus::in_doubt;
        return outcome;
    }
    Row row = row_of(error);
    std::string doing = "a record for topic \"" + topic + "\" was not confirmed";
    if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !alone) {
        // The broker refuses the batch, not the record that is too large; alone, or among others, this one may fit.
        row.disposition = retry;
        row.way_out = "max.message.bytes of the topic is below this publisher's batch_bytes_max; raise it or lower that";
    }
    if (persisted == Persisted::no) {
        outcome.status = row.disposition == reject ? PublishStatus::rejected : PublishStatus::not_sent;
        outcome.error = Error{row.code, row.disposition, text_of(row, doing)};
    } else {
        outcome.status = PublishStatus::in_doubt;
        outcome.error = Error{row.code, Disposition::in_doubt, text_of(row, doing)};
    }
    return outcome;
}

Error to_error(rd_kafka_resp_err_t error, const std::string& doing) {
    const Row row = row_of(error);
    return Error{row.code, row.disposition, text_of(row, doing)};
}

}  // namespace hufu::kafka
