#include "run.hpp"

#include <filesystem>
#include <hufu/connect/connect.hpp>
#include <hufu/outbox/store.hpp>
#include <optional>
#include <hufu/core/clock.hpp>
#include <hufu/core/error.hpp>

#include "chaos.hpp"
#include "databases.hpp"
#include "evidence_reader.hpp"
#include "http/client.hpp"
#include "ladder_reader.hpp"
#include "load.hpp"

namespace shop::demo {
namespace {

constexpr std::int64_t delivered = 1'000'000;        // on every shelf: more than all orders together take
constexpr std::chrono::milliseconds look_every{20};  // at the load
constexpr std::chrono::milliseconds tell_every{5'000};
constexpr std::chrono::milliseconds progress_every{250};  // at the databases
constexpr std::chrono::seconds still{15};                 // nothing moved for so long: what is missing will not come

class Run {
public:
    Run(const RunOptions& options, const Tell& tell, std::stop_token stop)
        : options_{options},
          tell_{tell},
          stop_{std::move(stop)},
          started_{clock_.steady_now()},
          databases_{open_databases()},
          fleet_{{.programs = options.programs,
                  .directory = options.directory,
                  .mode = options.mode,
                  .breaking = options.breaking},
                 *databases_} {}

    Outcome run() {
        outcome_.mode = to_string(options_.mode);
        tell_(std::string{"starting broker"} +
              (options_.mode == Mode::outbox     ? ", services and relays in "
               : options_.mode == Mode::buffered ? ", Redis and services in "
                                                 : " and services in ") +
              options_.directory);
        fleet_.start_all();
        fill_shelves();
        load_and_break();
        const auto order = open_store(databases_->url("order"));
        const auto payment = open_store(databases_->url("payment"));
        const auto stock = open_store(databases_->url("stock"));
        const Stores stores{*order, *payment, *stock};
        if (options_.mode == Mode::buffered) wait_until_drained();
        wait_until_quiet(stores);
        outcome_.seconds = std::chrono::duration<double>(clock_.steady_now() - started_).count();
        if (options_.mode == Mode::buffered) count_what_is_left();
        fleet_.end_all();
        return outcome_;
    }

private:
    std::unique_ptr<Databases> open_databases() const {
        return options_.postgres ? postgres_databases(options_.directory, options_.programs)
                                 : sqlite_databases(options_.directory);
    }

    void fill_shelves() {
        HttpClient client{"127.0.0.1", fleet_.port(Member::stock), std::chrono::seconds{10}};
        for (std::uint64_t i = 0; i < LoadOptions{}.skus; ++i) {
            const auto answer =
                client.send({"PUT", "/stock/" + sku(i), R"({"quantity":)" + std::to_string(delivered) + "}"}).value();
            if (answer.status != 200) throw std::runtime_error{"shelf not filled: " + answer.body};
        }
    }

    /// The first order goes alone and is waited for: topics, queues and lane owners come into being with it.
    void place_first_order(LedgerWriter& ledger) {
        Load{{.port = fleet_.port(Member::order), .orders = 1, .connections = 1}, ledger}.join();
        HttpClient client{"127.0.0.1", fleet_.port(Member::order), std::chrono::seconds{10}};
        for (;;) {
            const auto answer = client.send({"GET", "/orders/" + order_id(0), ""}).value();
            if (answer.body.find(R"("state":"paid")") != std::string::npos) return;
            fleet_.check_all_alive();
            check_time("the first order was not paid");
            wait(look_every);
        }
    }

    void load_and_break() {
        LedgerWriter ledger{ledger_path()};
        place_first_order(ledger);
        Chaos chaos{fleet_, {.kills = options_.kills, .orders = options_.orders, .seed = options_.seed}, tell_, [this] {
                        return lane_owner();
                    }};
        Load load{{.port = fleet_.port(Member::order),
                   .first = 1,
                   .orders = options_.orders,
                   .orders_per_second = options_.orders_per_second},
                  ledger};
        auto next_tell = clock_.steady_now();
        while (!load.finished()) {
            chaos.step(load.accepted());
            fleet_.check_all_alive();
            check_time("the load did not end");
            note_drain(chaos);
            if (clock_.steady_now() >= next_tell) {
                tell_(std::to_string(load.accepted()) + " of " + std::to_string(options_.orders) + " orders accepted, " +
                      std::to_string(chaos.kills()) + " of " + std::to_string(options_.kills) + " kills");
                next_tell = clock_.steady_now() + tell_every;
            }
            wait(look_every);
        }
        load.join();
        while (!chaos.finished()) chaos.step(options_.orders);
        outcome_.kills = chaos.kills();
        outcome_.in_doubt = load.in_doubt();
        windows_ = chaos.windows();
        if (options_.mode != Mode::buffered) return;
        outcome_.buffered.emplace();
        outcome_.buffered->outage_seconds = std::chrono::duration<double>(chaos.outage()).count();
        broker_back_at_ = chaos.broker_back_at();
    }

    /// The buffers may run empty while orders still come.
    void note_drain(const Chaos& chaos) {
        if (drained_at_ || chaos.broker_back_at() == hufu::SteadyTime{}) return;
        if (read_ladder(fleet_.port(Member::order)).drained()) drained_at_ = clock_.steady_now();
    }

    /// Looks at the ladder until it is empty, or nothing has moved for so long that it never will be; what is then buffered is
    /// counted again by `count_what_is_left`.
    void wait_until_drained() {
        Ladder last;
        for (auto moved_at = clock_.steady_now(); clock_.steady_now() - moved_at < still; wait(look_every)) {
            const Ladder now = read_ladder(fleet_.port(Member::order));
            outcome_.buffered->by_redis = now.spilled.at(0);
            outcome_.buffered->by_journal = now.spilled.at(1);
            outcome_.buffered->refused = now.refused;
            if (now.drained()) break;
            if (now != last) moved_at = clock_.steady_now();
            last = now;
            fleet_.check_all_alive();
            check_time("the buffers did not run empty");
        }
        outcome_.buffered->drain_ms =
            std::chrono::duration<double, std::milli>(drained_at_.value_or(clock_.steady_now()) - broker_back_at_).count();
    }

    /// By a stranger, once the order service has let go of them.
    void count_what_is_left() {
        fleet_.end(Member::order);
        for (const auto& url : fleet_.buffer_urls()) {
            const auto size = hufu::connect::buffer(url).value()->size().value();
            outcome_.buffered->left += size.entries + size.parked;
        }
    }

    /// Until all that was promised has happened, or nothing has moved for so long that it never will.
    void wait_until_quiet(const Stores& stores) {
        tell_("load is over, waiting until everything has arrived");
        Progress last;
        auto moved_at = clock_.steady_now();
        for (;;) {
            const auto progress = read_progress(stores);
            const auto now = clock_.steady_now();
            const bool moved = progress != last;
            if (moved) moved_at = now;
            last = progress;
            const bool out_of_time = now - started_ > options_.limit;
            if (out_of_time || now - moved_at > still || (progress.backlog == 0 && !moved)) {
                const auto ledger = read_ledger(ledger_path());
                outcome_.verdict = judge(ledger, read_evidence(stores, delivered), windows_);
                const bool all_there = outcome_.verdict.lost == 0 && progress.backlog == 0;
                if (all_there) return;
                if (out_of_time || now - moved_at > still) {
                    outcome_.stuck = stuck(progress);
                    return;
                }
            }
            fleet_.check_all_alive();
            check_stop();
            wait(progress_every);
        }
    }

    [[nodiscard]] std::string lane_owner() const {
        const auto store = open_store(databases_->url("order"));
        const auto status = store->outbox()->status();
        return status && status->owner ? status->owner->owner : "";
    }

    static std::string stuck(const Progress& progress) {
        if (progress.backlog == 0) return "";
        return "everything heals: " + std::to_string(progress.backlog) + " messages never left the outboxes, " +
               std::to_string(progress.parked) + " are parked";
    }

    void check_time(const std::string& what) {
        check_stop();
        if (clock_.steady_now() - started_ > options_.limit) {
            throw hufu::Exception{{hufu::ErrorCode::timeout, hufu::Disposition::fatal,
                                   what + " within " + std::to_string(options_.limit.count()) +
                                       " s; give more with --seconds-limit, or fewer --orders"}};
        }
    }

    void check_stop() const {
        if (stop_.stop_requested()) {
            throw hufu::Exception{{hufu::ErrorCode::cancelled, hufu::Disposition::retry, "stopped before the end"}};
        }
    }

    void wait(std::chrono::milliseconds time) { clock_.sleep_until(clock_.steady_now() + time, stop_); }
    [[nodiscard]] std::string ledger_path() const { return options_.directory + "/ledger.txt"; }

    const RunOptions& options_;
    const Tell& tell_;
    std::stop_token stop_;
    hufu::Clock& clock_ = hufu::system_clock();
    hufu::SteadyTime started_;
    std::unique_ptr<Databases> databases_;
    Fleet fleet_;
    std::vector<Window> windows_;
    hufu::SteadyTime broker_back_at_{};
    std::optional<hufu::SteadyTime> drained_at_;
    Outcome outcome_;
};

}  // namespace

Outcome run(const RunOptions& options, const Tell& tell, std::stop_token stop) {
    std::filesystem::create_directories(options.directory + "/logs");
    return Run{options, tell, std::move(stop)}.run();
}

}  // namespace shop::demo
