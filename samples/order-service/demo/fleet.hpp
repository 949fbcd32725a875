// All processes of a run: broker, three services and, in outbox mode, two relays of the order outbox; in buffered mode a Redis.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "child.hpp"
#include "databases.hpp"

namespace shop::demo {

/// In the order in which they start.
enum class Member : std::uint8_t { redis, broker, order, payment, stock, relay_a, relay_b };
inline constexpr std::array<Member, 7> all_members{Member::redis, Member::broker,  Member::order,  Member::payment,
                                                   Member::stock, Member::relay_a, Member::relay_b};
[[nodiscard]] std::string_view to_string(Member member) noexcept;

/// How the order service tells the others of what customers ask.
enum class Mode : std::uint8_t {
    outbox,    ///< rows of its outbox, carried by two relays
    txmsg,     ///< transaction messages; no relay runs
    buffered,  ///< messages after the commit; they wait in Redis and in a journal while the broker is away
};
[[nodiscard]] std::string_view to_string(Mode mode) noexcept;
/// Reads "outbox", "txmsg", "buffered".
[[nodiscard]] Mode mode_of(std::string_view name);

/// Which promise the run is meant to break, to prove that the oracle sees it.
enum class Break : std::uint8_t {
    none,
    guard,   ///< payment and stock run without their guard, and stop themselves between effect and acknowledgement
    settle,  ///< the relays delete rows before the broker has confirmed them
    buffer,  ///< Redis keeps nothing over its restart, and the order service is told not to mind
};

struct FleetOptions {
    std::string programs;   ///< folder of the executables
    std::string directory;  ///< folder of this run: data and logs
    Mode mode = Mode::outbox;
    Break breaking = Break::none;
    std::chrono::milliseconds lease{2'000};
    std::chrono::milliseconds payment_timeout{10'000};
};

/// Starts, hits and ends processes. One thread, which must live as long as the processes should.
class Fleet {
public:
    Fleet(FleetOptions options, const Databases& databases);

    /// Starts everything and waits until it answers. Throws `hufu::Exception` naming the member and its log.
    void start_all();
    void start(Member member);
    /// SIGKILL, and nobody is missed until it is started again.
    void take_down(Member member);
    void wait_ready(Member member);
    /// What a relay calls itself in the lane's lease; another name after every start.
    [[nodiscard]] std::string owner_name(Member relay) const;
    [[nodiscard]] Child& child(Member member) { return children_[static_cast<std::size_t>(member)].value(); }
    /// From now on payment and stock no longer stop themselves in the window of `Break::guard`.
    void stop_pausing() noexcept { pausing_ = false; }
    /// Throws when a member has ended that nobody hit.
    void check_all_alive();
    /// SIGTERM, and waits for the end.
    void end(Member member);
    /// SIGTERM to all, relays and services first.
    void end_all();

    /// Who runs in this mode.
    [[nodiscard]] std::span<const Member> members() const noexcept;
    [[nodiscard]] std::uint16_t port(Member member) const { return ports_[static_cast<std::size_t>(member)]; }
    [[nodiscard]] const FleetOptions& options() const noexcept { return options_; }
    /// Where the order service's events wait in buffered mode, from the first to the last.
    [[nodiscard]] std::vector<std::string> buffer_urls() const;

private:
    [[nodiscard]] ChildOptions command(Member member) const;
    [[nodiscard]] ChildOptions service(Member member) const;
    [[nodiscard]] ChildOptions relay(Member member) const;
    [[nodiscard]] ChildOptions redis() const;
    [[nodiscard]] bool answers(Member member) const;
    [[nodiscard]] std::string log_of(Member member) const;
    [[nodiscard]] std::string broker_url() const;

    FleetOptions options_;
    const Databases& databases_;
    bool pausing_ = true;
    std::array<unsigned, all_members.size()> starts_{};
    std::array<std::uint16_t, all_members.size()> ports_{};
    std::array<std::optional<Child>, all_members.size()> children_;
};

}  // namespace shop::demo
