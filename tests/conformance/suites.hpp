// The suites' fixtures. Every store is run through all of them (outbox_suite.cpp, parking_suite.cpp, guard_suite.cpp,
// receipt_suite.cpp, verdict_suite.cpp).
#pragma once

#include <gtest/gtest.h>

#include <ostream>

#include "store_under_test.hpp"

namespace hufu::conformance {

/// The lane's ports.
class OutboxStore : public testing::TestWithParam<Factory> {
protected:
    outbox::Claim claim(const std::string& owner = "relay-1") {
        return under_test_->store().lease()->acquire(owner, std::chrono::seconds{30}).value().value();
    }
    std::vector<outbox::Row> rows(const outbox::ReadRequest& request = {.limit = 1'000}) {
        return under_test_->store().reader()->read(request).value().rows;
    }
    std::vector<outbox::Sequence> seqs(const outbox::ReadRequest& request = {.limit = 1'000}) {
        std::vector<outbox::Sequence> found;
        for (const auto& row : rows(request)) {
            found.push_back(row.seq);
        }
        return found;
    }
    static Message message(const std::string& key, const std::string& body) {
        return {.topic = "orders", .ordering_key = key, .body = body};
    }

    std::unique_ptr<StoreUnderTest> under_test_ = GetParam().make();
};

/// The parking lot.
class ParkingLot : public OutboxStore {
protected:
    void SetUp() override;
    outbox::ParkingLot& lot() { return *lot_; }

    outbox::Claim claim_;
    std::vector<outbox::Sequence> seqs_;  ///< key "a", "a", "b", none, none
    std::unique_ptr<outbox::ParkingLot> lot_;
};

/// The book of messages that wait for receipts.
class ReceiptBook : public OutboxStore {
protected:
    void SetUp() override;
    void append(const MessageId& id, const outbox::Receipts& receipts, const std::string& key = "42");
    void settle_all();
    std::vector<outbox::ReceiptVerdict> take(const std::vector<outbox::Receipt>& receipts);
    outbox::LifeStory story(const MessageId& id);
    std::vector<std::string> events(const MessageId& id);

    std::unique_ptr<outbox::AwaitingRows> book_;
};

/// The guard.
class Guard : public testing::TestWithParam<Factory> {
protected:
    std::unique_ptr<StoreUnderTest> under_test_ = GetParam().make();
};

/// Effects that send, on the guard.
class ConsumeProcessProduce : public Guard {};
/// Several messages in one transaction, on the guard.
class GuardedBatches : public Guard {};
/// Parked keys and attempt rows.
class ConsumerMemory : public Guard {};

/// The verdict table and the producer that writes it.
class Verdicts : public testing::TestWithParam<Factory> {
protected:
    std::unique_ptr<StoreUnderTest> under_test_ = GetParam().make();
};

}  // namespace hufu::conformance
