// Which halves have no verdict yet, and when each is looked at next. Memory only; transactions.cpp keeps it and the log in step.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <boost/container/small_vector.hpp>

#include <hufu/core/clock.hpp>

#include "slot_table.hpp"

namespace hufu::broker {

/// Where a half stands with its verdict.
enum class HalfState : std::uint8_t {
    pending,      ///< no verdict: it is asked for from time to time
    parked,       ///< no verdict, and nobody is asked any more
    undelivered,  ///< committed, but its topic does not exist
    conflict,     ///< rolled back, and a commit came afterwards
};

/// Where a half is stored.
struct HalfPlace {
    std::uint64_t offset = 0;
    bool moved = false;  ///< in the queue of halves that retention has copied, not in that of halves
    friend bool operator==(const HalfPlace&, const HalfPlace&) = default;
};

/// What is kept of a half in memory. `home` is its identity: its first offset in the queue of halves.
struct Half {
    static constexpr std::uint64_t home_max = (1ULL << 40U) - 1;
    static constexpr std::uint32_t hash_mask = (1U << 24U) - 1;

    std::uint64_t home = 0;
    HalfPlace place = {};
    std::uint32_t hash = 0;    ///< of group and transaction id, 24 bits: what it leads to must be looked at
    std::uint16_t group = 0;   ///< Transactions' number of the producer group; 0: not known before the record is read
    std::uint16_t checks = 0;  ///< that were answered
    std::uint8_t step = 0;     ///< of the back-off
    HalfState state = HalfState::pending;
    bool asked = false;        ///< a check is out
    bool unreachable = false;  ///< no producer was there to be asked
    bool overdue = false;      ///< its budget was over when it was last looked at
    SteadyTime due = {};       ///< rounded up to `TransactionBook::tick`
};

/// Not thread-safe. At most 64 bytes for each half (a test counts them): 32 in its slot, 4 in the heap, up to 7 in each of two
/// tables.
class TransactionBook {
public:
    static constexpr std::chrono::milliseconds tick{10};

    /// Times before `start` count as `start`; those more than a year after it are cut to that.
    explicit TransactionBook(SteadyTime start = {}) : start_{start} {}
    TransactionBook(const TransactionBook&) = delete;
    TransactionBook& operator=(const TransactionBook&) = delete;

    /// The home must not be there yet; nothing is looked up when it is above all that ever were.
    void add(const Half& half);
    /// The same for many at once: the tables are larger than the cache, so places are fetched ahead.
    void add_all(std::span<const Half> halves);
    /// Makes room for so many halves at once, those included that are there.
    void reserve(std::size_t halves);
    void erase(std::uint64_t home);
    /// Puts the entry in the place of the one with its home. The hash must be the same.
    void update(const Half& half);
    [[nodiscard]] std::optional<Half> find(std::uint64_t home) const;
    /// Homes of all halves whose hash is this one, up to `count_max` of them.
    using Homes = boost::container::small_vector<std::uint64_t, 4>;
    [[nodiscard]] Homes with_hash(std::uint32_t hash, std::size_t count_max) const;

    /// The pending half that is to be looked at first; nothing when none is.
    [[nodiscard]] std::optional<Half> next() const;
    /// Those that nobody could be asked about, of one group (0: of any), are due now. Returns how many.
    std::size_t wake(std::uint16_t group, SteadyTime now);

    /// Calls `visit(half)` for every half, in no order.
    template <class Visit>
    void for_each(Visit visit) const {
        for (std::uint32_t slot = 0; slot < slots_; ++slot)
            if (at(slot).used) visit(half_of(at(slot)));
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t pending() const noexcept { return heap_.size(); }
    [[nodiscard]] std::size_t count(HalfState state) const noexcept { return counts_[static_cast<std::size_t>(state)]; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

private:
    static constexpr std::uint32_t chunk_slots = 1024;
    static constexpr std::uint32_t no_place = std::numeric_limits<std::uint32_t>::max();

    struct Slot {
        std::uint64_t home : 40;
        std::uint64_t hash : 24;
        std::uint64_t place : 40;
        std::uint64_t step : 8;
        std::uint64_t state : 2;
        std::uint64_t moved : 1;
        std::uint64_t used : 1;
        std::uint64_t asked : 1;
        std::uint64_t unreachable : 1;
        std::uint64_t overdue : 1;
        std::uint32_t due;      ///< ticks since `start_`
        std::uint32_t heap_at;  ///< in `heap_`; when not used: the next free slot
        std::uint16_t group;
        std::uint16_t checks;
    };
    static_assert(sizeof(Slot) == 32);

    struct HomeOf {
        const TransactionBook* book;
        std::uint64_t operator()(std::uint32_t slot) const noexcept { return book->at(slot).home; }
    };
    struct HashOf {
        const TransactionBook* book;
        std::uint64_t operator()(std::uint32_t slot) const noexcept { return book->at(slot).hash; }
    };

    [[nodiscard]] Slot& at(std::uint32_t slot) noexcept { return chunks_[slot / chunk_slots][slot % chunk_slots]; }
    [[nodiscard]] const Slot& at(std::uint32_t slot) const noexcept {
        return chunks_[slot / chunk_slots][slot % chunk_slots];
    }
    [[nodiscard]] Half half_of(const Slot& slot) const;
    void fill(Slot& slot, const Half& half);
    [[nodiscard]] std::uint32_t slot_of(std::uint64_t home) const;
    std::uint32_t take_slot();
    void push(std::uint32_t slot);
    void remove(std::uint32_t slot);
    void sift_up(std::size_t position);
    void sift_down(std::size_t position);
    [[nodiscard]] bool before(std::uint32_t left, std::uint32_t right) const noexcept;
    void set_heap(std::size_t position, std::uint32_t slot) noexcept {
        heap_[position] = slot;
        at(slot).heap_at = static_cast<std::uint32_t>(position);
    }

    SteadyTime start_;
    std::vector<std::unique_ptr<Slot[]>> chunks_;
    std::uint32_t slots_ = 0;  ///< handed out so far
    std::uint32_t free_ = no_place;
    std::uint64_t homes_end_ = 0;  ///< above every home that was ever added
    std::size_t size_ = 0;
    std::size_t counts_[4] = {};
    std::vector<std::uint32_t> heap_;  ///< pending halves, the first to be looked at in front
    SlotTable<HomeOf> by_home_{HomeOf{this}};
    SlotTable<HashOf> by_hash_{HashOf{this}};
};

}  // namespace hufu::broker
