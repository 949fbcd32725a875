// Looking into topics by place, as an operator does.
#pragma once

#include <memory>

#include <hufu/deadletter/topic_reader.hpp>
#include <hufu/kafka/client.hpp>

namespace hufu::kafka {

/// A consumer that joins no group and commits nothing. Queues are partition numbers. Reads what is committed only. Borrows
/// `log` and `clock`.
[[nodiscard]] Result<std::unique_ptr<deadletter::TopicReader>> open_topic_reader(ClientOptions client,
                                                                                 Clock& clock = system_clock(),
                                                                                 Log& log = no_log());

}  // namespace hufu::kafka
