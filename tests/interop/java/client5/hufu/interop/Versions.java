package hufu.interop;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What is different in the 5.3 client, and the cases that only it can play. */
final class Versions {
    static final String LABEL = "53";

    static void addTo(Map<String, Case> cases) {
        cases.put("send_compressed_lz4", stage -> compressed(stage, CompressionType.LZ4));
        cases.put("send_compressed_zstd", stage -> compressed(stage, CompressionType.ZSTD));
        cases.put("delay_recalled", Versions::recalled);
        cases.put("delay_recalled_too_late", Versions::recalledTooLate);
        cases.put("topic_type_of_delayed_messages", Versions::delayTopic);
        cases.put("topic_type_enforced", Versions::typeEnforced);
        cases.put("admin_topics_of_group", Versions::topicsOfGroup);
    }

    static void deleteTopicInNameServer(DefaultMQAdminExt admin, Set<String> servers, String cluster, String topic) throws Exception {
        admin.deleteTopicInNameServer(servers, cluster, topic);
    }

    static String[] queryMsgById(String topic, String id) {
        return new String[] {"-t", topic, "-i", id};
    }

    static void broadcast(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    static String offsetMsgId(MessageExt message) {
        return ((MessageClientExt) message).getOffsetMsgId();
    }

    static SubscriptionGroupConfig group(String name, int retries) {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(name);
        config.setRetryMaxTimes(retries);
        return config;
    }

    private static void compressed(Stage stage, CompressionType type) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        producer.setCompressType(type);
        Sending.compressed(stage, producer, topic);
    }

    private static Message delayed(String topic, String body, long milliseconds) {
        Message message = new Message(topic, Stage.bytes(body));
        message.setDelayTimeMs(milliseconds);
        return message;
    }

    private static void recalled(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        SendResult recalled = Stage.sent(producer.send(delayed(topic, "recalled", 4000)));
        Stage.sent(producer.send(delayed(topic, "kept", 4500)));
        Expect.that(recalled.getRecallHandle() != null && !recalled.getRecallHandle().isEmpty(), "no recall handle in the result");
        String id = producer.recallMessage(topic, recalled.getRecallHandle());
        Expect.equal(recalled.getMsgId(), id, "id of the recalled message");
        inbox.await(1);
        Thread.sleep(1500);
        Expect.equal(List.of("kept"), inbox.bodies(), "delivered");
    }

    private static void recalledTooLate(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        SendResult result = Stage.sent(producer.send(delayed(topic, "gone", 1500)));
        inbox.await(1);
        try {
            producer.recallMessage(topic, result.getRecallHandle());
        } catch (Exception refusal) {
            return;
        }
        throw new Expect.Failure("a message that was delivered already was recalled");
    }

    private static String typedTopic(Stage stage, String type) throws Exception {
        TopicConfig config = new TopicConfig(stage.own(type.toLowerCase(java.util.Locale.ROOT)), 1, 1, 6);
        config.getAttributes().put("+message.type", type);
        stage.admin().createAndUpdateTopicConfig(stage.brokerAddress(), config);
        stage.awaitRoute(config.getTopicName(), 1);
        TopicConfig made = stage.admin().examineTopicConfig(stage.brokerAddress(), config.getTopicName());
        Expect.equal(type, made.getAttributes().get("message.type"), "message.type");
        return config.getTopicName();
    }

    private static void delayTopic(Stage stage) throws Exception {
        String topic = typedTopic(stage, "DELAY");
        Stage.sent(stage.producer().send(delayed(topic, "later", 1000)));
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        inbox.exactly(List.of("later"), "consumed");
    }

    /** A real broker leaves this to its proxy. */
    private static void typeEnforced(Stage stage) throws Exception {
        String topic = typedTopic(stage, "NORMAL");
        DefaultMQProducer producer = stage.producer();
        Stage.sent(producer.send(new Message(topic, Stage.bytes("normal"))));
        try {
            producer.send(delayed(topic, "later", 1000));
        } catch (org.apache.rocketmq.client.exception.MQBrokerException refusal) {
            Expect.that(refusal.getErrorMessage() != null && refusal.getErrorMessage().contains(topic), "the refusal does not name the topic: " + refusal);
            return;
        }
        throw new Expect.Failure("a delayed message to a topic of NORMAL ones was taken");
    }

    private static void topicsOfGroup(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        Inbox inbox = new Inbox();
        stage.listen(group, topic, "Tag", inbox);
        Stage.send(stage.producer(), topic, "Tag", List.of("m"));
        inbox.await(1);
        Expect.eventually(20, "the group's topics", () -> stage.admin().queryTopicsByConsumer(group).getTopicList().contains(topic));
        Expect.equal("Tag", stage.admin().querySubscription(group, topic).getSubString(), "subscription");
    }

    private Versions() {}
}
