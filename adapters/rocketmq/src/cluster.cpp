#include "cluster.hpp"

#include <algorithm>

#include "errors.hpp"

namespace hufu::rocketmq {

Cluster::Cluster(ClientOptions options, Random& random, Log& log)
    : options_{std::move(options)}, random_{random}, log_{log} {
    // Clients of one host should not all start at the same name server.
    name_server_ = options_.name_servers.empty() ? 0 : random_.below(options_.name_servers.size());
    if (!options_.access_key.empty()) {
        signer_ = remoting::AclSigner::create(options_.access_key, options_.secret_key).value();
    }
}

bool Cluster::ready(const std::string& address) const {
    const auto found = peers_.find(address);
    return found != peers_.end() && found->second.state == State::ready;
}

void Cluster::want(SteadyTime now, const std::string& address) {
    Peer& peer = peers_[address];
    peer.wanted = true;
    if (peer.state == State::idle && peer.at <= now) {
        connect(now, address, peer);
    }
}

void Cluster::connect(SteadyTime now, const std::string& address, Peer& peer) {
    peer.state = State::connecting;
    peer.at = now + options_.connect_timeout;
    actions_.push_back({Action::Kind::connect, address});
}

void Cluster::submit(SteadyTime now, const std::string& address, std::int32_t opaque, std::string frame, SteadyTime deadline,
                     OnAnswer on_answer) {
    sign(frame);
    Peer& peer = peers_[address];
    const bool ready = peer.state == State::ready;
    calls_.emplace(
        opaque,
        Call{.address = address, .sent = now, .deadline = deadline, .left = ready, .on_answer = std::move(on_answer)});
    calls_scan_ = std::min(calls_scan_, deadline);
    if (ready) {
        actions_.push_back({Action::Kind::send, address, std::move(frame)});
        return;
    }
    peer.waiting.push_back({opaque, std::move(frame)});
    if (peer.state == State::idle && peer.at <= now) {
        connect(now, address, peer);
    }
}

void Cluster::sign(std::string& request) const {
    if (signer_) {
        signer_->sign(request, 0).value();  // what this client made is a request
    }
}

void Cluster::lookup(SteadyTime now, const std::string& topic, OnRoute on_route) {
    const std::size_t asked = name_server_;
    call(now, options_.name_servers[asked], remoting::RequestCode::get_route_by_topic,
         remoting::RouteRequest{.topic = topic}, {}, options_.request_timeout,
         [this, asked, topic, on_route = std::move(on_route)](SteadyTime at, const Answer& answer) {
             if (answer.command == nullptr) {
                 if (name_server_ == asked) {
                     name_server_ = (asked + 1) % options_.name_servers.size();
                 }
                 on_route(at, Error{answer.error.code(), Disposition::retry,
                                    "name server " + options_.name_servers[asked] + ": " + answer.error.text()});
             } else if (answer.command->response_code() != remoting::ResponseCode::success) {
                 on_route(at, response_error(*answer.command, "route of topic \"" + topic + "\"").error);
             } else {
                 on_route(at, remoting::TopicRoute::parse(answer.command->body));
             }
         });
}

std::string Cluster::broker_address(const remoting::TopicRoute& route, std::string_view broker_name) const {
    for (const auto& broker : route.brokers) {
        if (broker.broker_name != broker_name) {
            continue;
        }
        const auto master = broker.addresses.find(0);
        if (master == broker.addresses.end()) {
            return {};
        }
        const std::string& name_server = options_.name_servers[name_server_];
        return name_server.starts_with("unix:") ? name_server : master->second;
    }
    return {};
}

void Cluster::connected(SteadyTime now, const std::string& address) {
    Peer& peer = peers_[address];
    if (peer.state != State::connecting) {
        return;
    }
    peer.state = State::ready;
    peer.last_received = now;
    for (Waiting& waiting : std::exchange(peer.waiting, {})) {
        const auto call = calls_.find(waiting.opaque);
        if (call != calls_.end()) {  // else its time was up already
            call->second.left = true;
            call->second.sent = now;
            actions_.push_back({Action::Kind::send, address, std::move(waiting.frame)});
        }
    }
    log_.debug("connected", {{"peer", address}});
    if (on_link_) {
        on_link_(now, address, true);
    }
}

void Cluster::closed(SteadyTime now, const std::string& address, const Error& why) {
    Peer& peer = peers_[address];
    if (peer.state == State::idle) {
        return;
    }
    const bool was_ready = peer.state == State::ready;
    peer.state = State::idle;
    peer.waiting.clear();
    const auto wait = options_.reconnect.wait_after(++peer.failures, random_);
    peer.at = now + wait.value_or(std::chrono::milliseconds{5'000});
    if (peer.failures == 1 && !was_ready) {
        log_.warning("no connection", {{"peer", address}, {"reason", why.text()}});
    } else if (was_ready && peer.wanted) {
        log_.warning("connection lost", {{"peer", address}, {"reason", why.text()}});
    }
    std::vector<std::pair<std::int32_t, bool>> lost;
    for (const auto& [opaque, call] : calls_) {
        if (call.address == address) {
            lost.emplace_back(opaque, call.left);
        }
    }
    // In the order they were made: opaques of one client only grow (a wrap every 2^31 calls does no harm).
    std::sort(lost.begin(), lost.end());
    for (const auto& [opaque, left] : lost) {
        settle(now, opaque,
               {.error = Error{why.code(), left ? Disposition::in_doubt : Disposition::retry,
                               left ? "connection to " + address + " was lost before the answer: " + why.text()
                                    : "no connection to " + address + ": " + why.text()}});
    }
    if (was_ready && on_link_) {
        on_link_(now, address, false);
    }
}

void Cluster::received(SteadyTime now, const std::string& address, const remoting::CommandView& command) {
    Peer& peer = peers_[address];
    peer.last_received = now;
    peer.failures = 0;
    if (command.is_response()) {
        settle(now, command.opaque, {.command = &command});
        return;
    }
    if (on_request_) {
        on_request_(now, address, command);
    }
    if (!command.is_one_way() && command.request_code() != remoting::RequestCode::notify_consumer_ids_changed) {
        std::string frame;
        remoting::append_response(frame, command, remoting::ResponseCode::request_code_not_supported, remoting::NoFields{},
                                  {}, "this client does not serve that request");
        actions_.push_back({Action::Kind::send, address, std::move(frame)});
    }
}

void Cluster::settle(SteadyTime now, std::int32_t opaque, const Answer& result) {
    const auto found = calls_.find(opaque);
    if (found == calls_.end()) {
        return;  // its time was up before
    }
    const OnAnswer on_answer = std::move(found->second.on_answer);
    calls_.erase(found);
    on_answer(now, result);
}

void Cluster::tick(SteadyTime now) {
    std::vector<std::string> given_up;
    for (auto& [address, peer] : peers_) {
        if (peer.at > now) {
            continue;
        }
        if (peer.state == State::connecting) {
            given_up.push_back(address);
        } else if (peer.state == State::idle && (peer.wanted || !peer.waiting.empty())) {
            connect(now, address, peer);
        }
    }
    for (const std::string& address : given_up) {
        actions_.push_back({Action::Kind::close, address});
        closed(now, address,
               Error{ErrorCode::timeout, Disposition::retry,
                     "no connection within " + std::to_string(options_.connect_timeout.count()) +
                         " ms; is the address right and the server up?"});
    }
    if (calls_scan_ > now) {
        return;
    }
    std::vector<std::int32_t> late;
    calls_scan_ = SteadyTime::max();
    for (const auto& [opaque, call] : calls_) {
        if (call.deadline <= now) {
            late.push_back(opaque);
        } else {
            calls_scan_ = std::min(calls_scan_, call.deadline);
        }
    }
    std::sort(late.begin(), late.end());
    std::vector<std::string> silent;
    for (const std::int32_t opaque : late) {
        const auto found = calls_.find(opaque);
        if (found == calls_.end()) {
            continue;
        }
        const Call& call = found->second;
        const std::string address = call.address;
        const Peer& peer = peers_[address];
        // Not one byte since the request left: the other side is gone without a word.
        if (call.left && peer.state == State::ready && peer.last_received <= call.sent) {
            silent.push_back(address);
        }
        const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - call.sent).count();
        settle(now, opaque,
               {.error = Error{ErrorCode::timeout, call.left ? Disposition::in_doubt : Disposition::retry,
                               call.left ? "no answer of " + address + " within " + std::to_string(waited) + " ms"
                                         : "no connection to " + address + " within " + std::to_string(waited) + " ms"}});
    }
    for (const std::string& address : silent) {
        if (ready(address)) {
            actions_.push_back({Action::Kind::close, address});
            closed(now, address, Error{ErrorCode::timeout, Disposition::retry, "the peer stopped answering"});
        }
    }
}

std::optional<SteadyTime> Cluster::next_tick() const noexcept {
    SteadyTime next = calls_scan_;
    for (const auto& [address, peer] : peers_) {
        if (peer.state == State::connecting || (peer.state == State::idle && (peer.wanted || !peer.waiting.empty()))) {
            next = std::min(next, peer.at);
        }
    }
    return next == SteadyTime::max() ? std::nullopt : std::optional{next};
}

}  // namespace hufu::rocketmq
