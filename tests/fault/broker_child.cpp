#include "broker_child.hpp"

#include <stdexcept>

#include <hufu/core/clock.hpp>

namespace hufu::fault {

BrokerChild::BrokerChild(const Programs& programs, const std::string& folder, bool watched,
                         const std::vector<std::string>& orders)
    : port_{test_support::free_port()}, output_{folder + "/broker.log"} {
    test_support::ProcessOptions process;
    process.arguments = {"/usr/bin/env"};
    if (watched) {
        process.arguments.push_back("LD_PRELOAD=" + programs.folder + "/../lib/libhufu_page_loss_shim.so");
        process.arguments.push_back("ASAN_OPTIONS=verify_asan_link_order=0");
        process.arguments.push_back("HUFU_SHIM_DIR=" + folder + "/data");
        process.arguments.push_back("HUFU_SHIM_JOURNAL=" + folder + "/journal");
        process.arguments.insert(process.arguments.end(), orders.begin(), orders.end());
    }
    process.arguments.insert(process.arguments.end(), {programs.folder + "/hufu-broker", "--data", folder + "/data",
                                                       "--listen", "127.0.0.1:" + std::to_string(port_)});
    if (programs.break_sync) process.arguments.insert(process.arguments.end(), {"--durability", "async"});
    process.output = output_;
    child_ = test_support::Child{process};
}

std::chrono::milliseconds BrokerChild::wait_ready() {
    Clock& clock = system_clock();
    const SteadyTime start = clock.steady_now();
    if (!wait_ready_or_ended()) {
        throw std::runtime_error{"hufu-broker ended while starting; its last words: " + test_support::file_tail(output_)};
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock.steady_now() - start);
}

bool BrokerChild::wait_ready_or_ended() {
    Clock& clock = system_clock();
    const SteadyTime give_up = clock.steady_now() + std::chrono::seconds{20};
    while (!test_support::accepts(port_)) {
        if (!child_.running()) return false;
        if (clock.steady_now() > give_up) {
            throw std::runtime_error{"hufu-broker did not accept connections within 20 s; its last words: " +
                                     test_support::file_tail(output_)};
        }
        clock.sleep_until(clock.steady_now() + std::chrono::milliseconds{2}, {});
    }
    return true;
}

}  // namespace hufu::fault
