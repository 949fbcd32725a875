package hufu.interop;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.RPCHook;

/** Signed clients. Only against a broker that was started with access control; the runner does that. */
final class Access {
    static final String KEY = "interop";
    static final String SECRET = "interop-tells-nobody";

    static void addTo(Map<String, Case> cases) {
        cases.put("acl_signed", Access::signed);
        cases.put("acl_wrong_secret", stage -> refused(stage, hook(KEY, "not the secret")));
        cases.put("acl_unknown_key", stage -> refused(stage, hook("nobody", SECRET)));
        cases.put("acl_unsigned", stage -> refused(stage, null));
    }

    static RPCHook hook(String key, String secret) {
        return new AclClientRPCHook(new SessionCredentials(key, secret));
    }

    private static void signed(Stage stage) throws Exception {
        String topic = stage.own("");
        DefaultMQProducer producer = stage.producerNotStarted(hook(KEY, SECRET));
        producer.start();
        Inbox inbox = new Inbox();
        List<String> bodies = Stage.numbered("signed-", 10);
        Stage.send(producer, topic, "", bodies);
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"), hook(KEY, SECRET));
        consumer.subscribe(topic, "*");
        Stage.into(consumer, inbox);
        consumer.start();
        inbox.exactly(bodies, "consumed");
        var admin = stage.theatre.newAdmin("signed-admin", hook(KEY, SECRET));
        Expect.that(admin.fetchAllTopicList().getTopicList().contains(topic), "the topic is not in the list");
        Expect.equal(1, admin.examineConsumerConnectionInfo(stage.own("g")).getConnectionSet().size(), "connections of the group");
        admin.shutdown();
    }

    private static void refused(Stage stage, RPCHook hook) throws Exception {
        DefaultMQProducer producer = stage.producerNotStarted(hook);
        producer.start();
        try {
            producer.send(new Message(stage.own("t"), Stage.bytes("not allowed")));
        } catch (Exception refusal) {
            // At the route already, or at the send.
            return;
        }
        throw new Expect.Failure("a send that is not signed well was taken");
    }

    private Access() {}
}
