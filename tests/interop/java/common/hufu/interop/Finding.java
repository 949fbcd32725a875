package hufu.interop;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Messages by id, key and time. */
final class Finding {
    static void addTo(Map<String, Case> cases) {
        cases.put("find_by_offset_id", Finding::byOffsetId);
        cases.put("find_by_unique_id", Finding::byUniqueId);
        cases.put("find_by_key", Finding::byKey);
        cases.put("find_by_key_within_time", Finding::byKeyWithinTime);
        cases.put("find_delayed", Finding::delayed);
        cases.put("find_dead", Finding::dead);
        cases.put("find_offset_by_time", Finding::offsetByTime);
        cases.put("find_in_queue_index", Finding::inQueueIndex);
        cases.put("find_nothing", Finding::nothing);
    }

    private static SendResult sendOne(Stage stage, String topic, String keys, String body) throws Exception {
        return Stage.sent(stage.producer().send(new Message(topic, "Tag", keys, Stage.bytes(body))));
    }

    private static List<String> byKey(Stage stage, String topic, String key, long from, long to) throws Exception {
        try {
            return Inbox.bodies(stage.admin().queryMessage(topic, key, 32, from, to).getMessageList());
        } catch (org.apache.rocketmq.client.exception.MQClientException none) {
            // NO_MESSAGE: the client's word for an empty answer.
            Expect.equal(208, none.getResponseCode(), "response code of " + none.getMessage());
            return List.of();
        }
    }

    private static void byOffsetId(Stage stage) throws Exception {
        String topic = stage.topic(1);
        sendOne(stage, topic, "k", "other");
        SendResult result = sendOne(stage, topic, "k", "this one");
        MessageExt found = stage.admin().viewMessage(topic, result.getOffsetMsgId());
        Expect.equal("this one", Stage.body(found), "body");
        Expect.equal(result.getMsgId(), found.getMsgId(), "id");
        Expect.equal(result.getQueueOffset(), found.getQueueOffset(), "queue offset");
        Expect.equal("Tag", found.getTags(), "tag");
    }

    private static void byUniqueId(Stage stage) throws Exception {
        String topic = stage.topic(2);
        sendOne(stage, topic, "k", "other");
        SendResult result = sendOne(stage, topic, "k", "this one");
        Expect.eventually(20, "the message by its id", () -> Stage.body(stage.admin().viewMessage(topic, result.getMsgId())).equals("this one"));
    }

    private static void byKey(Stage stage) throws Exception {
        String topic = stage.topic(2);
        sendOne(stage, topic, "order-1 customer-7", "first");
        sendOne(stage, topic, "order-2 customer-7", "second");
        sendOne(stage, topic, "order-3 customer-8", "third");
        Expect.eventually(20, "two messages of customer-7", () -> {
            Expect.sameElements(List.of("first", "second"), byKey(stage, topic, "customer-7", 0, Long.MAX_VALUE), "found");
            return true;
        });
        Expect.equal(List.of("third"), byKey(stage, topic, "order-3", 0, Long.MAX_VALUE), "found by order-3");
    }

    private static void byKeyWithinTime(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Stage.sent(producer.send(new Message(topic, "Tag", "same", Stage.bytes("early"))));
        // A real broker's index keeps whole seconds.
        Thread.sleep(2500);
        long middle = System.currentTimeMillis();
        Thread.sleep(2500);
        Stage.sent(producer.send(new Message(topic, "Tag", "same", Stage.bytes("late"))));
        Expect.eventually(20, "both messages", () -> byKey(stage, topic, "same", 0, Long.MAX_VALUE).size() == 2);
        Expect.equal(List.of("early"), byKey(stage, topic, "same", middle - 60_000, middle), "found before the middle");
        Expect.equal(List.of("late"), byKey(stage, topic, "same", middle, middle + 60_000), "found after the middle");
    }

    private static void delayed(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Message message = Delaying.delayed(topic, "sleeping", "TIMER_DELAY_MS", 6000);
        SendResult result = Stage.sent(stage.producer().send(message));
        MessageExt found = stage.admin().viewMessage(topic, result.getOffsetMsgId());
        Expect.equal("sleeping", Stage.body(found), "body of the waiting message, by its offset id");
        Expect.equal(List.of(), Inbox.bodies(stage.stored(topic)), "visible messages");
        Expect.eventually(25, "the delivered message by its key", () -> byKey(stage, topic, "key-sleeping", 0, Long.MAX_VALUE).contains("sleeping"));
        Expect.equal("sleeping", Stage.body(stage.admin().viewMessage(topic, result.getMsgId())), "body of the delivered message, by its id");
    }

    private static void dead(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        DefaultMQPushConsumer consumer = stage.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        SendResult result = sendOne(stage, topic, "dead-key", "poison");
        Consuming.deadLetter(stage, group, "poison");
        Expect.eventually(20, "the dead letter by key", () -> byKey(stage, "%DLQ%" + group, "dead-key", 0, Long.MAX_VALUE).equals(List.of("poison")));
        MessageExt found = stage.admin().viewMessage("%DLQ%" + group, result.getMsgId());
        Expect.equal("poison", Stage.body(found), "body by its id");
        Expect.equal("%DLQ%" + group, found.getTopic(), "topic");
    }

    private static void offsetByTime(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("old-", 5));
        Thread.sleep(100);
        long middle = System.currentTimeMillis();
        Thread.sleep(100);
        Stage.send(producer, topic, "", Stage.numbered("new-", 5));
        MessageQueue queue = new MessageQueue(topic, stage.brokerName(), 0);
        var admin = stage.admin();
        Expect.equal(5L, admin.searchOffset(queue, middle), "offset of the middle");
        Expect.equal(0L, admin.searchOffset(queue, middle - 3_600_000), "offset of an hour ago");
        Expect.equal(0L, admin.minOffset(queue), "smallest offset");
        Expect.equal(10L, admin.maxOffset(queue), "largest offset");
        Expect.between(middle - 30_000, middle, admin.earliestMsgStoreTime(queue), "time of the first message");
    }

    private static void inQueueIndex(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "A", Stage.numbered("m-", 10));
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "A", inbox);
        inbox.await(10);
        var answer = stage.admin().queryConsumeQueue(stage.brokerAddress(), topic, 0, 2, 4, stage.own("g"));
        Expect.equal(4, answer.getQueueData().size(), "entries");
        Expect.equal(10L, answer.getMaxQueueIndex(), "largest index");
        Expect.equal((long) "A".hashCode(), answer.getQueueData().get(0).getTagsCode(), "tag code");
    }

    private static void nothing(Stage stage) throws Exception {
        String topic = stage.topic(1);
        SendResult result = sendOne(stage, topic, "k", "the only one");
        Expect.equal(List.of(), byKey(stage, topic, "no such key", 0, Long.MAX_VALUE), "found");
        String id = result.getOffsetMsgId();
        String beyond = id.substring(0, 16) + "00000000FFFFFF00";
        try {
            MessageExt found = stage.admin().viewMessage(topic, beyond);
            throw new Expect.Failure("an offset id beyond the log was answered with " + found);
        } catch (org.apache.rocketmq.client.exception.MQClientException | org.apache.rocketmq.client.exception.MQBrokerException refused) {
            Expect.that(Expect.text(refused).length() > 10, "no reason was given");
        }
    }

    private Finding() {}
}
