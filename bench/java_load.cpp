#include "java_load.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <hufu/test_support/child.hpp>
#include <hufu/test_support/java.hpp>

namespace hufu::bench {
namespace {

constexpr std::chrono::seconds warm_up{5};

/// The last number before " records/sec" in what ProducerPerformance printed.
double last_rate(const std::string& output) {
    constexpr std::string_view unit = " records/sec";
    const std::size_t end = output.rfind(unit);
    const std::size_t begin = end == std::string::npos ? end : output.find_last_of(", ", end - 1);
    if (begin == std::string::npos) {
        throw std::runtime_error{"Kafka's producer printed no rate: " +
                                 output.substr(output.size() - std::min<std::size_t>(output.size(), 800))};
    }
    return std::strtod(output.c_str() + begin + 1, nullptr);
}

}  // namespace

Leg rocketmq_producer_leg(const Side& side, const std::string& name_server, const LoadShape& shape, int threads,
                          double seconds, const std::string& folder) {
    const std::string output = folder + "/java-producer.log";
    std::error_code ignored;
    test_support::Child producer{{.arguments = test_support::java_words(
                                      {.jars = "rocketmq-example-5.5.0",
                                       .main_class = "org.apache.rocketmq.example.benchmark.Producer",
                                       .flags = {"-Xms256m", "-Xmx256m", "-Duser.home=" + folder},
                                       .arguments = {"-n", name_server, "-t", shape.topic, "-w", std::to_string(threads),
                                                     "-s", std::to_string(shape.body_bytes)}}),
                                  .output = output}};
    pass(warm_up);
    auto reader = QueueReader::connect(side.port).value();
    Clock& clock = system_clock();
    const std::uint64_t stored_before = reader.stored(shape).value();
    const SteadyTime begin = clock.steady_now();
    const Usage before = side.usage();
    pass(std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1e3)});
    const Usage after = side.usage();
    const SteadyTime end = clock.steady_now();
    const std::uint64_t stored_after = reader.stored(shape).value();
    if (!producer.running() || stored_after == stored_before) {
        throw std::runtime_error{"RocketMQ's producer sends nothing: " + test_support::file_tail(output)};
    }
    const auto messages = static_cast<double>(stored_after - stored_before);
    return {
        .rate = messages / std::chrono::duration<double>(end - begin).count(), .messages = messages, .used = after - before};
}

Leg kafka_producer_leg(const Side& side, const std::string& topic, std::uint64_t warm_up_messages, std::uint64_t messages,
                       std::size_t body_bytes, const std::string& folder) {
    const std::string output = folder + "/kafka-producer.log";
    std::ofstream{output, std::ios::trunc}.flush();
    const Usage before = side.usage();
    test_support::run(
        {.arguments = test_support::java_words(
             {.jars = "kafka-4.3.1",
              .main_class = "org.apache.kafka.tools.ProducerPerformance",
              .flags = {"-Xms256m", "-Xmx256m"},
              .arguments = {"--bootstrap-server", "127.0.0.1:" + std::to_string(side.port), "--topic", topic,
                            "--num-records", std::to_string(warm_up_messages + messages), "--warmup-records",
                            std::to_string(warm_up_messages), "--record-size", std::to_string(body_bytes), "--throughput",
                            "-1", "--command-property", "acks=all", "batch.size=65536", "linger.ms=5"}}),
         .output = output});
    const Usage after = side.usage();
    std::ifstream file{output};
    const std::string said{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    // The costs are of the warm-up's messages as well.
    return {.rate = last_rate(said), .messages = static_cast<double>(warm_up_messages + messages), .used = after - before};
}

}  // namespace hufu::bench
