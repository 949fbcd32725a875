// The other side of a Cluster, in the test's hands: what was asked is looked at and answered one by one.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <hufu/core/random.hpp>
#include <hufu/remoting/bodies.hpp>
#include <hufu/remoting/command.hpp>
#include <hufu/testing/fake_clock.hpp>

#include "src/cluster.hpp"

namespace hufu::rocketmq {

inline const std::string name_server = "127.0.0.1:9876";
inline const std::string broker = "127.0.0.1:10911";

inline ClientOptions client_options() {
    ClientOptions options{.name_servers = {name_server}, .client_id = "me"};
    options.reconnect = RetrySchedule::capped(std::chrono::milliseconds{100}, std::chrono::milliseconds{100});
    return options;
}

inline remoting::TopicRoute route_of(std::int32_t queues) {
    return {{{.broker_name = "b", .read_queues = queues, .write_queues = queues, .perm = 6, .topic_sys_flag = 0}},
            {{.cluster = "c", .broker_name = "b", .addresses = {{0, broker}}}}};
}

/// A request as it arrived; the views of `command` stay valid.
struct Asked {
    std::string address;
    remoting::FrameDecoder decoder;
    remoting::CommandView command;
    [[nodiscard]] remoting::RequestCode code() const { return command.request_code(); }
    [[nodiscard]] std::string field(std::string_view name) const {
        return std::string{command.fields.get(name).value_or("(absent)")};
    }
};

class ScriptedPeer {
public:
    explicit ScriptedPeer(Cluster& cluster, testing::FakeClock& clock) : cluster_{cluster}, clock_{clock} {}

    std::map<std::string, std::int32_t> topics;  // name, queues: answered by itself
    std::set<std::string> down;                  // addresses that refuse connections
    std::deque<std::unique_ptr<Asked>> asked;    // not answered yet, oldest first

    /// Obeys the cluster's actions until there are none. `step` is the machine's own turn.
    template <class Step>
    void run(Step step) {
        for (;;) {
            step();
            auto actions = cluster_.take_actions();
            if (actions.empty()) {
                return;
            }
            for (Action& action : actions) {
                if (action.kind == Action::Kind::connect) {
                    if (down.contains(action.address)) {
                        cluster_.closed(now(), action.address, Error{ErrorCode::unavailable, Disposition::retry, "refused"});
                    } else {
                        cluster_.connected(now(), action.address);
                    }
                } else if (action.kind == Action::Kind::send) {
                    take(action.address, action.bytes);
                }
            }
        }
    }
    void run() {
        run([] {});
    }

    /// The oldest request with `code`, taken out.
    std::unique_ptr<Asked> take(remoting::RequestCode code) {
        for (auto request = asked.begin(); request != asked.end(); ++request) {
            if ((*request)->code() == code) {
                auto found = std::move(*request);
                asked.erase(request);
                return found;
            }
        }
        ADD_FAILURE() << "nobody asked " << to_string(code);
        return std::make_unique<Asked>();
    }
    [[nodiscard]] std::size_t count(remoting::RequestCode code) const {
        std::size_t found = 0;
        for (const auto& request : asked) {
            found += request->code() == code ? 1 : 0;
        }
        return found;
    }

    template <class Header>
    void answer(const Asked& request, remoting::ResponseCode code, const Header& header, std::string_view body = {},
                std::string_view remark = {}) {
        std::string frame;
        remoting::append_response(frame, request.command, code, header, body, remark);
        deliver(request.address, frame);
    }
    void refuse(const Asked& request, remoting::ResponseCode code, std::string_view remark = "no") {
        answer(request, code, remoting::NoFields{}, {}, remark);
    }
    /// Bytes of the peer's own making.
    void deliver(const std::string& address, std::string_view frame) {
        Asked holder;
        ASSERT_TRUE(decode(holder, frame));
        cluster_.received(now(), address, holder.command);
    }
    void lose(const std::string& address) {
        std::erase_if(asked, [&](const auto& request) { return request->address == address; });
        cluster_.closed(now(), address, Error{ErrorCode::unavailable, Disposition::retry, "reset by peer"});
    }
    void advance(std::chrono::milliseconds by) {
        clock_.advance(by);
        cluster_.tick(now());
    }
    [[nodiscard]] SteadyTime now() const { return clock_.steady_now(); }

private:
    static bool decode(Asked& into, std::string_view frame) {
        std::memcpy(into.decoder.prepare(frame.size()).data(), frame.data(), frame.size());
        into.decoder.commit(frame.size());
        const auto decoded = into.decoder.next();
        return decoded && *decoded && remoting::decode_command(**decoded, into.command);
    }
    void take(const std::string& address, std::string_view frame) {
        auto request = std::make_unique<Asked>();
        request->address = address;
        ASSERT_TRUE(decode(*request, frame));
        if (request->code() != remoting::RequestCode::get_route_by_topic) {
            asked.push_back(std::move(request));
            return;
        }
        const auto topic = topics.find(request->field("topic"));
        if (topic == topics.end()) {
            refuse(*request, remoting::ResponseCode::topic_not_exist);
        } else {
            answer(*request, remoting::ResponseCode::success, remoting::NoFields{}, route_of(topic->second).to_json());
        }
    }

    Cluster& cluster_;
    testing::FakeClock& clock_;
};

}  // namespace hufu::rocketmq
