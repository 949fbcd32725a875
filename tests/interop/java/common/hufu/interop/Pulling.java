package hufu.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that ask for themselves: lite pull and the old pull consumer. */
final class Pulling {
    static void addTo(Map<String, Case> cases) {
        cases.put("lite_pull_subscribe", Pulling::subscribe);
        cases.put("lite_pull_assign_and_seek", Pulling::assignAndSeek);
        cases.put("lite_pull_two_members", Pulling::twoMembers);
        cases.put("pull_by_offset", Pulling::byOffset);
        cases.put("pull_waits_for_messages", Pulling::waits);
        cases.put("pull_by_tag", Pulling::byTag);
    }

    private static List<String> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<String> got = new ArrayList<>();
        long until = System.currentTimeMillis() + 30_000;
        while (got.size() < count && System.currentTimeMillis() < until) {
            got.addAll(Inbox.bodies(consumer.poll(500)));
        }
        got.addAll(Inbox.bodies(consumer.poll(300)));
        return got;
    }

    private static void subscribe(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("m-", 20));
        DefaultLitePullConsumer consumer = stage.litePull(stage.own("g"));
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        Expect.sameElements(Stage.numbered("m-", 20), poll(consumer, 20), "polled");
        consumer.commitSync();
        Expect.eventually(10, "20 messages committed", () -> {
            long sum = 0;
            for (MessageQueue queue : consumer.assignment()) {
                sum += Math.max(0, consumer.committed(queue));
            }
            return sum == 20;
        });
        consumer.shutdown();
        Stage.send(producer, topic, "", Stage.numbered("later-", 5));
        DefaultLitePullConsumer next = stage.litePull(stage.own("g"));
        next.subscribe(topic, "*");
        next.start();
        Expect.sameElements(Stage.numbered("later-", 5), poll(next, 5), "polled after the commit");
    }

    private static void assignAndSeek(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        DefaultLitePullConsumer consumer = stage.litePull(stage.own("g"));
        consumer.start();
        List<MessageQueue> queues = new ArrayList<>(consumer.fetchMessageQueues(topic));
        Expect.equal(2, queues.size(), "queues");
        MessageQueue queue = queues.stream().filter(one -> one.getQueueId() == 1).findFirst().orElseThrow();
        for (int i = 0; i < 10; ++i) {
            Stage.sent(producer.send(new Message(topic, Stage.bytes("m-" + i)), queue));
        }
        consumer.assign(List.of(queue));
        // First the beginning: a client that seeks while its very first pull is on the way may still hand out what that brings.
        Expect.equal(Stage.numbered("m-", 10), poll(consumer, 10), "from the beginning at first");
        consumer.seek(queue, 4);
        Expect.equal(Stage.numbered("m-", 10).subList(4, 10), poll(consumer, 6), "from offset 4");
        consumer.seekToBegin(queue);
        Expect.equal(Stage.numbered("m-", 10), poll(consumer, 10), "from the beginning");
        consumer.seekToEnd(queue);
        Thread.sleep(500);
        Stage.sent(producer.send(new Message(topic, Stage.bytes("last")), queue));
        Expect.equal(List.of("last"), poll(consumer, 1), "from the end");
        Thread.sleep(50);
        long now = System.currentTimeMillis();
        Thread.sleep(50);
        Stage.sent(producer.send(new Message(topic, Stage.bytes("after now")), queue));
        Expect.equal(11L, consumer.offsetForTimestamp(queue, now), "offset for a time between the last two");
        consumer.pause(List.of(queue));
        Expect.equal(List.of(), Inbox.bodies(consumer.poll(500)).stream().filter(body -> !body.equals("after now")).toList(), "polled from a paused queue");
        consumer.resume(List.of(queue));
    }

    private static void twoMembers(Stage stage) throws Exception {
        String topic = stage.topic(4);
        List<DefaultLitePullConsumer> members = new ArrayList<>();
        for (int i = 0; i < 2; ++i) {
            DefaultLitePullConsumer member = stage.litePull(stage.own("g"));
            member.subscribe(topic, "*");
            member.start();
            members.add(member);
        }
        Expect.eventually(30, "two queues for each member", () -> {
            members.forEach(member -> member.poll(10));
            return members.get(0).assignment().size() == 2 && members.get(1).assignment().size() == 2;
        });
        Thread.sleep(1000);
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 20));
        List<String> all = new ArrayList<>(poll(members.get(0), 10));
        all.addAll(poll(members.get(1), 10));
        Expect.sameElements(Stage.numbered("m-", 20), all, "polled by both");
    }

    private static void byOffset(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("m-", 10));
        DefaultMQPullConsumer consumer = stage.pull(stage.own("g"));
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
        Expect.equal(0L, consumer.minOffset(queue), "smallest offset");
        Expect.equal(10L, consumer.maxOffset(queue), "next offset");
        var pulled = consumer.pull(queue, "*", 3, 4);
        Expect.equal(PullStatus.FOUND, pulled.getPullStatus(), "status");
        Expect.equal(Stage.numbered("m-", 10).subList(3, 7), Inbox.bodies(pulled.getMsgFoundList()), "pulled");
        Expect.equal(7L, pulled.getNextBeginOffset(), "next offset to pull");
        Expect.equal(0L, pulled.getMinOffset(), "smallest offset in the answer");
        Expect.equal(10L, pulled.getMaxOffset(), "largest offset in the answer");
        Expect.equal(PullStatus.NO_NEW_MSG, consumer.pull(queue, "*", 10, 4).getPullStatus(), "status at the end");
        var beyond = consumer.pull(queue, "*", 1000, 4);
        Expect.equal(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "status beyond the end");
        Expect.equal(10L, beyond.getNextBeginOffset(), "next offset beyond the end");
        // Not known yet; a young queue's may be answered with its beginning.
        Expect.between(-1, 0, consumer.fetchConsumeOffset(queue, true), "offset before the first commit");
        consumer.updateConsumeOffset(queue, 7);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persistAll(java.util.Set.of(queue));
        Expect.eventually(10, "offset 7 at the broker", () -> consumer.fetchConsumeOffset(queue, true) == 7);
        Expect.equal(0L, consumer.searchOffset(queue, 1000), "offset of a time long ago");
        Expect.equal(10L, consumer.searchOffset(queue, System.currentTimeMillis() + 60_000), "offset of a time to come");
        Expect.between(System.currentTimeMillis() - 60_000, System.currentTimeMillis(), consumer.earliestMsgStoreTime(queue), "time of the first message");
    }

    private static void waits(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        DefaultMQPullConsumer consumer = stage.pull(stage.own("g"));
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
        Thread sender = new Thread(() -> {
            try {
                Thread.sleep(1500);
                Stage.send(producer, topic, "", List.of("came while waiting"));
            } catch (Exception lost) {
                // The pull then finds nothing and says so.
            }
        });
        long begun = System.currentTimeMillis();
        sender.start();
        var pulled = consumer.pullBlockIfNotFound(queue, "*", 0, 8);
        long took = System.currentTimeMillis() - begun;
        Expect.equal(PullStatus.FOUND, pulled.getPullStatus(), "status");
        Expect.equal(List.of("came while waiting"), Inbox.bodies(pulled.getMsgFoundList()), "pulled");
        Expect.between(1400, 4000, took, "milliseconds until the answer");
    }

    private static void byTag(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        for (int i = 0; i < 10; ++i) {
            Stage.send(producer, topic, i % 5 == 4 ? "Rare" : "Common", List.of("m-" + i));
        }
        DefaultMQPullConsumer consumer = stage.pull(stage.own("g"));
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
        List<String> got = new ArrayList<>();
        long offset = 0;
        while (offset < 10) {
            var pulled = consumer.pull(queue, "Rare", offset, 2);
            if (pulled.getMsgFoundList() != null) {
                for (MessageExt message : pulled.getMsgFoundList()) {
                    got.add(Stage.body(message));
                }
            }
            Expect.that(pulled.getNextBeginOffset() > offset, "a pull at " + offset + " went nowhere");
            offset = pulled.getNextBeginOffset();
        }
        Expect.equal(List.of("m-4", "m-9"), got, "pulled");
    }

    private Pulling() {}
}
