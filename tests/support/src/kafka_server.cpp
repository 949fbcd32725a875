#include <hufu/test_support/kafka_server.hpp>

#include <filesystem>
#include <fstream>

#include <hufu/core/clock.hpp>
#include <hufu/test_support/java.hpp>

namespace hufu::test_support {
namespace {

constexpr const char* jars = "kafka-4.3.1";
constexpr const char* cluster_id = "aHVmdS10ZXN0LWthZmthMA";  // 22 characters of base64, none of them '-' or '_'

constexpr const char* logging = R"(rootLogger.level = WARN
rootLogger.appenderRef.c.ref = C
appender.c.type = Console
appender.c.name = C
appender.c.target = SYSTEM_ERR
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %c: %m%n
)";

constexpr const char* settings = R"(process.roles=broker,controller
node.id=1
listener.security.protocol.map=BROKER:PLAINTEXT,CTRL:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CTRL
num.partitions=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=2097152
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
controlled.shutdown.enable=true
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
)";

constexpr const char* small_settings = R"(num.network.threads=2
num.io.threads=2
background.threads=2
log.segment.bytes=4194304
log.index.size.max.bytes=65536
)";

}  // namespace

KafkaServer::KafkaServer(KafkaServerOptions options)
    : options_{std::move(options)}, folder_{"kafka", options_.directory, options_.parent}, port_{free_port({0, 1})} {
    write_configuration();
    if (!std::filesystem::exists(directory() + "/data/meta.properties")) format();
    start();
}

void KafkaServer::write_configuration() {
    std::ofstream{directory() + "/log4j2.properties"} << logging;
    const std::string broker = "BROKER://" + address();
    const std::string controller = "127.0.0.1:" + std::to_string(port_ + 1);
    std::ofstream file{directory() + "/server.properties"};
    file << settings << (options_.fast ? "" : small_settings) << "controller.quorum.voters=1@" << controller
         << "\nlisteners=" << broker << ",CTRL://" << controller << "\nadvertised.listeners=" << broker
         << "\nlog.dirs=" << directory() << "/data\n";
    if (options_.flush_each) file << "log.flush.interval.messages=1\n";
    for (const auto& line : options_.settings) file << line << '\n';
}

void KafkaServer::format() {
    run({.arguments = java_words(
             {.jars = jars,
              .main_class = "kafka.tools.StorageTool",
              .flags = small_jvm(128),
              .arguments = {"format", std::string{"--cluster-id="} + cluster_id, "-c", directory() + "/server.properties"}}),
         .output = directory() + "/format.log"});
}

void KafkaServer::start() {
    if (broker_.running()) return;
    JavaProgram program{.jars = jars,
                        .main_class = "kafka.Kafka",
                        .flags = options_.fast ? fast_jvm(options_.heap_mb) : small_jvm(options_.heap_mb),
                        .arguments = {directory() + "/server.properties"},
                        .syncs = options_.syncs};
    program.flags.insert(program.flags.end(), {"-Dkafka.logs.dir=" + directory(),
                                               "-Dlog4j2.configurationFile=" + directory() + "/log4j2.properties"});
    const std::string output = directory() + "/server.log";
    Clock& clock = system_clock();
    const SteadyTime begin = clock.steady_now();
    broker_ = Child{{.arguments = java_words(program), .output = output}};
    wait_until_ready(broker_, "Kafka", output, [&] { return accepts(port_); });
    start_ms_ = std::chrono::duration<double, std::milli>(clock.steady_now() - begin).count();
}

void KafkaServer::create_topic(const std::string& name, int partitions) {
    run({.arguments = java_words({.jars = jars,
                                  .main_class = "org.apache.kafka.tools.TopicCommand",
                                  .flags = small_jvm(128),
                                  .arguments = {"--bootstrap-server", address(), "--create", "--topic", name, "--partitions",
                                                std::to_string(partitions), "--replication-factor", "1"}}),
         .output = directory() + "/topic.log"});
}

}  // namespace hufu::test_support
