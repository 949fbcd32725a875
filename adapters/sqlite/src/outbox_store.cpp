#include <hufu/sqlite/outbox_store.hpp>

#include <hufu/core/assert.hpp>
#include <hufu/sqlite/schema.hpp>

#include "awaiting.hpp"
#include "error.hpp"
#include "lane.hpp"
#include "message_row.hpp"
#include "parking_lot.hpp"

namespace hufu::sqlite {
namespace {

class OutboxStore final : public outbox::Store {
public:
    explicit OutboxStore(std::shared_ptr<Database> database) : database_{std::move(database)} {
        HUFU_ASSERT(database_ != nullptr);
    }

    std::unique_ptr<outbox::LaneLease> lease() override { return std::make_unique<Lease>(database_); }
    std::unique_ptr<outbox::LaneReader> reader() override { return std::make_unique<Reader>(database_); }
    std::unique_ptr<outbox::LaneSettler> settler() override { return std::make_unique<Settler>(database_); }
    std::unique_ptr<outbox::ParkingLot> parking_lot() override { return std::make_unique<Lot>(database_); }
    std::unique_ptr<outbox::DelayedRows> delayed_rows() override { return std::make_unique<Delayed>(database_); }
    std::unique_ptr<outbox::AwaitingRows> awaiting_rows() override { return std::make_unique<Awaiting>(database_); }
    std::string describe() const override { return "sqlite:" + database_->path(); }
    Result<outbox::Status> status() override;

private:
    std::shared_ptr<Database> database_;
};

Result<outbox::Status> OutboxStore::status() {
    using std::chrono::microseconds;
    using std::chrono::milliseconds;
    if (const auto fits = check_schema(*database_); !fits) {
        return fits.error();
    }
    const auto version = schema_version(*database_);
    if (!version) {
        return version.error();
    }
    return caught<outbox::Status>([&]() -> Result<outbox::Status> {
        const auto now = microseconds_of(database_->clock().system_now());
        const auto until = [now](std::int64_t us) { return std::chrono::floor<milliseconds>(microseconds{us - now}); };
        outbox::Status status;
        status.schema_version = *version;
        Transaction tx{*database_, Transaction::Access::read};
        auto lane = tx.query("select count(*), min(created_at_us) from hufu_outbox");
        lane.step();
        status.pending = static_cast<std::uint64_t>(lane.integer(0));
        if (!lane.is_null(1)) {
            status.oldest_age = -until(lane.integer(1));
        }
        auto parked = tx.query(
            "select coalesce(sum(n), 0), count(*) from "
            "(select count(*) as n from hufu_parked group by topic, ordering_key)");
        parked.step();
        status.parked_rows = static_cast<std::uint64_t>(parked.integer(0));
        status.parked_keys = static_cast<std::uint64_t>(parked.integer(1));
        auto delayed = tx.query("select count(*), min(due_at_us) from hufu_delayed");
        delayed.step();
        status.delayed = static_cast<std::uint64_t>(delayed.integer(0));
        if (!delayed.is_null(1)) {
            status.next_due_in = until(delayed.integer(1));
        }
        auto awaiting = tx.query("select (select count(*) from hufu_awaiting), (select count(*) from hufu_awaiting_parked)");
        awaiting.step();
        status.awaiting = static_cast<std::uint64_t>(awaiting.integer(0));
        status.awaiting_parked = static_cast<std::uint64_t>(awaiting.integer(1));
        auto owner = tx.query("select owner, epoch, lease_until_us from hufu_lane where lane = 0 and owner is not null");
        if (owner.step()) {
            status.owner =
                outbox::LaneOwner{owner.text(0), static_cast<std::uint64_t>(owner.integer(1)), until(owner.integer(2))};
        }
        return status;
    });
}

}  // namespace

std::unique_ptr<outbox::Store> outbox_store(std::shared_ptr<Database> database) {
    return std::make_unique<OutboxStore>(std::move(database));
}

}  // namespace hufu::sqlite
