#include <hufu/broker/embedded.hpp>

namespace hufu::broker {

std::string EmbeddedBroker::socket_path(const std::string& folder) { return folder + "/broker.sock"; }

Result<std::unique_ptr<EmbeddedBroker>> EmbeddedBroker::open(ServerOptions options, Clock& clock, Random& random,
                                                             MetricsRegistry& metrics, hufu::Log& log) {
    if (options.unix_socket.empty()) options.unix_socket = socket_path(options.folder);
    auto server = Server::open(std::move(options), clock, random, metrics, log);
    if (!server) return server.error();
    return std::unique_ptr<EmbeddedBroker>{new EmbeddedBroker{std::move(*server)}};
}

EmbeddedBroker::EmbeddedBroker(std::unique_ptr<Server> server)
    : server_{std::move(server)}, thread_{[this](std::stop_token stop) {
          // A log that had to be given up shows at the clients: their sends are refused with its reason.
          static_cast<void>(server_->run(std::move(stop)));
      }} {}

EmbeddedBroker::~EmbeddedBroker() = default;

}  // namespace hufu::broker
