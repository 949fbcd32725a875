#include "broker_crowd.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <hufu/remoting/headers.hpp>

#include "broker_process.hpp"
#include "load_client.hpp"
#include "queue_reader.hpp"
#include "usage.hpp"

namespace hufu::bench {
namespace {

constexpr std::size_t silent_count = 5'000;
constexpr std::size_t slow_count = 50;
constexpr std::size_t deaf_count = 10;
constexpr double requests_per_second = 10'000;

Error invalid(const std::string& text) { return Error{ErrorCode::internal, Disposition::fatal, text}; }

/// Peers that hold a connection and bring nothing.
class Crowd {
public:
    explicit Crowd(std::uint16_t port) : port_{port} {
        remoting::append_request(question_, remoting::SerializeType::json, remoting::RequestCode::get_route_by_topic, 1,
                                 remoting::RouteRequest{"bench"});
    }
    ~Crowd() {
        for (const int socket : sockets_) ::close(socket);
    }
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

    /// Each asks for a route and reads the answer, as a client does that then has nothing to do.
    Result<void> come_silent() {
        for (std::size_t number = 0; number < silent_count; ++number) {
            const auto socket = connect();
            if (!socket) return socket.error();
            std::array<char, 4096> answer;
            if (::send(*socket, question_.data(), question_.size(), MSG_NOSIGNAL) < 0 ||
                ::recv(*socket, answer.data(), answer.size(), 0) <= 0)
                return invalid("connection " + std::to_string(number) + " of the crowd was not answered");
        }
        return {};
    }
    Result<void> come_hostile() {
        for (std::size_t number = 0; number < slow_count + deaf_count; ++number) {
            const auto socket = connect();
            if (!socket) return socket.error();
        }
        return {};
    }
    /// To be called now and then: a byte more from each slow one, and questions that the deaf never read the answers of.
    void pester() {
        const std::size_t at = std::min(pestered_++, question_.size() - 2);  // the last byte never comes
        const std::size_t slow = sockets_.size() - slow_count - deaf_count;
        for (std::size_t number = slow; number < slow + slow_count; ++number)
            ::send(sockets_[number], &question_[at], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        for (std::size_t number = slow + slow_count; number < sockets_.size(); ++number)
            for (int many = 0; many < 20; ++many)
                ::send(sockets_[number], question_.data(), question_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    [[nodiscard]] std::size_t size() const { return sockets_.size(); }
    /// How many of the silent ones still are connected.
    [[nodiscard]] std::size_t present() const {
        std::size_t count = 0;
        for (std::size_t number = 0; number < silent_count; ++number) {
            char byte = 0;
            const bool waits = ::recv(sockets_[number], &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
            count += waits ? 1U : 0U;
        }
        return count;
    }

private:
    Result<int> connect() {
        auto socket = connect_socket(port_);
        if (socket) sockets_.push_back(*socket);
        return socket;
    }

    const std::uint16_t port_;
    std::string question_;
    std::vector<int> sockets_;
    std::size_t pestered_ = 0;
};

struct Leg {
    double p99_us = 0;
    double p50_us = 0;
    double rate = 0;
};

class CrowdBench {
public:
    CrowdBench(const BrokerOptions& options, BrokerOutcome& outcome) : options_{options}, outcome_{outcome} {}

    Result<void> run() {
        rlimit files{};
        if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
            files.rlim_cur = files.rlim_max;
            ::setrlimit(RLIMIT_NOFILE, &files);
        }
        const std::string folder = options_.folder + "/crowd";
        std::filesystem::create_directories(folder);
        auto broker = BrokerProcess::start(options_.broker, folder);
        if (!broker) return broker.error();
        if (auto warm = leg(broker->port(), nullptr); !warm) return warm.error();
        for (int round = 0; round < options_.rounds; ++round)
            if (auto done = round_of(*broker, round); !done) return done;
        if (auto checked = check(*broker); !checked) return checked;
        broker->kill();
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
        ResultRow row;
        row.name = "idle_connections";
        row.unit = "us";
        row.ours = median(p99_with_);
        row.other = median(p99_without_);
        row.other_name = "hufu, nobody else";
        row.better = Better::lower;
        row.aim.ratio = 1.5;
        row.beside = {{"p50_us", median(p50_with_)},
                      {"other_p50_us", median(p50_without_)},
                      {"messages_per_s", median(rate_with_)},
                      {"other_messages_per_s", median(rate_without_)},
                      {"connections", static_cast<double>(silent_count + slow_count + deaf_count)},
                      {"bytes_per_idle_connection", median(bytes_)}};
        outcome_.add(std::move(row));
        return {};
    }

private:
    Result<Leg> leg(std::uint16_t port, Crowd* crowd) {
        LoadOptions load;
        load.requests_per_second = requests_per_second;
        load.connections = options_.connections;
        load.duration = std::chrono::nanoseconds{static_cast<std::int64_t>(options_.seconds * 1e9)};
        auto client = LoadClient::connect(port, load);
        if (!client) return client.error();
        auto result = client->publish([crowd] {
            if (crowd != nullptr) crowd->pester();
            return true;
        });
        sent_ += client->last().sent;
        acknowledged_ += client->last().acknowledged;
        if (!result) return result.error();
        return Leg{result->percentile_us(0.99), result->percentile_us(0.5), result->rate()};
    }

    /// A leg without and one with the crowd, in the order that the round says; the broker is the same in all of them.
    Result<void> round_of(const BrokerProcess& broker, int round) {
        Leg with;
        Leg without;
        for (const bool crowded : {round % 2 == 0, round % 2 != 0}) {
            auto measured = crowded ? crowded_leg(broker) : lonely_leg(broker);
            if (!measured) return measured.error();
            (crowded ? with : without) = *measured;
        }
        char line[200];
        std::snprintf(line, sizeof line,
                      "  crowd round %d: p99 %.0f us with, %.0f us without; %.0f/s and %.0f/s; %.0f B each", round + 1,
                      with.p99_us, without.p99_us, with.rate, without.rate, bytes_.back());
        tell(line);
        p99_with_.push_back(with.p99_us);
        p99_without_.push_back(without.p99_us);
        p50_with_.push_back(with.p50_us);
        p50_without_.push_back(without.p50_us);
        rate_with_.push_back(with.rate);
        rate_without_.push_back(without.rate);
        return {};
    }

    /// Buffers of the last leg go back within one look of the broker after its connections. Before every leg: neither kind
    /// finds a broker that was busy a moment ago.
    static void rest() {
        system_clock().sleep_until(system_clock().steady_now() + std::chrono::seconds{5}, std::stop_token{});
    }

    Result<Leg> lonely_leg(const BrokerProcess& broker) {
        rest();
        return leg(broker.port(), nullptr);
    }

    Result<Leg> crowded_leg(const BrokerProcess& broker) {
        rest();
        const double before = rss_anon_mb(broker.pid());
        Crowd crowd{broker.port()};
        if (auto come = crowd.come_silent(); !come) return come.error();
        rest();
        bytes_.push_back((rss_anon_mb(broker.pid()) - before) * 1e6 / static_cast<double>(silent_count));
        if (auto come = crowd.come_hostile(); !come) return come.error();
        auto measured = leg(broker.port(), &crowd);
        if (measured && crowd.present() != silent_count)
            return invalid("only " + std::to_string(crowd.present()) + " of " + std::to_string(silent_count) +
                           " silent connections lived through the leg");
        return measured;
    }

    Result<void> check(const BrokerProcess& broker) {
        auto reader = QueueReader::connect(broker.port());
        if (!reader) return reader.error();
        const auto stored = reader->stored(LoadShape{});
        if (!stored) return stored.error();
        outcome_.lost += acknowledged_ > *stored ? acknowledged_ - *stored : 0;
        outcome_.invented += *stored > sent_ ? *stored - sent_ : 0;
        return {};
    }

    const BrokerOptions& options_;
    BrokerOutcome& outcome_;
    std::uint64_t sent_ = 0;
    std::uint64_t acknowledged_ = 0;
    std::vector<double> p99_with_, p99_without_, p50_with_, p50_without_, rate_with_, rate_without_, bytes_;
};

}  // namespace

Result<void> bench_crowd(const BrokerOptions& options, BrokerOutcome& outcome) {
    if (!options.wanted("idle_connections")) return {};
    return CrowdBench{options, outcome}.run();
}

}  // namespace hufu::bench
