// The bundled broker as a process of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <hufu/test_support/child.hpp>

namespace hufu::test_support {

struct HufuBrokerStart {
    std::string program = {};  ///< hufu-broker
    std::string folder = {};   ///< keeps its data in "data", and what it says in "broker.log"
    std::uint16_t port = 0;    ///< of 127.0.0.1
    std::vector<std::string> flags = {};
};

/// Returns when it accepts connections; again on the same folder after its end. Throws std::runtime_error with the tail of its
/// log when it does not come up.
[[nodiscard]] Child start_hufu_broker(const HufuBrokerStart& start);

}  // namespace hufu::test_support
