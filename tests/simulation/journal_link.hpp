// A process's journal: the store of degradation/src/journal on a simulated disk.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "buffer_link.hpp"
#include "journal/store.hpp"
#include "ladder_ledger.hpp"
#include "sim_disk.hpp"
#include "sim_process.hpp"

namespace hufu::simulation {

/// Does with events what `degradation::Journal` does with a thread: what comes while the disk works shares the next sync.
class JournalLink final : public BufferLink {
public:
    JournalLink(EventQueue& events, SimProcess& process, SimDisk& disk, LadderLedger& ledger)
        : events_{events}, process_{process}, disk_{disk}, ledger_{ledger} {}

    /// At the start of the process. What was synced must be readable.
    void open();
    /// The process is gone.
    void close();
    /// The power fails while the next group is on its way to the disk; `then` is called instead of any answer.
    void fail_power_in_next_write(std::function<void()> then) { power_fails_ = std::move(then); }
    /// When a sync failed last; callers were refused then.
    [[nodiscard]] SteadyTime failed_at() const { return failed_at_; }
    [[nodiscard]] bool empty() const;
    [[nodiscard]] bool has_parked() const { return store_->levels().parked > 0; }

    void inspect(Told<degradation::LossStatement> told) override;
    void size(Told<degradation::BufferSize> told) override;
    void epoch(Told<std::uint64_t> told) override;
    void spill(std::vector<Message> messages, degradation::SpillWhen when, std::function<void(Outcomes)> told) override;
    void holds(std::vector<ConsumerKey> keys, Told<std::vector<bool>> told) override;
    void parked(Told<std::vector<Message>> told) override;
    void unpark(Told<std::uint64_t> told) override;
    void read(std::size_t max, Told<std::vector<degradation::Entry>> told) override;
    void trim(std::vector<degradation::EntryId> entries, Told<std::size_t> told) override;
    void park(std::vector<degradation::EntryId> entries, std::string reason, Told<std::size_t> told) override;
    void release(std::function<void()> told) override;

private:
    using Store = degradation::journal::Store;
    using Reference = degradation::journal::Reference;
    struct Request {
        std::vector<std::string> payloads;
        std::vector<std::uint64_t> keys;
        std::vector<std::size_t> places;  // of the payloads among the outcomes
        Outcomes outcomes;
        std::function<void(Outcomes)> told;
    };
    struct Note {
        degradation::journal::Batch::Mark mark;
        Told<std::size_t> told;
    };

    template <class Answer>
    void answer(const Told<Answer>& told, Result<Answer> what);
    [[nodiscard]] bool is_barred(std::uint64_t key) const { return on_way_.contains(key) || store_->holds(key); }
    [[nodiscard]] std::vector<Reference> references_of(const std::vector<degradation::EntryId>& entries) const;
    void write_soon();
    void write_group();
    void finish(std::vector<Request> taken, const Store::Written& written);

    EventQueue& events_;
    SimProcess& process_;
    SimDisk& disk_;
    LadderLedger& ledger_;
    std::unique_ptr<Store> store_;
    std::deque<Request> requests_;
    std::vector<Note> notes_;
    std::unordered_map<std::uint64_t, std::uint32_t> on_way_;  // key -> its messages that are not in the store yet
    bool writing_ = false;
    degradation::journal::Cursor cursor_;                           // the reader's
    std::deque<degradation::journal::StoredEntry> ahead_;           // read from disk, not handed out
    std::map<std::string, std::pair<Reference, MessageId>> taken_;  // by position
    std::function<void()> power_fails_;
    SteadyTime failed_at_{};
};

}  // namespace hufu::simulation
