// A Dispatcher on a Log on a simulated disk, with clients that speak whole frames and time that stands still.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/broker/message_keys.hpp>
#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/remoting/ids.hpp>
#include <hufu/remoting/properties.hpp>
#include <hufu/remoting/record.hpp>

#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace hufu::broker::testing {

using remoting::RequestCode;
using remoting::ResponseCode;

/// A command that the broker sent. Owns its bytes.
struct Sent {
    std::int32_t code = 0;
    std::int32_t opaque = 0;
    std::int32_t flag = 0;
    remoting::SerializeType serialize_type = remoting::SerializeType::json;
    std::string remark;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string body;

    [[nodiscard]] ResponseCode response() const { return static_cast<ResponseCode>(code); }
    [[nodiscard]] std::string field(std::string_view name) const {
        for (const auto& [key, value] : fields)
            if (key == name) return value;
        return "(absent)";
    }
};

/// A header given field by field, for commands whose header has no type.
struct RawFields {
    std::vector<std::pair<std::string, std::string>> fields;
    void write(remoting::CommandWriter& writer) const {
        for (const auto& [name, value] : fields) writer.field(name, value);
    }
};

inline std::vector<Sent> decode_all(std::string_view bytes) {
    std::vector<Sent> commands;
    remoting::FrameDecoder decoder;
    while (!bytes.empty()) {
        const auto room = decoder.prepare();
        const auto count = std::min(room.size(), bytes.size());
        std::copy_n(bytes.begin(), count, room.begin());
        decoder.commit(count);
        bytes.remove_prefix(count);
        for (auto frame = decoder.next().value(); frame; frame = decoder.next().value()) {
            remoting::CommandView view;
            remoting::decode_command(*frame, view).value();
            Sent sent{view.code, view.opaque,           view.flag, view.serialize_type, std::string{view.remark},
                      {},        std::string{view.body}};
            for (const auto& entry : view.fields.entries()) sent.fields.emplace_back(entry.name, entry.value);
            commands.push_back(std::move(sent));
        }
    }
    return commands;
}

class DispatchTest : public ::testing::Test {
protected:
    DispatchTest() {
        log_options.segment_bytes = 16U << 20U;
        log_options.first_segment_bytes = 1U << 20U;
        log_options.keys_of = keys_of_record;
        options.advertised = {{10, 0, 0, 1}, 10911};
    }

    void start() {
        log = Log::open(disk.directory(), log_options, clock).value();
        dispatcher = std::make_unique<Dispatcher>(*log, options, ids, metrics, clock);
        client = connect();
    }
    /// The process dies and comes back on the same disk.
    void restart() {
        dispatcher.reset();
        log.reset();
        disk.kill();
        start();
    }

    ConnectionId connect() { return dispatcher->connected({{10, 0, 0, 2}, 4711}); }
    [[nodiscard]] SteadyTime now() const { return clock.steady_now(); }
    void advance(std::chrono::milliseconds by) {
        clock.now_ms += by.count();
        dispatcher->tick(now());
    }

    /// Hands one encoded command over; the result of `receive`.
    Result<void> deliver(ConnectionId from, std::string frame) {
        remoting::FrameDecoder decoder;
        const auto room = decoder.prepare(frame.size());
        std::copy(frame.begin(), frame.end(), room.begin());
        decoder.commit(frame.size());
        const auto cut = decoder.next();
        if (!cut) return cut.error();
        return dispatcher->receive(from, **cut, now());
    }

    template <class Header>
    void request(ConnectionId from, RequestCode code, std::int32_t opaque, const Header& header, std::string_view body = {},
                 bool one_way = false, remoting::SerializeType form = remoting::SerializeType::json) {
        std::string frame;
        remoting::append_request(frame, form, code, opaque, header, body, one_way);
        ASSERT_TRUE(deliver(from, std::move(frame)));
    }

    /// Makes everything durable and tells the dispatcher.
    void settle_log() {
        for (const Outcome& outcome : testing::settle(*log)) dispatcher->settled(outcome, now());
    }

    std::vector<Sent> take(ConnectionId connection) {
        std::vector<ConnectionId> ready;
        dispatcher->take_ready(ready);
        std::string bytes;
        dispatcher->take_output(connection, bytes);
        dispatcher->written(connection, bytes.size());
        return decode_all(bytes);
    }
    Sent take_one(ConnectionId connection) {
        auto commands = take(connection);
        EXPECT_EQ(commands.size(), 1U);
        return commands.empty() ? Sent{} : std::move(commands.front());
    }

    /// One request, made durable where it stores something, and its answer.
    template <class Header>
    Sent ask(RequestCode code, const Header& header, std::string_view body = {}) {
        request(client, code, 77, header, body);
        settle_log();
        return take_one(client);
    }

    Sent send(std::string_view topic, std::int32_t queue, std::string_view body, std::string_view properties = {}) {
        return ask(RequestCode::send_message_v2, send_header(topic, queue, properties), body);
    }
    static remoting::SendRequest send_header(std::string_view topic, std::int32_t queue, std::string_view properties = {}) {
        remoting::SendRequest header;
        header.producer_group = "producers";
        header.topic = topic;
        header.default_topic_queues = 1024;  // as many as the broker gives
        header.queue_id = queue;
        header.born_timestamp = 42;
        header.properties = properties;
        return header;
    }
    /// A pull that brings its own subscription.
    static remoting::PullRequest pull_header(std::string_view topic, std::int32_t queue, std::int64_t offset,
                                             std::string_view tags = "*") {
        remoting::PullRequest header;
        header.consumer_group = "consumers";
        header.topic = topic;
        header.queue_id = queue;
        header.queue_offset = offset;
        header.sys_flag = remoting::pull_flag::subscription | remoting::pull_flag::suspend;
        header.suspend_timeout_ms = 15'000;
        header.subscription = tags;
        return header;
    }
    Sent beat(ConnectionId from, std::string_view client_id, std::string_view group, std::string_view topic,
              std::string_view expression = "*") {
        remoting::Heartbeat heartbeat;
        heartbeat.client_id = client_id;
        remoting::ConsumerData consumer;
        consumer.group = group;
        consumer.subscriptions.push_back({std::string{topic}, std::string{expression}, 1, "TAG"});
        heartbeat.consumers.push_back(consumer);
        request(from, RequestCode::heartbeat, 5, remoting::NoFields{}, heartbeat.to_json());
        settle_log();
        auto commands = take(from);
        EXPECT_FALSE(commands.empty());
        return commands.empty() ? Sent{} : commands.front();
    }

    /// The bodies in the answer to a pull.
    static std::vector<std::string> bodies(const Sent& pulled) {
        std::vector<std::string> texts;
        std::span<const std::byte> rest = std::as_bytes(std::span{pulled.body});
        while (!rest.empty()) {
            const auto record = remoting::decode_record(rest).value();
            texts.emplace_back(record.body);
            rest = rest.subspan(remoting::peek_record_size(rest));
        }
        return texts;
    }

    SeededRandom random{1};
    simulation::SimDisk disk{random};
    StoppedClock clock;
    MessageIdGenerator ids{clock, random};
    MetricsRegistry metrics;
    LogOptions log_options;
    DispatcherOptions options;
    std::unique_ptr<Log> log;
    std::unique_ptr<Dispatcher> dispatcher;
    ConnectionId client;
};

}  // namespace hufu::broker::testing
