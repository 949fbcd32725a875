#include <hufu/test_support/rocketmq_server.hpp>

#include <filesystem>
#include <fstream>

#include <hufu/core/clock.hpp>
#include <hufu/test_support/java.hpp>

namespace hufu::test_support {
namespace {

constexpr const char* jars = "rocketmq-5.3.3";

/// One log file per process. The broker's own logger at INFO: it says there when it is registered.
constexpr const char* logback = R"(<configuration>
  <appender name="F" class="ch.qos.logback.core.FileAppender">
    <file>${user.home}/rmq.log</file><append>true</append>
    <encoder><pattern>%d{HH:mm:ss.SSS} %p %c{0} %t - %m%n</pattern></encoder>
  </appender>
  <appender name="C" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%m%n</pattern></encoder></appender>
  <logger name="RocketmqConsole" level="INFO" additivity="false"><appender-ref ref="C"/></logger>
  <logger name="RocketmqBroker" level="INFO"/>
  <root level="WARN"><appender-ref ref="F"/></root>
</configuration>
)";

std::size_t size_of(const std::string& path) {
    std::error_code missing;
    const auto size = std::filesystem::file_size(path, missing);
    return missing ? 0 : size;
}

}  // namespace

RocketmqServer::RocketmqServer(RocketmqServerOptions options)
    : options_{std::move(options)}, folder_{"rocketmq", options_.directory, options_.parent} {
    name_server_port_ = free_port();
    // The broker's port, the one for the impatient two below it, and replication's, one above.
    broker_port_ = free_port({-2, 0, 1});
    std::ofstream{directory() + "/logback.xml"} << logback;
    start_name_server();
    start_broker();
}

std::vector<std::string> RocketmqServer::common_flags(const std::string& home) const {
    std::filesystem::create_directories(home);
    // Without the TLS switch each start makes a certificate, for a second or two.
    return {"-Drmq.logback.configurationFile=" + directory() + "/logback.xml", "-Dtls.server.mode=disabled",
            "-Duser.home=" + home};
}

void RocketmqServer::start_name_server() {
    std::ofstream{directory() + "/ns.conf"}
        << "listenPort=" << name_server_port_ << "\nbindAddress=127.0.0.1\nrocketmqHome=" << directory()
        << "\nkvConfigPath=" << directory() << "/kvConfig.json\nconfigStorePath=" << directory() << "/namesrv.properties\n";
    JavaProgram program{.jars = jars,
                        .main_class = "org.apache.rocketmq.namesrv.NamesrvStartup",
                        .flags = small_jvm(options_.fast ? 64 : 24),
                        .arguments = {"-c", directory() + "/ns.conf"},
                        .environment = {"ROCKETMQ_HOME=" + directory()}};
    for (auto& flag : common_flags(directory() + "/ns-home")) program.flags.push_back(std::move(flag));
    const std::string output = directory() + "/name-server.log";
    name_server_ = Child{{.arguments = java_words(program), .output = output}};
    wait_until_ready(name_server_, "RocketMQ's name server", output, [&] { return accepts(name_server_port_); });
}

void RocketmqServer::write_broker_configuration(const std::vector<std::string>& more) {
    std::ofstream file{directory() + "/broker.conf"};
    file << "brokerClusterName=" << cluster << "\nbrokerName=broker-a\nbrokerId=0\nnamesrvAddr=" << name_server()
         << "\nlistenPort=" << broker_port_ << "\nhaListenPort=" << broker_port_ + 1
         << "\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\nrocketmqHome=" << directory()
         << "\nstorePathRootDir=" << directory() << "/store\nstorePathCommitLog=" << directory()
         << "/store/commitlog\nflushDiskType=" << (options_.sync_flush ? "SYNC_FLUSH" : "ASYNC_FLUSH")
         << "\nautoCreateTopicEnable=true\nenablePropertyFilter=true\n"
         // By default marks of decided transactions are written every 3 s, and decided messages are checked back meanwhile.
         << "transactionTimeOut=3000\ntransactionCheckInterval=2000\ntransactionOpBatchInterval=100\n"
         << "timerPrecisionMs=100\ntimerFlushIntervalMs=100\n";
    if (!options_.fast) {
        file << "defaultTopicQueueNums=4\nmappedFileSizeTimerLog=1048576\nmappedFileSizeCommitLog=16777216\n"
             << "mappedFileSizeConsumeQueue=60000\nmaxHashSlotNum=2000\nmaxIndexNum=8000\n";
    }
    for (const auto& line : options_.settings) file << line << '\n';
    for (const auto& line : more) file << line << '\n';
}

void RocketmqServer::start_broker(const std::vector<std::string>& more) {
    if (broker_.running()) return;
    write_broker_configuration(more);
    JavaProgram program{.jars = jars,
                        .main_class = "org.apache.rocketmq.broker.BrokerStartup",
                        .flags = options_.fast ? fast_jvm(options_.heap_mb) : small_jvm(options_.heap_mb),
                        .arguments = {"-c", directory() + "/broker.conf"},
                        .environment = {"ROCKETMQ_HOME=" + directory()},
                        .syncs = options_.syncs};
    program.flags.push_back("-XX:MaxDirectMemorySize=" + std::string{options_.fast ? "1g" : "128m"});
    for (const char* opened : {"java.nio", "sun.nio.ch", "jdk.internal.ref"}) {
        program.flags.push_back(std::string{"--add-opens=java.base/"} + opened + "=ALL-UNNAMED");
    }
    for (auto& flag : common_flags(directory() + "/broker-home")) program.flags.push_back(std::move(flag));
    program.flags.insert(program.flags.end(), options_.flags.begin(), options_.flags.end());

    const std::string output = directory() + "/broker.log";
    const std::string log = directory() + "/broker-home/rmq.log";
    const std::size_t log_begin = size_of(log);
    Clock& clock = system_clock();
    const SteadyTime begin = clock.steady_now();
    broker_ = Child{{.arguments = java_words(program), .output = output}};
    wait_until_ready(broker_, "RocketMQ's broker", output, [&] { return accepts(broker_port_); });
    broker_start_ms_ = std::chrono::duration<double, std::milli>(clock.steady_now() - begin).count();
    // It accepts before it is registered, and sends to it then find no route; now and then the first registration is missed
    // and the next comes after 10 s.
    wait_until_ready(broker_, "RocketMQ's broker", output,
                     [&] { return file_contains(log, "Registering current broker to name server completed", log_begin); });
}

std::string RocketmqServer::log_tail() const { return file_tail(directory() + "/broker-home/rmq.log"); }

}  // namespace hufu::test_support
