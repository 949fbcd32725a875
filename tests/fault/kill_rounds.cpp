#include "kill_rounds.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <vector>

#include <hufu/core/clock.hpp>

#include "broker_load.hpp"
#include "page_loss.hpp"

namespace hufu::fault {
namespace {

constexpr int rounds_per_store = 4;  // then a fresh one, so that reading everything back stays short

void count(const Ledgers& ledgers, KillRounds& total) {
    for (const auto& ledger : ledgers) {
        const std::uint64_t acknowledged = ledger->acknowledged_count();
        total.acknowledged += acknowledged;
        if (kind_of(ledger->queue_id()) == SendKind::batch) total.acknowledged_in_batches += acknowledged;
        if (kind_of(ledger->queue_id()) == SendKind::delayed) total.acknowledged_delayed += acknowledged;
    }
}

void run_round(const Programs& programs, const std::string& folder, Fault fault, Ledgers& ledgers, Random& random,
               KillRounds& total) {
    {
        BrokerChild broker{programs, folder, fault != Fault::kill};
        broker.wait_ready();
        std::vector<std::jthread> threads;
        for (const auto& ledger : ledgers) {
            threads.emplace_back([&] { produce(broker.port(), *ledger); });
            if (ledger->queue_id() == 0) threads.emplace_back([&] { consume(broker.port(), *ledger); });
        }
        // Killed some time after the first answers, however slow the machine is.
        Clock& clock = system_clock();
        wait_acknowledged(ledgers, 20);
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{random.below(100)}, {});
        broker.kill();
    }
    if (fault != Fault::kill) {
        const LossMode mode = fault == Fault::page_loss ? LossMode::everything : LossMode::some_pages;
        total.writes_taken_back += lose_unsynced(folder + "/data", folder + "/journal", mode, random).taken_back;
    }
    BrokerChild broker{programs, folder, false};
    total.recovery_ms_max = std::max<std::int64_t>(total.recovery_ms_max, broker.wait_ready().count());
    const Verdict verdict = read_back(broker.port(), ledgers);
    total.verdict.add(verdict);
    ++total.rounds[static_cast<int>(fault)];
    complain(name_of(fault), verdict);
}

}  // namespace

const char* name_of(Fault fault) {
    switch (fault) {
        case Fault::kill: return "kill";
        case Fault::page_loss: return "page_loss";
        case Fault::torn_pages: return "torn_pages";
    }
    return "";
}

KillRounds kill_under_load(const Programs& programs, const std::string& root, int rounds, Random& random) {
    KillRounds total;
    for (const Fault fault : {Fault::kill, Fault::page_loss, Fault::torn_pages}) {
        Ledgers ledgers;
        std::string folder;
        for (int round = 0; round < rounds && total.verdict.held(); ++round) {
            if (round % rounds_per_store == 0) {
                count(ledgers, total);
                if (!folder.empty()) std::filesystem::remove_all(folder);
                folder = root + "/" + name_of(fault) + std::to_string(round);
                std::filesystem::create_directories(folder + "/data");
                ledgers = fresh_ledgers(programs.break_sync);
            }
            run_round(programs, folder, fault, ledgers, random, total);
            std::fprintf(stderr, "\r%-10s round %d/%d", name_of(fault), round + 1, rounds);
        }
        count(ledgers, total);
        if (total.verdict.held() && !folder.empty()) std::filesystem::remove_all(folder);
        std::fprintf(stderr, "\n");
    }
    return total;
}

}  // namespace hufu::fault
