package hufu.interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What one case has for itself: topics and groups that no other case uses, and clients that are closed behind it. */
final class Stage {
    final Theatre theatre;
    private final String name;
    private final List<Runnable> closing = new ArrayList<>();
    private final AtomicInteger instances = new AtomicInteger();

    Stage(Theatre theatre, String name) {
        this.theatre = theatre;
        this.name = name;
    }

    static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** prefix0, prefix1, … */
    static List<String> numbered(String prefix, int count) {
        List<String> all = new ArrayList<>();
        for (int i = 0; i < count; ++i) {
            all.add(prefix + i);
        }
        return all;
    }

    /** A name of this case and this client. */
    String own(String what) {
        return "it" + Versions.LABEL + "_" + name + (what.isEmpty() ? "" : "_" + what);
    }

    DefaultMQAdminExt admin() throws Exception {
        return theatre.admin();
    }

    String brokerName() throws Exception {
        return admin().examineBrokerClusterInfo().getBrokerAddrTable().keySet().iterator().next();
    }

    String brokerAddress() throws Exception {
        return admin().examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next().selectBrokerAddr();
    }

    String clusterName() throws Exception {
        return admin().examineBrokerClusterInfo().getClusterAddrTable().keySet().iterator().next();
    }

    /** A topic of this case, made and in the route. */
    String topic(String what, int queues) throws Exception {
        String topic = own(what);
        admin().createAndUpdateTopicConfig(brokerAddress(), new TopicConfig(topic, queues, queues, 6));
        awaitRoute(topic, queues);
        return topic;
    }

    String topic(int queues) throws Exception {
        return topic("", queues);
    }

    void awaitRoute(String topic, int queues) throws Exception {
        Expect.eventually(20, "topic " + topic + " in the route", () -> {
            var route = admin().examineTopicRouteInfo(topic);
            return !route.getQueueDatas().isEmpty() && route.getQueueDatas().get(0).getReadQueueNums() == queues;
        });
    }

    private <Client extends ClientConfig> Client tuned(Client client) {
        client.setNamesrvAddr(theatre.namesrv);
        client.setInstanceName(name + "-" + Versions.LABEL + "-" + instances.incrementAndGet());
        client.setPollNameServerInterval(1000);
        client.setHeartbeatBrokerInterval(1000);
        client.setPersistConsumerOffsetInterval(500);
        client.setClientCallbackExecutorThreads(2);
        return client;
    }

    private synchronized void onClose(Runnable action) {
        closing.add(action);
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = producerNotStarted(null);
        producer.start();
        return producer;
    }

    DefaultMQProducer producerNotStarted(RPCHook hook) {
        DefaultMQProducer producer = tuned(new DefaultMQProducer(own("p"), hook));
        return prepared(producer);
    }

    DefaultMQProducer prepared(DefaultMQProducer producer) {
        tuned(producer);
        producer.setSendMsgTimeout(10_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        onClose(producer::shutdown);
        return producer;
    }

    DefaultMQPushConsumer pushConsumer(String group) {
        return pushConsumer(group, null);
    }

    DefaultMQPushConsumer pushConsumer(String group, RPCHook hook) {
        return prepared(new DefaultMQPushConsumer(group, hook, new org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely()));
    }

    DefaultMQPushConsumer prepared(DefaultMQPushConsumer consumer) {
        tuned(consumer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(2);
        consumer.setConsumeThreadMax(4);
        // What was handled is committed before the consumer is gone.
        consumer.setAwaitTerminationMillisWhenShutdown(3000);
        onClose(consumer::shutdown);
        return consumer;
    }

    /** A started consumer of one topic that puts all it gets into the inbox. */
    DefaultMQPushConsumer listen(String group, String topic, String tags, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = pushConsumer(group);
        consumer.subscribe(topic, tags);
        into(consumer, inbox);
        consumer.start();
        return consumer;
    }

    static void into(DefaultMQPushConsumer consumer, Inbox inbox) {
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.putAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
    }

    DefaultLitePullConsumer litePull(String group) {
        DefaultLitePullConsumer consumer = tuned(new DefaultLitePullConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setTopicMetadataCheckIntervalMillis(1000);
        consumer.setAutoCommitIntervalMillis(1000);
        consumer.setPullThreadNums(2);
        onClose(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer pull(String group) throws Exception {
        DefaultMQPullConsumer consumer = tuned(new DefaultMQPullConsumer(group));
        onClose(consumer::shutdown);
        consumer.start();
        return consumer;
    }

    static SendResult sent(SendResult result) {
        Expect.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        return result;
    }

    /** Sends these bodies one after the other. */
    static void send(DefaultMQProducer producer, String topic, String tags, List<String> bodies) throws Exception {
        for (String body : bodies) {
            sent(producer.send(new Message(topic, tags, bytes(body))));
        }
    }

    /** All that is stored in the topic now, read queue by queue from the beginning with a pull consumer. */
    List<MessageExt> stored(String topic) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        DefaultMQPullConsumer reader = pull(own("reader"));
        for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
            long offset = reader.minOffset(queue);
            while (offset < reader.maxOffset(queue)) {
                var pulled = reader.pull(queue, "*", offset, 32);
                if (pulled.getMsgFoundList() != null) {
                    all.addAll(pulled.getMsgFoundList());
                }
                Expect.that(pulled.getNextBeginOffset() > offset, "a pull at " + offset + " of " + queue + " went nowhere: " + pulled);
                offset = pulled.getNextBeginOffset();
            }
        }
        reader.shutdown();
        return all;
    }

    /** Client threads end in the background: the next case need not wait for them. */
    synchronized void closeLater() {
        for (Runnable action : closing) {
            theatre.later(() -> {
                try {
                    action.run();
                } catch (RuntimeException ignored) {
                    // A client that never started has nothing to close.
                }
            });
        }
        closing.clear();
    }
}
