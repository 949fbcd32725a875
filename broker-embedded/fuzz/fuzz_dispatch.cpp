// Arbitrary requests to a Dispatcher, with time passing, connections closing and the log settling in between. Whatever
// comes, it answers in whole commands. With the first byte odd, access control is on and the requests are signed.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/core/assert.hpp>
#include <hufu/remoting/bytes.hpp>
#include <hufu/remoting/command.hpp>

#include "dispatch/access_table.hpp"
#include "log_fixture.hpp"
#include "sim_disk.hpp"

namespace {

using namespace hufu;
using namespace hufu::broker;

constexpr const char* accounts = R"(
[account.some]
secret_key = "the secret of some!!"
default_topic = "SUB"
topics = ["t*=PUB|SUB"]
groups = ["g*=SUB"]
)";

std::shared_ptr<const AccessTable> access_table() {
    ConfigSources sources;
    sources.file = "access.toml";
    sources.file_text = accounts;
    return std::make_shared<const AccessTable>(AccessTable::load(sources).value());
}

class House {
public:
    explicit House(bool guarded) : guarded_{guarded} {
        static const auto table = access_table();
        LogOptions log_options;
        log_options.first_segment_bytes = 64U << 10U;
        log_options.segment_bytes = 1U << 20U;
        log_ = Log::open(disk_.directory(), log_options, clock_).value();
        DispatcherOptions options;
        options.default_queues = 2;
        options.topics_max = 100;
        dispatcher_ = std::make_unique<Dispatcher>(*log_, options, ids_, metrics_, clock_);
        if (guarded) dispatcher_->set_access(table);
        for (auto& connection : connections_) connection = dispatcher_->connected({{10, 0, 0, 1}, 1});
    }

    void request(std::size_t from, remoting::SerializeType form, std::string_view header, std::string_view body) {
        std::string bytes;
        remoting::append(bytes, static_cast<std::uint32_t>(4 + header.size() + body.size()));
        remoting::append(bytes, static_cast<std::uint32_t>(static_cast<std::uint32_t>(form) << 24U | header.size()));
        bytes.append(header).append(body);
        static const auto signer = remoting::AclSigner::create("some", "the secret of some!!").value();
        if (guarded_ && !signer.sign(bytes, 0)) return;
        remoting::FrameDecoder decoder;
        std::copy(bytes.begin(), bytes.end(), decoder.prepare(bytes.size()).begin());
        decoder.commit(bytes.size());
        const auto frame = decoder.next();
        if (!frame || !*frame) return;
        if (dispatcher_->accepts(connections_[from]) &&
            !dispatcher_->receive(connections_[from], **frame, clock_.steady_now()))
            reconnect(from);
    }
    void reconnect(std::size_t which) {
        dispatcher_->disconnected(connections_[which], clock_.steady_now());
        connections_[which] = dispatcher_->connected({{10, 0, 0, 1}, 1});
    }
    void pass(std::int64_t milliseconds) {
        clock_.now_ms += milliseconds;
        dispatcher_->tick(clock_.steady_now());
    }
    void settle() {
        for (const Outcome& outcome : broker::testing::settle(*log_)) dispatcher_->settled(outcome, clock_.steady_now());
    }
    void read_answers() {
        std::vector<ConnectionId> ready;
        dispatcher_->take_ready(ready);
        for (const ConnectionId id : ready) {
            std::string bytes;
            dispatcher_->take_output(id, bytes);
            dispatcher_->written(id, bytes.size());
            remoting::FrameDecoder decoder{64U << 20U};
            std::copy(bytes.begin(), bytes.end(), decoder.prepare(bytes.size()).begin());
            decoder.commit(bytes.size());
            remoting::CommandView command;
            while (decoder.buffered() > 0) {
                const auto frame = decoder.next();
                HUFU_ASSERT(frame && *frame);
                HUFU_ASSERT(remoting::decode_command(**frame, command));
            }
        }
        static_cast<void>(dispatcher_->take_alarms());
        static_cast<void>(dispatcher_->take_audit());
    }

private:
    const bool guarded_;
    SeededRandom random_{1};
    simulation::SimDisk disk_{random_};
    broker::testing::StoppedClock clock_;
    MessageIdGenerator ids_{clock_, random_};
    MetricsRegistry metrics_;
    std::unique_ptr<Log> log_;
    std::unique_ptr<Dispatcher> dispatcher_;
    std::array<ConnectionId, 2> connections_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    House house{(*data & 1U) != 0};
    std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
    const auto byte = [&rest]() -> std::uint8_t {
        if (rest.empty()) return 0;
        const auto value = static_cast<std::uint8_t>(rest.front());
        rest.remove_prefix(1);
        return value;
    };
    const auto piece = [&] {
        const std::size_t high = byte();
        const std::string_view taken = rest.substr(0, high << 8U | byte());
        rest.remove_prefix(taken.size());
        return taken;
    };
    while (!rest.empty()) {
        const std::uint8_t order = byte();
        const std::size_t who = order >> 7U;
        switch (order & 7U) {
            case 0: house.settle(); break;
            case 1: house.pass(std::int64_t{byte()} * 200); break;
            case 2: house.reconnect(who); break;
            case 3: house.read_answers(); break;
            default: {
                const auto form = (order & 8U) == 0 ? remoting::SerializeType::json : remoting::SerializeType::binary;
                const std::string_view header = piece();
                house.request(who, form, header, piece());
                break;
            }
        }
    }
    house.settle();
    house.pass(60'000);
    house.settle();
    house.read_answers();
    return 0;
}
