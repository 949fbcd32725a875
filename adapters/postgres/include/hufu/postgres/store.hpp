// The outbox's tables in a PostgreSQL database, as the relay sees them.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <hufu/outbox/store.hpp>

namespace hufu::postgres {

class SettleMarks;  // src/hole_watch.hpp

struct StoreOptions {
    /// No answer for this long: the connection is given up and made anew.
    std::chrono::milliseconds answer_timeout{30000};
};

/// Lane 0 of the database behind `url` (libpq URL or keywords). The ports' sessions speak libpq directly, in binary form,
/// with prepared statements; connect to the server itself, not to a pooler in transaction mode.
///
/// At each connect a port checks the schema version (`wrong_version`/fatal with the way out), and refuses a standby
/// (`unavailable`/retry). The history's identity is system identifier, timeline and start of the server (and of its
/// statistics, which begin anew after a crash of a backend), so a restart, a failover or a restored copy is noticed.
/// Claiming the lane and starting to read learn it anew: shortly after a start the server can still change it.
/// Settling runs with synchronous_commit = off: after a crash of the server up to three times wal_writer_delay of
/// deletions are undone, which are messages sent twice.
class Store final : public outbox::Store {
public:
    explicit Store(std::string url, StoreOptions options = {});
    ~Store() override;

    [[nodiscard]] std::unique_ptr<outbox::LaneLease> lease() override;
    [[nodiscard]] std::unique_ptr<outbox::LaneReader> reader() override;
    [[nodiscard]] std::unique_ptr<outbox::LaneSettler> settler() override;
    [[nodiscard]] std::unique_ptr<outbox::ParkingLot> parking_lot() override;
    [[nodiscard]] std::unique_ptr<outbox::DelayedRows> delayed_rows() override;
    [[nodiscard]] std::unique_ptr<outbox::AwaitingRows> awaiting_rows() override;
    Result<outbox::Status> status() override;
    [[nodiscard]] std::string describe() const override;

private:
    std::string url_;
    StoreOptions options_;
    std::shared_ptr<SettleMarks> marks_;
};

}  // namespace hufu::postgres
