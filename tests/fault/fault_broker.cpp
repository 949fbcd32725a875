// hufu-fault-broker: kills the bundled broker under full publish load, with and without losing unsynced pages, and checks
// that every acknowledged message is there once, in order per queue, and that nothing was invented.
#include "broker_ledger.hpp"
#include "page_loss.hpp"
#include "raw_client.hpp"

#include <hufu/core/clock.hpp>
#include <hufu/core/random.hpp>
#include <hufu/remoting/headers.hpp>
#include <hufu/test_support/process.hpp>

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace hufu::fault {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view topic = "fault";
constexpr std::int32_t queues = 4;
constexpr std::size_t window = 64;
constexpr int rounds_per_store = 5;  // then a fresh one, so that reading everything back stays short

struct Options {
    int rounds = 50;
    bool json = false;
    bool break_sync = false;  // the broker may acknowledge before its sync: the checker must see it
    std::uint64_t seed = 1;
    std::string programs;  // folder of hufu-broker and the shim
};

enum class Fault : std::uint8_t { kill, page_loss, torn_pages };

const char* name_of(Fault fault) {
    switch (fault) {
        case Fault::kill: return "kill";
        case Fault::page_loss: return "page_loss";
        case Fault::torn_pages: return "torn_pages";
    }
    return "";
}

/// A broker process on one folder.
class Broker {
public:
    Broker(const Options& options, const std::string& folder, Fault fault) : port_{free_port()} {
        test_support::ProcessOptions process;
        process.arguments = {"/usr/bin/env"};
        if (fault != Fault::kill) {
            process.arguments.push_back("LD_PRELOAD=" + options.programs + "/../lib/libhufu_page_loss_shim.so");
            process.arguments.push_back("ASAN_OPTIONS=verify_asan_link_order=0");
            process.arguments.push_back("HUFU_SHIM_DIR=" + folder + "/data");
            process.arguments.push_back("HUFU_SHIM_JOURNAL=" + folder + "/journal");
        }
        for (const auto& argument : {options.programs + "/hufu-broker", std::string{"--data"}, folder + "/data",
                                     std::string{"--listen"}, "127.0.0.1:" + std::to_string(port_)}) {
            process.arguments.push_back(argument);
        }
        if (options.break_sync) process.arguments.insert(process.arguments.end(), {"--durability", "async"});
        process.output = folder + "/broker.log";
        output_ = process.output;
        pid_ = test_support::spawn(process);
    }
    ~Broker() { kill(); }
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }

    /// Waits until connections are accepted; returns how long it took.
    std::chrono::milliseconds wait_ready() const {
        Clock& clock = system_clock();
        const SteadyTime start = clock.steady_now();
        while (clock.steady_now() - start < 20s) {
            if (RawClient probe{port_}; probe.connected()) {
                return std::chrono::duration_cast<std::chrono::milliseconds>(clock.steady_now() - start);
            }
            clock.sleep_until(clock.steady_now() + 2ms, {});
        }
        throw std::runtime_error{"hufu-broker did not accept connections within 20 s; its last words: " +
                                 test_support::file_tail(output_)};
    }

    void kill() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        test_support::wait_for(pid_);
        pid_ = -1;
    }

private:
    std::uint16_t port_;
    pid_t pid_ = -1;
    std::string output_;
};

/// Publishes to one queue, `window` messages in flight, until the connection is lost.
void produce(std::uint16_t port, QueueLedger& ledger) {
    RawClient client{port};
    std::deque<std::uint64_t> in_flight;
    while (client.connected()) {
        while (in_flight.size() < window) {
            const std::uint64_t number = ledger.next();
            in_flight.push_back(number);
            client.send(static_cast<std::int32_t>(number), topic, ledger.queue_id(), make_body(ledger.queue_id(), number));
        }
        if (!client.flush()) return;
        const auto* answer = client.receive();
        if (answer == nullptr) return;
        for (auto pending = in_flight.begin(); pending != in_flight.end(); ++pending) {
            if (static_cast<std::int32_t>(*pending) != answer->opaque) continue;
            const auto sent = remoting::SendResponse::decode(*answer);
            if (answer->response_code() == remoting::ResponseCode::success && sent) {
                ledger.acknowledged(*pending, sent->queue_offset);
            }
            in_flight.erase(pending);
            break;
        }
    }
}

