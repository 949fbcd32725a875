package hufu.interop;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;

/** Ways to send, and that what comes out is what went in. */
final class Sending {
    static void addTo(Map<String, Case> cases) {
        cases.put("send_sync", Sending::sync);
        cases.put("send_one_way", Sending::oneWay);
        cases.put("send_async", Sending::async);
        cases.put("send_batch", Sending::batch);
        cases.put("send_batch_ids", Sending::batchIds);
        cases.put("send_orderly", Sending::orderly);
        cases.put("send_creates_topic", Sending::createsTopic);
        cases.put("send_oversized", Sending::oversized);
        cases.put("send_too_many_properties", Sending::tooManyProperties);
        cases.put("send_to_system_topic", Sending::toSystemTopic);
        cases.put("send_compressed_zlib", Sending::compressed);
        cases.put("send_traced", Sending::traced);
    }

    private static void sync(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        List<SendResult> results = new ArrayList<>();
        List<String> bodies = Stage.numbered("body ü 虎符 ", 20);
        for (String body : bodies) {
            Message message = new Message(topic, "Tag", "key-a key-b", Stage.bytes(body));
            message.putUserProperty("colour", "grün");
            message.putUserProperty("empty ones are refused by the client", "so this is not");
            message.setFlag(7);
            results.add(Stage.sent(producer.send(message)));
        }
        Set<String> places = new HashSet<>();
        for (SendResult result : results) {
            Expect.equal(topic, result.getMessageQueue().getTopic(), "topic in the result");
            Expect.that(places.add(result.getMessageQueue().getQueueId() + "/" + result.getQueueOffset()), "two messages at one offset: " + result);
            Expect.that(MessageDecoder.decodeMessageId(result.getOffsetMsgId()).getOffset() >= 0, "offset id " + result.getOffsetMsgId());
        }
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        for (MessageExt got : inbox.exactly(bodies, "consumed")) {
            SendResult result = results.get(bodies.indexOf(Stage.body(got)));
            Expect.equal(result.getMsgId(), got.getMsgId(), "message id");
            Expect.equal(result.getOffsetMsgId(), Versions.offsetMsgId(got), "offset id");
            Expect.equal(result.getQueueOffset(), got.getQueueOffset(), "queue offset");
            Expect.equal("Tag", got.getTags(), "tag");
            Expect.equal("key-a key-b", got.getKeys(), "keys");
            Expect.equal("grün", got.getUserProperty("colour"), "user property");
            Expect.equal(7, got.getFlag(), "flag");
            Expect.equal(0, got.getReconsumeTimes(), "reconsume times");
            Expect.between(0, 60_000, System.currentTimeMillis() - got.getStoreTimestamp(), "age of the message");
        }
    }

    private static void oneWay(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        List<String> bodies = Stage.numbered("oneway-", 20);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        for (String body : bodies) {
            producer.sendOneway(new Message(topic, Stage.bytes(body)));
        }
        inbox.exactly(bodies, "consumed");
    }

