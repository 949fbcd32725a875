// From request code to the function that answers it. Each family of requests adds its own rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <hufu/core/assert.hpp>
#include <hufu/remoting/codes.hpp>

namespace hufu::broker {

class DispatchState;
struct Request;

using Handler = void (*)(DispatchState&, const Request&);

/// Filled once at start, then only read.
class HandlerTable {
public:
    void add(remoting::RequestCode code, Handler handler) {
        const Row row{static_cast<std::int32_t>(code), handler};
        const auto at = std::lower_bound(rows_.begin(), rows_.end(), row);
        HUFU_ASSERT(at == rows_.end() || at->code != row.code);
        rows_.insert(at, row);
    }
    /// Null for a code that nobody answers.
    [[nodiscard]] Handler find(std::int32_t code) const noexcept {
        const auto at = std::lower_bound(rows_.begin(), rows_.end(), Row{code, nullptr});
        return at != rows_.end() && at->code == code ? at->handler : nullptr;
    }
    [[nodiscard]] std::vector<std::int32_t> codes() const {
        std::vector<std::int32_t> codes;
        for (const Row& row : rows_) codes.push_back(row.code);
        return codes;
    }

private:
    struct Row {
        std::int32_t code;
        Handler handler;
        friend bool operator<(const Row& left, const Row& right) noexcept { return left.code < right.code; }
    };
    std::vector<Row> rows_;
};

// One function per family, in the file of that family.

void add_filter_handlers(HandlerTable& table);             // filters.cpp
void add_find_handlers(HandlerTable& table);               // find.cpp
void add_group_handlers(HandlerTable& table);              // groups.cpp
void add_name_service_handlers(HandlerTable& table);       // name_service.cpp
void add_offset_handlers(HandlerTable& table);             // offsets.cpp
void add_pull_handlers(HandlerTable& table);               // pull.cpp
void add_recall_handlers(HandlerTable& table);             // recall.cpp
void add_send_handlers(HandlerTable& table);               // send.cpp
void add_broker_config_handlers(HandlerTable& table);      // broker_config.cpp
void add_consume_stats_handlers(HandlerTable& table);      // consume_stats.cpp
void add_runtime_info_handlers(HandlerTable& table);       // runtime_info.cpp
void add_topic_admin_handlers(HandlerTable& table);        // topic_admin.cpp
void add_transaction_handlers(HandlerTable& table);        // transaction_requests.cpp
void add_transaction_admin_handlers(HandlerTable& table);  // transaction_admin.cpp

}  // namespace hufu::broker
