#include <hufu/test_support/hufu_broker.hpp>

namespace hufu::test_support {

Child start_hufu_broker(const HufuBrokerStart& start) {
    const std::string log = start.folder + "/broker.log";
    ProcessOptions process;
    process.arguments = {start.program, "--data", start.folder + "/data", "--listen",
                         "127.0.0.1:" + std::to_string(start.port)};
    process.arguments.insert(process.arguments.end(), start.flags.begin(), start.flags.end());
    process.output = log;
    Child broker{process};
    wait_until_ready(broker, "hufu-broker", log, [&start] { return accepts(start.port); });
    return broker;
}

}  // namespace hufu::test_support
