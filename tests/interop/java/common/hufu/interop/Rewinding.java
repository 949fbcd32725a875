package hufu.interop;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;

/** Setting back what a group has read. */
final class Rewinding {
    static void addTo(Map<String, Case> cases) {
        cases.put("rewind_live_group_by_time", Rewinding::live);
        cases.put("rewind_group_without_consumers", Rewinding::withoutConsumers);
        cases.put("rewind_skips_what_is_waiting", Rewinding::skip);
    }

    private static void live(Stage stage) throws Exception {
        String topic = stage.topic(2);
        String group = stage.own("g");
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("old-", 10));
        Thread.sleep(1200);
        long middle = System.currentTimeMillis();
        Thread.sleep(300);
        Stage.send(producer, topic, "", Stage.numbered("new-", 10));
        Inbox inbox = new Inbox();
        stage.listen(group, topic, "*", inbox);
        inbox.await(20);
        Thread.sleep(1500);
        inbox.clear();
        var offsets = stage.admin().resetOffsetByTimestamp(topic, group, middle, true);
        Expect.equal(2, offsets.size(), "queues that were reset");
        inbox.exactly(Stage.numbered("new-", 10), "consumed again");
    }

    private static void withoutConsumers(Stage stage) throws Exception {
        String topic = stage.topic(2);
        String group = stage.own("g");
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("m-", 10));
        Inbox first = new Inbox();
        DefaultMQPushConsumer consumer = stage.listen(group, topic, "*", first);
        first.exactly(Stage.numbered("m-", 10), "first run");
        consumer.shutdown();
        Thread.sleep(1000);
        // As mqadmin does: the way for live groups is answered with CONSUMER_NOT_ONLINE, or resets at the broker.
        try {
            stage.admin().resetOffsetByTimestamp(topic, group, 0, true);
        } catch (MQClientException offline) {
            Expect.equal(206, offline.getResponseCode(), "response code");
            stage.admin().resetOffsetByTimestampOld(group, topic, 0, true);
        }
        Inbox second = new Inbox();
        stage.listen(group, topic, "*", second);
        second.exactly(Stage.numbered("m-", 10), "second run");
    }

    private static void skip(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", List.of("first"));
        Inbox first = new Inbox();
        DefaultMQPushConsumer consumer = stage.listen(group, topic, "*", first);
        first.await(1);
        consumer.shutdown();
        Stage.send(producer, topic, "", Stage.numbered("skipped-", 5));
        try {
            stage.admin().resetOffsetByTimestamp(topic, group, -1, true);
        } catch (MQClientException offline) {
            Expect.equal(206, offline.getResponseCode(), "response code");
            stage.admin().resetOffsetByTimestampOld(group, topic, -1, true);
        }
        Stage.send(producer, topic, "", List.of("last"));
        Inbox second = new Inbox();
        stage.listen(group, topic, "*", second);
        second.exactly(List.of("last"), "after the skip");
    }

    private Rewinding() {}
}
