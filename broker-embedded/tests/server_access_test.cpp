// Access control of the running program: flags, file, SIGHUP.
#include <hufu/remoting/acl.hpp>

#include "server_fixture.hpp"

namespace hufu::broker::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ServerAccess : public ::testing::Test {
protected:
    void write(const std::string& text) const { std::ofstream{file} << text; }
    /// What a send of one message is answered with.
    static ResponseCode send(const BrokerProcess& broker, const remoting::AclSigner* signer) {
        Client client{broker.port()};
        std::string frame = Client::send_frame(1, 0, "x");
        if (signer != nullptr) signer->sign(frame, 0).value();
        client.write(frame);
        const auto* answer = client.receive();
        return answer == nullptr ? ResponseCode::system_error : answer->response_code();
    }
    /// Asks the broker things until it has written the line.
    static bool says(const BrokerProcess& broker, const std::string& line) {
        for (int tries = 0; tries < 5000; ++tries) {
            if (broker.errors().find(line) != std::string::npos) return true;
            send(broker, nullptr);
        }
        return false;
    }

    TemporaryFolder folder;
    std::string file = folder.path() + "/access.toml";
    std::string data = folder.path() + "/data";
    const std::string old_secret = "the old secret of a";
    const std::string new_secret = "the new secret of a";
    remoting::AclSigner old_signer = remoting::AclSigner::create("a", old_secret).value();
    remoting::AclSigner new_signer = remoting::AclSigner::create("a", new_secret).value();
    const std::string rights = "\"\ntopics = [\"orders=PUB\"]\n";
};

TEST_F(ServerAccess, SignedRequestsPassAndTheFileIsReadAgainOnSighup) {
    write("[account.a]\nsecret_key = \"" + old_secret + rights);
    BrokerProcess broker{data, {"--listen", "127.0.0.1:0", "--acl", file}};
    ASSERT_FALSE(broker.address().empty()) << broker.errors();
    EXPECT_EQ(send(broker, nullptr), ResponseCode::no_permission);
    EXPECT_EQ(send(broker, &new_signer), ResponseCode::no_permission);
    EXPECT_EQ(send(broker, &old_signer), ResponseCode::success);

    write("[account.a]\nsecret_key = \"short\"\n");
    broker.signal(SIGHUP);
    ASSERT_TRUE(says(broker, "the access file is wrong; the accounts read before stay in force")) << broker.errors();
    EXPECT_EQ(send(broker, &old_signer), ResponseCode::success);

    write("[account.a]\nsecret_key = \"" + new_secret + rights + "[account.b]\nsecret_key = \"the secret of b....\"\n");
    broker.signal(SIGHUP);
    ASSERT_TRUE(says(broker, "accounts=2")) << broker.errors();
    EXPECT_EQ(send(broker, &old_signer), ResponseCode::no_permission);
    EXPECT_EQ(send(broker, &new_signer), ResponseCode::success);

    EXPECT_EQ(broker.end(SIGTERM), 0) << broker.errors();
    EXPECT_THAT(broker.errors(), HasSubstr("the signature of account"));
    EXPECT_THAT(broker.errors(), HasSubstr("refused SEND_MESSAGE_V2 (310) from 127.0.0.1:"));
    EXPECT_THAT(broker.errors(), Not(HasSubstr("secret of")));
}

TEST_F(ServerAccess, TheNetworkNeedsAccountsOrTheFlag) {
    BrokerProcess bare{data, {"--listen", "0.0.0.0:0"}};
    EXPECT_EQ(bare.wait(), 1);
    EXPECT_THAT(bare.errors(), HasSubstr("--acl FILE"));
    EXPECT_THAT(bare.errors(), HasSubstr("--allow-remote"));

    write("[account.a]\nsecret_key = \"" + old_secret + rights);
    BrokerProcess guarded{data, {"--listen", "0.0.0.0:0", "--acl", file}};
    EXPECT_FALSE(guarded.address().empty()) << guarded.errors();
    EXPECT_EQ(guarded.end(SIGTERM), 0);

    // Nobody signs a GET /metrics.
    BrokerProcess open_metrics{data, {"--listen", "0.0.0.0:0", "--acl", file, "--metrics-listen", "0.0.0.0:0"}};
    EXPECT_EQ(open_metrics.wait(), 1);
    EXPECT_THAT(open_metrics.errors(), HasSubstr("--metrics-listen \"0.0.0.0:0\" can be reached from other machines"));

    BrokerProcess missing{data, {"--listen", "127.0.0.1:0", "--acl", file + ".none"}};
    EXPECT_EQ(missing.wait(), 1);
    EXPECT_THAT(missing.errors(), HasSubstr("access.toml.none"));
}

}  // namespace
}  // namespace hufu::broker::testing
