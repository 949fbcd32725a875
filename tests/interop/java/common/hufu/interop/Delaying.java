package hufu.interop;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** Delay levels and timers. The ladder of both brokers begins with 1 s and 3 s. */
final class Delaying {
    private static final long LATE_MS = 2500;

    static void addTo(Map<String, Case> cases) {
        cases.put("delay_level", Delaying::level);
        cases.put("delay_level_beyond_the_last", Delaying::beyondTheLast);
        cases.put("delay_timer_milliseconds", Delaying::milliseconds);
        cases.put("delay_timer_seconds", Delaying::seconds);
        cases.put("delay_timer_deliver_at", Delaying::deliverAt);
        cases.put("delay_timer_in_the_past", Delaying::past);
        cases.put("delay_timer_in_five_days", Delaying::fiveDays);
        cases.put("delay_timers_in_order_of_time", Delaying::order);
    }

    static Message delayed(String topic, String body, String property, long value) {
        Message message = new Message(topic, "Tag", "key-" + body, Stage.bytes(body));
        MessageAccessor.putProperty(message, property, String.valueOf(value));
        return message;
    }

    private static void arrives(Stage stage, String topic, Message message, long delayMs) throws Exception {
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "Tag", inbox);
        // First a plain one: then the consumer is known to be there.
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "Tag", List.of("plain"));
        inbox.await(1);
        long begun = System.currentTimeMillis();
        SendResult result = Stage.sent(producer.send(message));
        MessageExt got = inbox.await(2).get(1);
        long took = System.currentTimeMillis() - begun;
        Expect.between(delayMs - 150, delayMs + LATE_MS, took, "milliseconds until delivery");
        Expect.equal(Stage.body(message), Stage.body(got), "body");
        Expect.equal(topic, got.getTopic(), "topic");
        Expect.equal(result.getMsgId(), got.getMsgId(), "id");
        Expect.equal("key-" + Stage.body(message), got.getKeys(), "keys");
        Thread.sleep(1500);
        Expect.equal(2, inbox.size(), "deliveries");
    }

    private static void level(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Message message = new Message(topic, "Tag", "key-later", Stage.bytes("later"));
        message.setDelayTimeLevel(2);
        arrives(stage, topic, message, 3000);
    }

    private static void beyondTheLast(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Message message = new Message(topic, "Tag", "key-later", Stage.bytes("later"));
        message.setDelayTimeLevel(99);
        arrives(stage, topic, message, 1000);
    }

    private static void milliseconds(Stage stage) throws Exception {
        String topic = stage.topic(1);
        arrives(stage, topic, delayed(topic, "later", "TIMER_DELAY_MS", 2300), 2300);
    }

    private static void seconds(Stage stage) throws Exception {
        String topic = stage.topic(1);
        arrives(stage, topic, delayed(topic, "later", "TIMER_DELAY_SEC", 2), 2000);
    }

    private static void deliverAt(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "Tag", inbox);
        long due = System.currentTimeMillis() + 4000;
        Stage.sent(stage.producer().send(delayed(topic, "later", "TIMER_DELIVER_MS", due)));
        inbox.await(1);
        Expect.between(-150, LATE_MS, System.currentTimeMillis() - due, "milliseconds from the wanted time to the delivery");
    }

    private static void past(Stage stage) throws Exception {
        String topic = stage.topic(1);
        arrives(stage, topic, delayed(topic, "now", "TIMER_DELIVER_MS", System.currentTimeMillis() - 60_000), 0);
    }

    private static void fiveDays(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Stage.sent(stage.producer().send(delayed(topic, "next week", "TIMER_DELAY_MS", 5L * 24 * 3600 * 1000)));
        Thread.sleep(1500);
        Expect.equal(List.of(), Inbox.bodies(stage.stored(topic)), "messages that are visible already");
    }

    private static void order(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        long now = System.currentTimeMillis();
        for (int place : new int[] {3, 0, 2, 1}) {
            Stage.sent(producer.send(delayed(topic, "t-" + place, "TIMER_DELIVER_MS", now + 3000 + 700L * place)));
        }
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        inbox.exactly(Stage.numbered("t-", 4), "consumed");
        List<String> stored = Inbox.bodies(stage.stored(topic));
        Expect.equal(Stage.numbered("t-", 4), stored, "sequence in the queue");
    }

    private Delaying() {}
}