    private static void async(Stage stage) throws Exception {
        String topic = stage.topic(4);
        DefaultMQProducer producer = stage.producer();
        List<String> bodies = Stage.numbered("async-", 200);
        CountDownLatch answers = new CountDownLatch(bodies.size());
        AtomicReference<Throwable> failure = new AtomicReference<>();
        for (String body : bodies) {
            producer.send(new Message(topic, Stage.bytes(body)), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    answers.countDown();
                }

                @Override
                public void onException(Throwable thrown) {
                    failure.set(thrown);
                    answers.countDown();
                }
            });
        }
        Expect.that(answers.await(30, TimeUnit.SECONDS), answers.getCount() + " sends were never answered");
        Expect.that(failure.get() == null, "a send failed: " + (failure.get() == null ? "" : Expect.text(failure.get())));
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        inbox.exactly(bodies, "consumed");
    }

    private static void batch(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        List<String> bodies = Stage.numbered("batch-", 50);
        List<Message> messages = new ArrayList<>();
        for (String body : bodies) {
            messages.add(new Message(topic, "Tag", "key-" + body, Stage.bytes(body)));
        }
        SendResult result = Stage.sent(producer.send(messages));
        Expect.equal(50, result.getMsgId().split(",").length, "ids in the result");
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "Tag", inbox);
        List<MessageExt> got = inbox.exactly(bodies, "consumed");
        for (MessageExt message : got) {
            int place = bodies.indexOf(Stage.body(message));
            Expect.equal(result.getQueueOffset() + place, message.getQueueOffset(), "queue offset of message " + place);
            Expect.equal("key-" + bodies.get(place), message.getKeys(), "keys of message " + place);
        }
    }

    /** A real broker gives every message of a batch the id of the whole. */
    private static void batchIds(Stage stage) throws Exception {
        String topic = stage.topic(1);
        List<String> bodies = Stage.numbered("batch-", 5);
        List<Message> messages = new ArrayList<>();
        for (String body : bodies) {
            messages.add(new Message(topic, Stage.bytes(body)));
        }
        SendResult result = Stage.sent(stage.producer().send(messages));
        List<String> ids = stage.stored(topic).stream().map(MessageExt::getMsgId).toList();
        Expect.equal(List.of(result.getMsgId().split(",")), ids, "ids of the messages");
    }

    private static void orderly(Stage stage) throws Exception {
        String topic = stage.topic(4);
        DefaultMQProducer producer = stage.producer();
        List<String> bodies = new ArrayList<>();
        for (int step = 0; step < 20; ++step) {
            for (int order = 0; order < 3; ++order) {
                String body = order + ":" + step;
                bodies.add(body);
                Stage.sent(producer.send(new Message(topic, Stage.bytes(body)), (queues, sent, key) -> queues.get((Integer) key % queues.size()), order));
            }
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            inbox.putAll(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        List<String> got = Inbox.bodies(inbox.exactly(bodies, "consumed"));
        for (int order = 0; order < 3; ++order) {
            String key = order + ":";
            Expect.equal(Stage.numbered(key, 20), got.stream().filter(body -> body.startsWith(key)).toList(), "sequence of key " + order);
        }
    }

    private static void createsTopic(Stage stage) throws Exception {
        String topic = stage.own("");
        DefaultMQProducer producer = stage.producer();
        producer.setDefaultTopicQueueNums(3);
        Stage.send(producer, topic, "", Stage.numbered("first-", 5));
        stage.awaitRoute(topic, 3);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        inbox.exactly(Stage.numbered("first-", 5), "consumed");
    }

    private static void oversized(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        producer.setMaxMessageSize(64 << 20);
        producer.setCompressMsgBodyOverHowmuch(64 << 20);
        Expect.refused(13, "a body of 4 MiB and one byte", () -> producer.send(new Message(topic, new byte[(4 << 20) + 1])));
        // The largest one, and the connection still serves.
        Stage.sent(producer.send(new Message(topic, new byte[4 << 20])));
        Expect.equal(List.of(4 << 20), stage.stored(topic).stream().map(message -> message.getBody().length).toList(), "bodies");
    }

    private static void tooManyProperties(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Message message = new Message(topic, Stage.bytes("x"));
        message.putUserProperty("long", "v".repeat(40_000));
        Expect.refused(13, "40000 bytes of properties", () -> producer.send(message));
    }

    private static void toSystemTopic(Stage stage) throws Exception {
        DefaultMQProducer producer = stage.producer();
        Expect.refused(16, "a send to the schedule topic", () -> {
            try {
                producer.send(new Message("SCHEDULE_TOPIC_XXXX", Stage.bytes("x")));
            } catch (org.apache.rocketmq.client.exception.MQClientException refusedByClient) {
                // 4.9 and 5.3 clients know the name themselves.
                throw refusedByClient.getErrorMessage() != null && refusedByClient.getErrorMessage().contains("forbidden")
                    ? new org.apache.rocketmq.client.exception.MQClientException(16, "by the client") : refusedByClient;
            }
        });
        // One that clients do not know; a broker refuses it or has no such topic.
        Expect.that(!stage.admin().fetchAllTopicList().getTopicList().isEmpty(), "no topics");
    }

    static void compressed(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        compressed(stage, producer, topic);
    }

    /** A body that shrinks: it travels and is stored compressed, and comes out whole. */
    static void compressed(Stage stage, DefaultMQProducer producer, String topic) throws Exception {
        String body = "Hufu, the tiger tally. ".repeat(2000);
        SendResult result = Stage.sent(producer.send(new Message(topic, Stage.bytes(body))));
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        MessageExt got = inbox.await(1).get(0);
        Expect.equal(body, Stage.body(got), "body");
        Expect.that(got.getStoreSize() < body.length() / 10, "stored size " + got.getStoreSize() + " of " + body.length());
        MessageExt found = stage.admin().viewMessage(topic, result.getOffsetMsgId());
        Expect.equal(body, Stage.body(found), "body found by id");
    }

    private static void traced(Stage stage) throws Exception {
        String traces = stage.topic("traces", 1);
        String topic = stage.topic("plain", 1);
        DefaultMQProducer producer = stage.prepared(new DefaultMQProducer(stage.own("p"), true, traces));
        producer.start();
        DefaultMQPushConsumer consumer = stage.prepared(new DefaultMQPushConsumer(stage.own("g"), true, traces));
        Inbox inbox = new Inbox();
        consumer.subscribe(topic, "*");
        Stage.into(consumer, inbox);
        consumer.start();
        List<String> bodies = Stage.numbered("traced-", 5);
        List<String> ids = new ArrayList<>();
        for (String body : bodies) {
            ids.add(Stage.sent(producer.send(new Message(topic, Stage.bytes(body)))).getMsgId());
        }
        inbox.exactly(bodies, "consumed");
        // Both sides told of every message.
        Expect.eventually(30, "a Pub and a SubAfter trace of every message", () -> {
            String all = String.join("\n", Inbox.bodies(stage.stored(traces)));
            return ids.stream().allMatch(id -> all.contains(id)) && all.contains("Pub") && all.contains("SubBefore") && all.contains("SubAfter");
        });
    }

    private Sending() {}
}
