package hufu.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Where consumers begin, who gets what, what a failure of the handler does. */
final class Consuming {
    static void addTo(Map<String, Case> cases) {
        cases.put("consume_broadcast", Consuming::broadcast);
        cases.put("consume_from_first", Consuming::fromFirst);
        cases.put("consume_from_last", Consuming::fromLast);
        cases.put("consume_from_timestamp", Consuming::fromTimestamp);
        cases.put("consume_goes_on_where_it_stopped", Consuming::goesOn);
        cases.put("consume_two_groups", Consuming::twoGroups);
        cases.put("consume_in_batches", Consuming::inBatches);
        cases.put("retry_then_success", Consuming::retryThenSuccess);
        cases.put("retry_to_dead_letters", Consuming::retryToDeadLetters);
        cases.put("retry_straight_to_dead_letters", Consuming::straightToDeadLetters);
        cases.put("orderly_suspends_the_queue", Consuming::orderlySuspends);
        cases.put("orderly_to_dead_letters", Consuming::orderlyToDeadLetters);
    }

    private static void broadcast(Stage stage) throws Exception {
        String topic = stage.topic(2);
        List<Inbox> inboxes = List.of(new Inbox(), new Inbox());
        for (Inbox inbox : inboxes) {
            DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
            Versions.broadcast(consumer);
            consumer.subscribe(topic, "*");
            Stage.into(consumer, inbox);
            consumer.start();
        }
        List<String> bodies = Stage.numbered("all-", 20);
        Stage.send(stage.producer(), topic, "", bodies);
        inboxes.get(0).exactly(bodies, "first consumer");
        inboxes.get(1).exactly(bodies, "second consumer");
    }

    private static void fromFirst(Stage stage) throws Exception {
        String topic = stage.topic(2);
        List<String> bodies = Stage.numbered("old-", 10);
        Stage.send(stage.producer(), topic, "", bodies);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        inbox.exactly(bodies, "consumed");
    }

    private static void fromLast(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        // The group has read the topic once before anything was there, as the rule for young queues wants it.
        Stage.send(producer, topic, "", Stage.numbered("old-", 10));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.subscribe(topic, "*");
        Stage.into(consumer, inbox);
        consumer.start();
        Thread.sleep(4000);
        Stage.send(producer, topic, "", Stage.numbered("new-", 5));
        inbox.awaitBodies(Stage.numbered("new-", 5));
        // A queue whose beginning is still in the store's memory is read from its beginning, by the broker's own rule: both answers are
        // right, but it must be all of the old ones or none.
        long old = inbox.bodies().stream().filter(body -> body.startsWith("old-")).count();
        Expect.that(old == 0 || old == 10, old + " of 10 old messages came");
    }