/// Reads what is readable, again and again: what a consumer was served must stay.
void consume(std::uint16_t port, QueueLedger& ledger) {
    RawClient client{port};
    std::int64_t offset = 0;
    while (client.connected()) {
        const auto stored = client.read_all(topic, ledger.queue_id(), offset);
        if (!stored) return;
        ledger.seen(*stored);
        if (!stored->empty()) offset = stored->back().queue_offset + 1;
    }
}

using Ledgers = std::vector<std::unique_ptr<QueueLedger>>;

Ledgers fresh_ledgers() {
    Ledgers ledgers;
    for (std::int32_t queue = 0; queue < queues; ++queue) ledgers.push_back(std::make_unique<QueueLedger>(queue));
    return ledgers;
}

Verdict read_back(std::uint16_t port, const Ledgers& ledgers) {
    Verdict verdict;
    for (const auto& ledger : ledgers) {
        RawClient client{port};
        const auto stored = client.read_all(topic, ledger->queue_id());
        if (!stored) throw std::runtime_error{"reading back queue " + std::to_string(ledger->queue_id()) + " failed"};
        verdict.add(ledger->check(*stored));
    }
    return verdict;
}

struct Totals {
    Verdict verdict;
    std::uint64_t acknowledged = 0;
    std::uint64_t writes_taken_back = 0;
    std::int64_t recovery_ms_max = 0;
    int rounds[3] = {0, 0, 0};
};

/// Load, kill (and lose pages), restart, read everything back.
void run_round(const Options& options, const std::string& folder, Fault fault, Ledgers& ledgers, Random& random,
               Totals& totals) {
    {
        Broker broker{options, folder, fault};
        broker.wait_ready();
        std::vector<std::jthread> threads;
        for (const auto& ledger : ledgers) {
            threads.emplace_back([&] { produce(broker.port(), *ledger); });
            if (ledger->queue_id() == 0) threads.emplace_back([&] { consume(broker.port(), *ledger); });
        }
        Clock& clock = system_clock();
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{30 + random.below(150)}, {});
        broker.kill();
    }
    if (fault != Fault::kill) {
        const LossMode mode = fault == Fault::page_loss ? LossMode::everything : LossMode::some_pages;
        totals.writes_taken_back += lose_unsynced(folder + "/data", folder + "/journal", mode, random).taken_back;
    }
    Broker broker{options, folder, Fault::kill};
    totals.recovery_ms_max = std::max<std::int64_t>(totals.recovery_ms_max, broker.wait_ready().count());
    const Verdict verdict = read_back(broker.port(), ledgers);
    totals.verdict.add(verdict);
    ++totals.rounds[static_cast<int>(fault)];
    if (!verdict.held()) {
        std::fprintf(stderr, "%s: broken: lost %lu, duplicated %lu, reordered %lu, invented %lu, moved %lu\n",
                     name_of(fault), verdict.lost, verdict.duplicated, verdict.reordered, verdict.invented, verdict.moved);
    }
}

