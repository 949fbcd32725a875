#include "full_disk.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include <hufu/core/clock.hpp>

#include "broker_load.hpp"
#include "page_loss.hpp"

namespace hufu::fault {
namespace {

constexpr std::chrono::seconds patience{30};

/// Sends until an answer satisfies `wanted`.
bool send_until(std::uint16_t port, QueueLedger& ledger, const std::function<bool(remoting::ResponseCode)>& wanted) {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + patience;
    RawClient client{port};
    while (clock.steady_now() < give_up) {
        const auto code = send_one(client, ledger);
        if (!code) return false;
        if (wanted(*code)) return true;
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{1}, {});
    }
    return false;
}

void run_round(const Programs& programs, const std::string& folder, bool refuse_all_writes, Random& random,
               FullDisk& total) {
    std::filesystem::create_directories(folder + "/data");
    const std::string full = folder + "/full";
    const Ledgers ledgers = fresh_ledgers(programs.break_sync);
    QueueLedger own{static_cast<std::int32_t>(ledgers.size())};
    {
        BrokerChild broker{
            programs,
            folder,
            true,
            {"HUFU_SHIM_FULL=" + full, std::string{"HUFU_SHIM_FULL_MODE="} + (refuse_all_writes ? "write" : "grow")}};
        broker.wait_ready();
        // The first file of a new log is small, and allocated already: a disk that only refuses to let files grow is felt
        // at its end.
        if (!refuse_all_writes) std::ofstream{full} << "full\n";
        std::vector<std::jthread> threads;
        for (const auto& ledger : ledgers) threads.emplace_back([&] { produce(broker.port(), *ledger); });
        Clock& clock = system_clock();
        wait_acknowledged(ledgers, 20);
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{random.below(50)}, {});
        std::ofstream{full} << "full\n";
        const auto refused = [](remoting::ResponseCode code) { return code != remoting::ResponseCode::success; };
        if (!send_until(broker.port(), own, refused)) ++total.not_refused;
        RawClient reader{broker.port()};
        const auto readable = reader.read_all(topic, 0);
        if (!readable || readable->empty()) ++total.not_refused;  // reading goes on
        std::filesystem::remove(full);
        const auto taken = [](remoting::ResponseCode code) { return code == remoting::ResponseCode::success; };
        if (!send_until(broker.port(), own, taken)) ++total.not_healed;
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{random.below(50)}, {});
        broker.kill();
    }
    lose_unsynced(folder + "/data", folder + "/journal", LossMode::everything, random);
    BrokerChild broker{programs, folder, false};
    broker.wait_ready();
    Verdict verdict = read_back(broker.port(), ledgers);
    RawClient client{broker.port()};
    if (const auto stored = client.read_all(topic, own.queue_id())) verdict.add(own.check(*stored));
    complain("full_disk", verdict);
    total.verdict.add(verdict);
    total.acknowledged += acknowledged_in(ledgers) + own.acknowledged_count();
    ++total.rounds;
}

}  // namespace

FullDisk fill_the_disk(const Programs& programs, const std::string& root, int rounds, Random& random) {
    FullDisk total;
    for (int round = 0; round < rounds && total.held(); ++round) {
        const std::string folder = root + "/full" + std::to_string(round);
        run_round(programs, folder, round % 2 != 0, random, total);
        if (total.held()) std::filesystem::remove_all(folder);
        std::fprintf(stderr, "\rfull_disk round %d/%d", round + 1, rounds);
    }
    std::fprintf(stderr, "\n");
    return total;
}

}  // namespace hufu::fault