    private static void fromTimestamp(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("old-", 10));
        // The client's grain is a second.
        Thread.sleep(2100);
        long middle = System.currentTimeMillis();
        Thread.sleep(1100);
        Stage.send(producer, topic, "", Stage.numbered("new-", 10));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(middle));
        consumer.subscribe(topic, "*");
        Stage.into(consumer, inbox);
        consumer.start();
        inbox.awaitBodies(Stage.numbered("new-", 10));
    }

    private static void goesOn(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("before-", 10));
        Inbox first = new Inbox();
        DefaultMQPushConsumer consumer = stage.listen(stage.own("g"), topic, "*", first);
        first.exactly(Stage.numbered("before-", 10), "first run");
        consumer.shutdown();
        Stage.send(producer, topic, "", Stage.numbered("between-", 10));
        Inbox second = new Inbox();
        stage.listen(stage.own("g"), topic, "*", second);
        second.exactly(Stage.numbered("between-", 10), "second run");
    }

    private static void twoGroups(Stage stage) throws Exception {
        String topic = stage.topic(2);
        List<String> bodies = Stage.numbered("m-", 10);
        Inbox one = new Inbox();
        Inbox other = new Inbox();
        stage.listen(stage.own("one"), topic, "*", one);
        stage.listen(stage.own("other"), topic, "*", other);
        Stage.send(stage.producer(), topic, "", bodies);
        one.exactly(bodies, "one group");
        other.exactly(bodies, "other group");
    }

    private static void inBatches(Stage stage) throws Exception {
        String topic = stage.topic(1);
        List<String> bodies = Stage.numbered("m-", 64);
        Stage.send(stage.producer(), topic, "", bodies);
        Inbox inbox = new Inbox();
        AtomicInteger largest = new AtomicInteger();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.setConsumeMessageBatchMaxSize(16);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            largest.accumulateAndGet(messages.size(), Math::max);
            inbox.putAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        inbox.exactly(bodies, "consumed");
        Expect.equal(16, largest.get(), "largest batch handed to the listener");
    }

    private static void retryThenSuccess(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.subscribe(topic, "Tag");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.putAll(messages);
            return messages.get(0).getReconsumeTimes() < 2 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Message message = new Message(topic, "Tag", "key-of-it", Stage.bytes("again"));
        message.putUserProperty("kept", "yes");
        String id = Stage.sent(stage.producer().send(message)).getMsgId();
        List<MessageExt> got = inbox.await(3);
        Thread.sleep(1500);
        Expect.equal(3, inbox.size(), "deliveries");
        for (int attempt = 0; attempt < 3; ++attempt) {
            MessageExt delivery = got.get(attempt);
            Expect.equal(attempt, delivery.getReconsumeTimes(), "reconsume times of delivery " + attempt);
            Expect.equal("again", Stage.body(delivery), "body of delivery " + attempt);
            Expect.equal(topic, delivery.getTopic(), "topic of delivery " + attempt);
            Expect.equal("Tag", delivery.getTags(), "tag of delivery " + attempt);
            Expect.equal("key-of-it", delivery.getKeys(), "keys of delivery " + attempt);
            Expect.equal("yes", delivery.getUserProperty("kept"), "user property of delivery " + attempt);
            Expect.equal(id, delivery.getMsgId(), "id of delivery " + attempt);
        }
    }

    /** The dead letter in the group's own topic, readable with the permission that the broker gave it. */
    static MessageExt deadLetter(Stage stage, String group, String body) throws Exception {
        String topic = "%DLQ%" + group;
        List<MessageExt> dead = new ArrayList<>();
        Expect.eventually(40, "a dead letter \"" + body + "\" in " + topic, () -> {
            dead.clear();
            for (MessageExt message : stage.stored(topic)) {
                if (Stage.body(message).equals(body)) {
                    dead.add(message);
                }
            }
            return !dead.isEmpty();
        });
        Expect.equal(1, dead.size(), "dead letters of \"" + body + "\"");
        return dead.get(0);
    }

    private static void retryToDeadLetters(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(group);
        consumer.setMaxReconsumeTimes(2);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.putAll(messages);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        String id = Stage.sent(stage.producer().send(new Message(topic, "Tag", "dead-key", Stage.bytes("poison")))).getMsgId();
        MessageExt dead = deadLetter(stage, group, "poison");
        Expect.equal(List.of(0, 1, 2), inbox.all().stream().map(MessageExt::getReconsumeTimes).toList(), "deliveries");
        Expect.equal(topic, dead.getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
        Expect.equal(3, dead.getReconsumeTimes(), "reconsume times");
        Expect.equal("dead-key", dead.getKeys(), "keys");
        Expect.equal(id, dead.getMsgId(), "id");
    }

    private static void straightToDeadLetters(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.putAll(messages);
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        Stage.send(stage.producer(), topic, "", List.of("hopeless"));
        deadLetter(stage, group, "hopeless");
        Expect.equal(1, inbox.size(), "deliveries");
    }

    private static void orderlySuspends(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        AtomicInteger failures = new AtomicInteger();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.setSuspendCurrentQueueTimeMillis(300);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            if (Stage.body(messages.get(0)).equals("m-1") && failures.incrementAndGet() <= 2) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            inbox.putAll(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        List<String> bodies = Stage.numbered("m-", 5);
        Stage.send(stage.producer(), topic, "", bodies);
        Expect.equal(bodies, Inbox.bodies(inbox.exactly(bodies, "consumed")), "sequence");
        Expect.equal(3, failures.get(), "deliveries of the failing message");
    }

    private static void orderlyToDeadLetters(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(group);
        consumer.setMaxReconsumeTimes(1);
        consumer.setSuspendCurrentQueueTimeMillis(200);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            if (Stage.body(messages.get(0)).equals("m-1")) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            inbox.putAll(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 4));
        deadLetter(stage, group, "m-1");
        // The queue goes on behind the dead letter.
        Expect.equal(List.of("m-0", "m-2", "m-3"), Inbox.bodies(inbox.exactly(List.of("m-0", "m-2", "m-3"), "consumed")), "sequence");
    }

    private Consuming() {}
}
