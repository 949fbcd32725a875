// What the rounds of one step and victim run in: database, brokers, services, and who looks on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <hufu/test_support/child.hpp>
#include <hufu/test_support/postgres_server.hpp>

#include "txmsg_broker.hpp"
#include "txmsg_cut.hpp"
#include "txmsg_judge.hpp"

namespace hufu::fault {

struct TxPrograms {
    std::string folder;  ///< of hufu, hufu-broker and hufu-fault-txmsg-service
    bool lie = false;    ///< checks are answered with commit, whatever the database says: the judge must see it
};

/// A database, and a broker's store or topics, of its own.
class Scene {
public:
    /// `original`: a RocketMQ for many scenes; null: a bundled broker of its own. Files go to `folder`.
    Scene(const TxPrograms& programs, test_support::PostgresServer& server, std::string folder, const std::string& step,
          const std::string& victim, TxBroker* original);

    /// A service process that answers checks; files of its own in `own`.
    test_support::Child service(const std::string& own, const std::string& step, const std::string& round, int transactions);
    /// Waits until the service has made the file `name`.
    static void wait_for_file(test_support::Child& child, const std::string& own, const std::string& name);
    /// Lets the service whose files are in `own` go on.
    static void release(const std::string& own);

    void kill_and_restart_database() { server_.restart(test_support::StopMode::kill); }
    void kill_and_restart_broker();
    void kill_and_restart_target();
    void kill_and_restart_forwarder();
    /// After a minute at most: how many transactions a bundled broker has not decided. Waits for the messages of all rows, too.
    std::uint64_t wait_decided();
    /// Lets a broker that does not tell what it holds ask about it.
    void let_it_ask(const std::string& own);

    [[nodiscard]] AnswerCut& cut() { return *cut_; }
    [[nodiscard]] Watcher& watcher() { return *watcher_; }
    [[nodiscard]] const std::string& folder() const { return folder_; }
    [[nodiscard]] TxVerdict judged();

private:
    void start_forwarder();

    const TxPrograms& programs_;
    test_support::PostgresServer& server_;
    const std::string folder_;
    std::unique_ptr<TxBroker> own_broker_;
    TxBroker& broker_;
    std::unique_ptr<AnswerCut> cut_;    // where the step wants it
    std::unique_ptr<TxBroker> target_;  // where the step forwards
    test_support::Child forwarder_;
    const TxPlace place_;
    std::unique_ptr<Watcher> watcher_;
};

}  // namespace hufu::fault
