// A store of guards and effects in memory, with transactions that vanish when the process "dies".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include <hufu/idempotency/once.hpp>

namespace hufu::idempotency {

/// What is durable. An effect is a counter.
struct MemoryDisk {
    std::map<std::pair<std::string, MessageId>, std::string> guards;
    int effects = 0;
    SystemTime horizon{};
};

class MemoryTransaction final : public EffectTransaction, public GuardRows {
public:
    explicit MemoryTransaction(MemoryDisk& disk) : disk_{disk} {}

    Result<void> begin() override {
        pending_ = MemoryDisk{};
        return {};
    }
    Result<void> commit() override {
        if (commit_error) {
            return *commit_error;
        }
        disk_.guards.merge(pending_.guards);
        disk_.effects += pending_.effects;
        return {};
    }
    void roll_back() noexcept override {
        pending_ = MemoryDisk{};
        ++roll_backs;
    }
    Result<GuardSeen> insert(const GuardKey& key) override {
        auto seen = *find(key);
        if (!seen.before) {
            pending_.guards.emplace(std::pair{key.group, key.id}, "");
        }
        return seen;
    }
    Result<GuardSeen> find(const GuardKey& key) override {
        const auto row = disk_.guards.find({key.group, key.id});
        if (row == disk_.guards.end()) {
            return GuardSeen{false, {}, disk_.horizon};
        }
        return GuardSeen{true, row->second, disk_.horizon};
    }
    Result<void> keep_result(const GuardKey& key, std::string_view result) override {
        pending_.guards[{key.group, key.id}] = result;
        return {};
    }
    EffectResult effect() {
        ++pending_.effects;
        return {Handled::done, "kept"};
    }

    std::optional<Error> commit_error;
    int roll_backs = 0;

private:
    MemoryDisk& disk_;
    MemoryDisk pending_;
};

/// Does the machine's next step. False when it has finished.
inline bool step(OnceMachine& machine, MemoryTransaction& transaction) {
    const auto answer = [&](const Result<void>& result) { result ? machine.done() : machine.failed(result.error()); };
    switch (machine.next()) {
        case OnceAction::begin: answer(transaction.begin()); return true;
        case OnceAction::insert_guard: machine.seen(*transaction.insert(machine.key())); return true;
        case OnceAction::find_guard: machine.seen(*transaction.find(machine.key())); return true;
        case OnceAction::run_effect: machine.returned(transaction.effect()); return true;
        case OnceAction::keep_result: answer(transaction.keep_result(machine.key(), machine.outcome().result)); return true;
        case OnceAction::commit: answer(transaction.commit()); return true;
        case OnceAction::roll_back:
            transaction.roll_back();
            machine.done();
            return true;
        case OnceAction::finished: return false;
    }
    return false;
}

inline const GuardKey some_key{"stock", MessageId{{1, 2, 3}}};

/// Effects after a process died following each possible number of steps, and the message was delivered again.
inline int worst_effects_after_a_crash() {
    int worst = 0;
    for (int steps = 0; steps < 12; ++steps) {
        MemoryDisk disk;
        {
            MemoryTransaction transaction{disk};
            OnceMachine machine{some_key, SystemTime{}};
            for (int i = 0; i < steps && step(machine, transaction); ++i) {
            }
        }
        MemoryTransaction transaction{disk};
        OnceMachine machine{some_key, SystemTime{}};
        while (step(machine, transaction)) {
        }
        worst = std::max(worst, disk.effects);
    }
    return worst;
}

}  // namespace hufu::idempotency
