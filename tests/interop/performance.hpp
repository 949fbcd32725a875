// The whole suite against one broker: the crowd of cases, the kill, access control.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "judged_broker.hpp"
#include "player.hpp"
#include "report.hpp"

namespace hufu::interop {

/// One client of the suite, ready to be started.
struct Role {
    std::string client;
    std::vector<std::string> cases;
    /// Words that start its player; the folder is new and its own.
    std::function<std::vector<std::string>(const std::string& folder, const std::string& name_server)> words;
};

class Performance {
public:
    using Start = std::function<std::unique_ptr<BrokerUnderTest>(const BrokerOptions&)>;

    /// `broker` names it in progress lines; `work` is a folder for its data and the players' transcripts.
    Performance(std::string broker, Start start, std::string work, std::string programs);

    /// Plays all cases of all roles; a case that no player told the outcome of is a failure.
    [[nodiscard]] Outcomes play(const std::vector<Role>& roles);

private:
    using Chosen = std::function<bool(std::string_view name)>;

    void act(const std::vector<Role>& roles, const char* act, bool access_control, const Chosen& chosen, Outcomes& outcomes);
    struct Seat;

    void conduct(std::vector<std::unique_ptr<Player>>& players, const std::vector<std::size_t>& counts,
                 BrokerUnderTest& broker, Outcomes& outcomes);
    void hear(Seat& seat, Outcomes& outcomes);
    void note(const Player& player, Said said, Outcomes& outcomes);

    std::string broker_;
    Start start_;
    std::string work_;
    std::string programs_;
};

}  // namespace hufu::interop