Totals run(const Options& options) {
    char pattern[] = "/tmp/hufu-fault-XXXXXX";
    if (::mkdtemp(pattern) == nullptr) throw std::runtime_error{"no private folder under /tmp"};
    const std::string root = pattern;
    SeededRandom random{options.seed};
    Totals totals;
    for (const Fault fault : {Fault::kill, Fault::page_loss, Fault::torn_pages}) {
        Ledgers ledgers;
        std::string folder;
        for (int round = 0; round < options.rounds && totals.verdict.held(); ++round) {
            if (round % rounds_per_store == 0) {
                for (const auto& ledger : ledgers) totals.acknowledged += ledger->acknowledged_count();
                if (!folder.empty()) std::filesystem::remove_all(folder);
                folder = root + "/" + name_of(fault) + std::to_string(round);
                std::filesystem::create_directories(folder + "/data");
                ledgers = fresh_ledgers();
            }
            run_round(options, folder, fault, ledgers, random, totals);
            std::fprintf(stderr, "\r%-10s round %d/%d", name_of(fault), round + 1, options.rounds);
        }
        for (const auto& ledger : ledgers) totals.acknowledged += ledger->acknowledged_count();
        std::fprintf(stderr, "\n");
    }
    if (totals.verdict.held()) {
        std::filesystem::remove_all(root);
    } else {
        std::fprintf(stderr, "the store is kept in %s\n", root.c_str());
    }
    return totals;
}

void print(const Totals& totals, bool json) {
    const Verdict& verdict = totals.verdict;
    const bool held = verdict.held();
    if (json) {
        std::printf(
            "{\"fault\":\"broker\",\"held\":%s,\"rounds\":{\"kill\":%d,\"page_loss\":%d,\"torn_pages\":%d},\"acknowledged\":"
            "%lu,"
            "\"lost\":%lu,\"duplicated\":%lu,\"reordered\":%lu,\"invented\":%lu,\"moved\":%lu,\"writes_taken_back\":%lu,"
            "\"recovery_ms_max\":%ld}\n",
            held ? "true" : "false", totals.rounds[0], totals.rounds[1], totals.rounds[2], totals.acknowledged, verdict.lost,
            verdict.duplicated, verdict.reordered, verdict.invented, verdict.moved, totals.writes_taken_back,
            totals.recovery_ms_max);
        return;
    }
    std::printf(
        "%s: %d kills, %d page losses, %d torn; %lu acknowledged, %lu lost, %lu duplicated, %lu reordered, %lu invented, "
        "%lu moved; longest recovery %ld ms\n",
        held ? "held" : "BROKEN", totals.rounds[0], totals.rounds[1], totals.rounds[2], totals.acknowledged, verdict.lost,
        verdict.duplicated, verdict.reordered, verdict.invented, verdict.moved, totals.recovery_ms_max);
}

Options parse(int count, char** arguments) {
    Options options;
    options.programs = std::filesystem::canonical("/proc/self/exe").parent_path();
    const auto number = [&](int& at) {
        if (at + 1 >= count) throw std::invalid_argument{std::string{arguments[at]} + " needs a number"};
        char* end = nullptr;
        const long value = std::strtol(arguments[++at], &end, 10);
        if (*end != '\0' || value < 1 || value > 1'000'000) {
            throw std::invalid_argument{std::string{arguments[at - 1]} + " needs a number from 1 to 1000000, not \"" +
                                        arguments[at] + "\""};
        }
        return value;
    };
    for (int at = 1; at < count; ++at) {
        const std::string_view argument = arguments[at];
        if (argument == "--json") {
            options.json = true;
        } else if (argument == "--rounds") {
            options.rounds = static_cast<int>(number(at));
        } else if (argument == "--break" && at + 1 < count && std::string_view{arguments[at + 1]} == "sync") {
            ++at;
            options.break_sync = true;
        } else if (argument == "--seed") {
            options.seed = static_cast<std::uint64_t>(number(at));
        } else {
            throw std::invalid_argument{"unknown argument \"" + std::string{argument} +
                                        "\"; known: --rounds N, --seed S, --break sync, --json"};
        }
    }
    return options;
}

}  // namespace
}  // namespace hufu::fault

int main(int count, char** arguments) {
    try {
        const auto options = hufu::fault::parse(count, arguments);
        const auto totals = hufu::fault::run(options);
        hufu::fault::print(totals, options.json);
        return totals.verdict.held() ? 0 : 1;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hufu-fault-broker: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hufu-fault-broker: %s\n", error.what());
        return 1;
    }
}
