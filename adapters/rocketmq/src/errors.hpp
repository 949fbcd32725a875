// The one table from RocketMQ's response codes to what a caller may do next.
#pragma once

#include <string>

#include <hufu/core/error.hpp>
#include <hufu/core/publisher.hpp>
#include <hufu/remoting/command.hpp>

namespace hufu::rocketmq {

struct Refusal {
    PublishStatus publish_status = PublishStatus::in_doubt;  ///< when it answers a send
    Error error;
};

/// `response` is not a success. `doing` begins the sentence: "send to topic \"orders\"".
[[nodiscard]] Refusal response_error(const remoting::CommandView& response, const std::string& doing);

}  // namespace hufu::rocketmq
