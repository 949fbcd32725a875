package hufu.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** Tags and SQL92. */
final class Filtering {
    static void addTo(Map<String, Case> cases) {
        cases.put("filter_tags", Filtering::tags);
        cases.put("filter_sql", Filtering::sql);
        cases.put("filter_sql_operators", Filtering::operators);
        cases.put("filter_sql_refused", Filtering::refused);
        cases.put("filter_changed", Filtering::changed);
    }

    private static void tags(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "A || B", inbox);
        List<String> wanted = new ArrayList<>();
        // "Aa" and "BB" have one hash code; the broker alone could not tell them apart.
        for (String tag : List.of("A", "C", "B", "D", "A", "Aa", "BB")) {
            String body = tag + "-" + wanted.size();
            Stage.send(producer, topic, tag, List.of(body));
            if (tag.equals("A") || tag.equals("B")) {
                wanted.add(body);
            }
        }
        inbox.exactly(wanted, "consumed");
        Inbox twin = new Inbox();
        stage.listen(stage.own("twin"), topic, "BB", twin);
        Expect.equal("BB", twin.await(1).get(0).getTags(), "tag of the twin");
        Thread.sleep(300);
        Expect.equal(1, twin.size(), "messages with tag BB");
    }

    private static Message with(String topic, String body, String... properties) {
        Message message = new Message(topic, "Tag", Stage.bytes(body));
        for (int i = 0; i < properties.length; i += 2) {
            message.putUserProperty(properties[i], properties[i + 1]);
        }
        return message;
    }

    private static Inbox listen(Stage stage, String group, String topic, String expression) throws Exception {
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own(group));
        consumer.subscribe(topic, MessageSelector.bySql(expression));
        Stage.into(consumer, inbox);
        consumer.start();
        return inbox;
    }

    private static void sql(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        Inbox inbox = listen(stage, "g", topic, "a BETWEEN 5 AND 9 AND b = 'x'");
        List<String> wanted = new ArrayList<>();
        for (int a = 0; a < 12; ++a) {
            for (String b : List.of("x", "y")) {
                String body = a + b;
                Stage.sent(producer.send(with(topic, body, "a", String.valueOf(a), "b", b)));
                if (a >= 5 && a <= 9 && b.equals("x")) {
                    wanted.add(body);
                }
            }
        }
        inbox.exactly(wanted, "consumed");
    }

    private static void operators(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Stage.sent(producer.send(with(topic, "one", "n", "1", "colour", "red", "ok", "true")));
        Stage.sent(producer.send(with(topic, "two", "n", "2", "colour", "green", "ok", "false")));
        Stage.sent(producer.send(with(topic, "half", "n", "2.5", "colour", "it's")));
        Stage.sent(producer.send(with(topic, "none", "other", "7")));
        Map<String, List<String>> expected = Map.of(
            "n > 1.5", List.of("two", "half"),
            "colour IN ('red', 'it''s')", List.of("one", "half"),
            "n IS NULL", List.of("none"),
            "n IS NOT NULL AND NOT (n < 2.0)", List.of("two", "half"),
            "colour <> 'red' OR ok = TRUE", List.of("one", "two", "half"),
            "TAGS = 'Tag' AND n NOT BETWEEN 2 AND 3", List.of("one"));
        int group = 0;
        for (Map.Entry<String, List<String>> entry : expected.entrySet()) {
            Inbox inbox = listen(stage, "g" + group++, topic, entry.getKey());
            try {
                inbox.exactly(entry.getValue(), entry.getKey());
            } catch (Expect.Failure wrong) {
                throw new Expect.Failure(entry.getKey() + ": " + wrong.getMessage());
            }
        }
    }

    private static void refused(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.subscribe(topic, MessageSelector.bySql("a BETWEEN AND 'x"));
        Stage.into(consumer, new Inbox());
        try {
            consumer.start();
        } catch (MQClientException refusal) {
            return;
        }
        throw new Expect.Failure("a consumer with an expression that cannot be parsed was started");
    }

    private static void changed(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.listen(stage.own("g"), topic, "A", inbox);
        Stage.send(producer, topic, "A", List.of("a-1"));
        Stage.send(producer, topic, "B", List.of("b-1"));
        inbox.await(1);
        consumer.subscribe(topic, "B");
        Thread.sleep(2500);
        Stage.send(producer, topic, "A", List.of("a-2"));
        Stage.send(producer, topic, "B", List.of("b-2"));
        inbox.exactly(List.of("a-1", "b-2"), "consumed");
    }

    private Filtering() {}
}
