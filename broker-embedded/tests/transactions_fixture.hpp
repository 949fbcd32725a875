// A broker with producers of transaction messages: halves, verdicts, checks.
#pragma once

#include <map>

#include <hufu/remoting/transaction_headers.hpp>

#include "dispatch_fixture.hpp"

namespace hufu::broker::testing {

/// What a client knows of a half: where it stands, and its id.
struct HalfSent {
    Sent answer;
    std::int64_t queue_offset = -1;
    std::int64_t log_offset = -1;
    std::string transaction;
};

class TransactionsTest : public DispatchTest {
protected:
    static constexpr std::int32_t commit = remoting::sys_flag::transaction_commit;
    static constexpr std::int32_t rollback = remoting::sys_flag::transaction_rollback;
    static constexpr std::int32_t unknown = remoting::sys_flag::transaction_none;

    TransactionsTest() {
        clock.now_ms = 1'800'000'000'000;
        options.default_queues = 2;
        options.transactions.first_check = std::chrono::milliseconds{6'000};
        options.transactions.check_interval = std::chrono::milliseconds{10'000};
        options.transactions.check_interval_max = std::chrono::milliseconds{40'000};
        options.transactions.budget = std::chrono::hours{1};
    }

    static std::string half_properties(std::string_view id, std::string_view transaction = {}, std::string_view more = {}) {
        std::string properties;
        remoting::append_property(properties, "TRAN_MSG", "true");
        remoting::append_property(properties, "PGROUP", "payments");
        remoting::append_property(properties, "UNIQ_KEY", id);
        if (!transaction.empty()) remoting::append_property(properties, "HUFU_TX_ID", transaction);
        properties += more;
        return properties;
    }
    static std::string property(std::string_view name, std::string_view value) {
        std::string text;
        remoting::append_property(text, name, value);
        return text;
    }

    remoting::SendRequest half_header(std::string_view topic, std::string_view properties) const {
        remoting::SendRequest header = send_header(topic, 0, properties);
        header.producer_group = "payments";
        header.sys_flag = remoting::sys_flag::transaction_prepared;
        return header;
    }
    static HalfSent half_of(Sent answer) {
        HalfSent half;
        if (const auto id = remoting::OffsetMessageId::parse(answer.field("msgId"))) half.log_offset = id->offset;
        if (answer.response() == ResponseCode::success) half.queue_offset = std::stoll(answer.field("queueOffset"));
        half.transaction = answer.field("transactionId");
        half.answer = std::move(answer);
        return half;
    }
    HalfSent half(std::string_view topic, std::string_view body, std::string_view properties) {
        return half_of(ask(RequestCode::send_message_v2, half_header(topic, properties), body));
    }
    HalfSent half(std::string_view body = "paid", std::string_view id = "id-1") {
        return half("orders", body, half_properties(id));
    }

    static remoting::EndTransactionRequest end_header(const HalfSent& half, std::int32_t verdict, bool from_check = false) {
        remoting::EndTransactionRequest header;
        header.producer_group = "payments";
        header.half_queue_offset = half.queue_offset;
        header.half_log_offset = half.log_offset;
        header.verdict = verdict;
        header.from_check = from_check;
        header.message_id = half.transaction;
        header.transaction_id = half.transaction;
        return header;
    }
    Sent end(const HalfSent& half, std::int32_t verdict, bool from_check = false) {
        return ask(RequestCode::end_transaction, end_header(half, verdict, from_check));
    }

    /// Bodies of what consumers see of the queue.
    std::vector<std::string> visible(std::string_view topic = "orders", std::int32_t queue = 0) {
        std::vector<std::string> texts;
        for (const auto& record : records(topic, queue)) texts.push_back(record.body);
        return texts;
    }
    struct Seen {
        std::string body;
        std::string topic;
        std::int32_t queue_id = 0;
        std::int64_t queue_offset = 0;
        std::int32_t sys_flag = 0;
        std::int64_t prepared_offset = 0;
        std::string properties;
        [[nodiscard]] std::string property(std::string_view name) const {
            return std::string{remoting::PropertiesView{properties}.get(name).value_or("(absent)")};
        }
    };
    static std::vector<Seen> split_records(std::span<const std::byte> rest) {
        std::vector<Seen> seen;
        while (!rest.empty()) {
            const auto record = remoting::decode_record(rest).value();
            seen.push_back({std::string{record.body}, std::string{record.topic}, record.queue_id, record.queue_offset,
                            record.sys_flag, record.prepared_transaction_offset, std::string{record.properties}});
            rest = rest.subspan(remoting::peek_record_size(rest));
        }
        return seen;
    }
    std::vector<Seen> records(std::string_view topic, std::int32_t queue) {
        const auto handle = log->find_queue(topic, queue);
        if (!handle) return {};
        std::vector<std::byte> bytes;
        for (std::uint64_t offset = log->min_offset(*handle);;) {
            const auto result = log->read(*handle, offset, {}, {}, bytes);
            if (result.status == ReadStatus::at_end || result.status == ReadStatus::beyond) break;
            offset = result.next_offset;
        }
        return split_records(bytes);
    }

    /// The client becomes a producer of the group.
    void join(ConnectionId connection, std::string_view group = "payments", std::string_view client_id = "c1") {
        remoting::Heartbeat heartbeat;
        heartbeat.client_id = client_id;
        heartbeat.producer_groups.push_back(std::string{group});
        request(connection, RequestCode::heartbeat, 5, remoting::NoFields{}, heartbeat.to_json());
        for (Sent& command : take(connection))
            if (command.code == static_cast<std::int32_t>(RequestCode::check_transaction_state))
                kept_[connection.slot].push_back(std::move(command));
    }

    /// Time passes, step by step, with all that becomes due.
    void pass(std::chrono::milliseconds time, std::chrono::milliseconds step = std::chrono::milliseconds{1'000}) {
        for (auto left = time; left.count() > 0; left -= step) {
            advance(std::min(step, left));
            settle_log();
        }
    }
    /// The checks that the connection was sent.
    std::vector<Sent> checks(ConnectionId connection) {
        std::vector<Sent> found = std::exchange(kept_[connection.slot], {});
        for (Sent& command : take(connection))
            if (command.code == static_cast<std::int32_t>(RequestCode::check_transaction_state))
                found.push_back(std::move(command));
        return found;
    }
    static HalfSent half_of_check(const Sent& check) {
        HalfSent half;
        half.queue_offset = std::stoll(check.field("tranStateTableOffset"));
        half.log_offset = std::stoll(check.field("commitLogOffset"));
        half.transaction = check.field("transactionId");
        return half;
    }

    std::map<std::uint32_t, std::vector<Sent>> kept_;  ///< checks that came while something else was read

    std::int64_t metric(std::string_view name) {
        const std::string text = metrics.text();
        const auto at = text.find("\n" + std::string{name} + " ");
        return at == std::string::npos ? -1 : std::stoll(text.substr(at + 2 + name.size()));
    }
};

}  // namespace hufu::broker::testing
