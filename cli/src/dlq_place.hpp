// What every `hufu dlq` command takes: the broker, whose dead letters, which of them.
#pragma once

#include <memory>
#include <string>

#include <hufu/core/config.hpp>
#include <hufu/deadletter/letter.hpp>
#include <hufu/deadletter/redriver.hpp>
#include <hufu/deadletter/topic_reader.hpp>

namespace hufu::cli {

void add_broker(ConfigSchema& schema);
void add_place(ConfigSchema& schema);
void add_filter(ConfigSchema& schema);

/// "%DLQ%GROUP", or the topic itself. An error when neither or both are given.
[[nodiscard]] Result<std::string> dead_letter_topic_of(const Config& config);
[[nodiscard]] Result<deadletter::Filter> filter_of(const Config& config);
/// The filter in words, for the audit: the flags that were given.
[[nodiscard]] std::string filter_text(const Config& config);

/// The dead letters of a broker and what the audit says of them.
struct Letters {
    std::unique_ptr<deadletter::TopicReader> reader;
    deadletter::Ledger ledger;
};
[[nodiscard]] Result<Letters> open_letters(const Config& config);

/// An error about a missing topic names those that exist.
[[nodiscard]] Error with_way_out(const Error& error, const std::string& topic, deadletter::TopicReader& reader);

}  // namespace hufu::cli
