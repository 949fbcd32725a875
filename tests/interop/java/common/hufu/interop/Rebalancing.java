package hufu.interop;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMachineRoomNearby;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueByConfig;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers of one group that come, go and vanish; how queues are handed out. */
final class Rebalancing {
    static void addTo(Map<String, Case> cases) {
        cases.put("rebalance_join_and_leave", Rebalancing::joinAndLeave);
        cases.put("rebalance_vanished_member", Rebalancing::vanished);
        cases.put("rebalance_orderly_hand_over", Rebalancing::orderlyHandOver);
        cases.put("rebalance_more_queues", Rebalancing::moreQueues);
        cases.put("allocate_averagely", stage -> allocate(stage, new AllocateMessageQueueAveragely(), new AllocateMessageQueueAveragely()));
        cases.put("allocate_by_circle", stage -> allocate(stage, new AllocateMessageQueueAveragelyByCircle(), new AllocateMessageQueueAveragelyByCircle()));
        cases.put("allocate_consistent_hash", stage -> allocate(stage, new AllocateMessageQueueConsistentHash(), new AllocateMessageQueueConsistentHash()));
        cases.put("allocate_by_machine_room", stage -> allocate(stage, nearby(), nearby()));
        cases.put("allocate_by_config", Rebalancing::byConfig);
    }

    /** Queues of the topic that a consumer has now. */
    private static Set<Integer> queuesOf(DefaultMQPushConsumer consumer, String topic) {
        Set<Integer> ids = new TreeSet<>();
        for (MessageQueue queue : consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()) {
            if (queue.getTopic().equals(topic)) {
                ids.add(queue.getQueueId());
            }
        }
        return ids;
    }

    private static void awaitShares(String topic, List<DefaultMQPushConsumer> consumers, int queues) throws Exception {
        Map<String, Set<Integer>> last = new HashMap<>();
        Expect.eventually(40, "every queue with exactly one of " + consumers.size() + " members", () -> {
            last.clear();
            int sum = 0;
            Set<Integer> all = new TreeSet<>();
            for (DefaultMQPushConsumer consumer : consumers) {
                Set<Integer> own = queuesOf(consumer, topic);
                last.put(consumer.getInstanceName(), own);
                sum += own.size();
                all.addAll(own);
                if (own.isEmpty()) {
                    return false;
                }
            }
            return sum == queues && all.size() == queues;
        });
    }

    private static void joinAndLeave(Stage stage) throws Exception {
        String topic = stage.topic(8);
        String group = stage.own("g");
        DefaultMQProducer producer = stage.producer();
        Inbox first = new Inbox();
        Inbox second = new Inbox();
        DefaultMQPushConsumer one = stage.listen(group, topic, "*", first);
        Stage.send(producer, topic, "", Stage.numbered("alone-", 40));
        first.awaitBodies(Stage.numbered("alone-", 40));

        // Joining in the middle of traffic: nothing lost (twice is allowed while queues change hands).
        Thread traffic = traffic(producer, topic, "joining-", 200);
        DefaultMQPushConsumer two = stage.listen(group, topic, "*", second);
        traffic.join();
        awaitShares(topic, List.of(one, two), 8);
        awaitUnion(List.of(first, second), Stage.numbered("joining-", 200));

        // Steady: every message once.
        Thread.sleep(1000);
        first.clear();
        second.clear();
        Stage.send(producer, topic, "", Stage.numbered("steady-", 80));
        awaitUnion(List.of(first, second), Stage.numbered("steady-", 80));
        Thread.sleep(500);
        List<String> both = new ArrayList<>(first.bodies());
        both.addAll(second.bodies());
        Expect.sameElements(Stage.numbered("steady-", 80), both, "consumed by both");
        Expect.equal(40, first.size(), "share of the first");

        // Leaving in the middle of traffic.
        traffic = traffic(producer, topic, "leaving-", 200);
        one.shutdown();
        traffic.join();
        awaitUnion(List.of(first, second), Stage.numbered("leaving-", 200));
        awaitShares(topic, List.of(two), 8);
    }

    private static Thread traffic(DefaultMQProducer producer, String topic, String prefix, int count) {
        Thread thread = new Thread(() -> {
            try {
                for (String body : Stage.numbered(prefix, count)) {
                    producer.send(new Message(topic, Stage.bytes(body)));
                    Thread.sleep(5);
                }
            } catch (Exception lost) {
                // What was not sent is missed by who waits for it.
            }
        }, "traffic");
        thread.start();
        return thread;
    }

    private static void awaitUnion(List<Inbox> inboxes, List<String> bodies) throws Exception {
        Expect.eventually(40, "all of " + bodies.size() + " like " + bodies.get(0), () -> {
            Set<String> all = new TreeSet<>();
            inboxes.forEach(inbox -> all.addAll(inbox.bodies()));
            return all.containsAll(bodies);
        });
    }

    private static void vanished(Stage stage) throws Exception {
        String topic = stage.topic(4);
        String group = stage.own("g");
        DefaultMQPushConsumer one = stage.listen(group, topic, "*", new Inbox());
        DefaultMQPushConsumer two = stage.listen(group, topic, "*", new Inbox());
        awaitShares(topic, List.of(one, two), 4);
        // Its connections break without a word of farewell.
        one.getDefaultMQPushConsumerImpl().getRebalanceImpl().getmQClientFactory().getMQClientAPIImpl().shutdown();
        awaitShares(topic, List.of(two), 4);
    }

    private static void orderlyHandOver(Stage stage) throws Exception {
        String topic = stage.topic(4);
        String group = stage.own("g");
        DefaultMQProducer producer = stage.producer();
        List<String> handled = Collections.synchronizedList(new ArrayList<>());
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int i = 0; i < 2; ++i) {
            DefaultMQPushConsumer consumer = stage.pushConsumer(group);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                messages.forEach(message -> handled.add(message.getQueueId() + ":" + Stage.body(message)));
                return ConsumeOrderlyStatus.SUCCESS;
            });
            members.add(consumer);
        }
        members.get(0).start();
        sendToEach(producer, topic, 0, 10);
        awaitHandled(handled, 10);
        members.get(1).start();
        sendToEach(producer, topic, 10, 20);
        awaitHandled(handled, 20);
        awaitShares(topic, members, 4);
        members.get(0).shutdown();
        sendToEach(producer, topic, 20, 30);
        awaitHandled(handled, 30);
        for (int queue = 0; queue < 4; ++queue) {
            String prefix = queue + ":";
            List<String> sequence = handled.stream().filter(body -> body.startsWith(prefix)).distinct().toList();
            Expect.equal(Stage.numbered(prefix, 30), sequence, "sequence in queue " + queue);
        }
    }

    private static void sendToEach(DefaultMQProducer producer, String topic, int from, int to) throws Exception {
        for (int step = from; step < to; ++step) {
            for (int queue = 0; queue < 4; ++queue) {
                Stage.sent(producer.send(new Message(topic, Stage.bytes(String.valueOf(step))), (queues, message, id) -> queues.stream()
                    .filter(one -> one.getQueueId() == (Integer) id).findFirst().orElseThrow(), queue));
            }
        }
    }

    private static void awaitHandled(List<String> handled, int perQueue) throws Exception {
        Expect.eventually(45, perQueue + " messages of each of 4 queues", () -> new TreeSet<>(new ArrayList<>(handled)).size() >= 4 * perQueue);
    }

    private static void moreQueues(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQPushConsumer consumer = stage.listen(stage.own("g"), topic, "*", new Inbox());
        awaitShares(topic, List.of(consumer), 2);
        stage.admin().createAndUpdateTopicConfig(stage.brokerAddress(), new org.apache.rocketmq.common.TopicConfig(topic, 6, 6, 6));
        awaitShares(topic, List.of(consumer), 6);
    }

    private static AllocateMessageQueueStrategy nearby() {
        return new AllocateMachineRoomNearby(new AllocateMessageQueueAveragely(), new AllocateMachineRoomNearby.MachineRoomResolver() {
            @Override
            public String brokerDeployIn(MessageQueue queue) {
                return "the-only-room";
            }

            @Override
            public String consumerDeployIn(String client) {
                return "the-only-room";
            }
        });
    }

    private static void allocate(Stage stage, AllocateMessageQueueStrategy ofOne, AllocateMessageQueueStrategy ofOther) throws Exception {
        String topic = stage.topic(8);
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (AllocateMessageQueueStrategy strategy : List.of(ofOne, ofOther)) {
            DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
            consumer.setAllocateMessageQueueStrategy(strategy);
            consumer.subscribe(topic, "*");
            Stage.into(consumer, new Inbox());
            consumer.start();
            consumers.add(consumer);
        }
        awaitShares(topic, consumers, 8);
        // What the strategy says of the sorted members and queues is what each of them has.
        List<String> clients = consumers.stream().map(one -> one.buildMQClientId()).sorted().toList();
        List<MessageQueue> queues = new ArrayList<>(consumers.get(0).fetchSubscribeMessageQueues(topic));
        Collections.sort(queues);
        Expect.eventually(20, "the shares that the strategy computes", () -> {
            for (DefaultMQPushConsumer consumer : consumers) {
                Set<Integer> wanted = new TreeSet<>();
                ofOne.allocate(stage.own("g"), consumer.buildMQClientId(), queues, clients).forEach(queue -> wanted.add(queue.getQueueId()));
                Expect.equal(wanted, queuesOf(consumer, topic), "share of " + consumer.getInstanceName());
            }
            return true;
        });
    }

    private static void byConfig(Stage stage) throws Exception {
        String topic = stage.topic(4);
        AllocateMessageQueueByConfig strategy = new AllocateMessageQueueByConfig();
        strategy.setMessageQueueList(List.of(new MessageQueue(topic, stage.brokerName(), 1), new MessageQueue(topic, stage.brokerName(), 3)));
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        consumer.setAllocateMessageQueueStrategy((AllocateMessageQueueStrategy) new ForOneTopic(topic, strategy));
        consumer.subscribe(topic, "*");
        Stage.into(consumer, new Inbox());
        consumer.start();
        Expect.eventually(20, "queues 1 and 3", () -> queuesOf(consumer, topic).equals(Set.of(1, 3)));
    }

    /** The retry topic's queues go by the average; a configured list would hand it another topic's queues. */
    private record ForOneTopic(String topic, AllocateMessageQueueStrategy strategy) implements AllocateMessageQueueStrategy {
        @Override
        public List<MessageQueue> allocate(String group, String client, List<MessageQueue> queues, List<String> clients) {
            boolean ours = !queues.isEmpty() && queues.get(0).getTopic().equals(topic);
            return ours ? strategy.allocate(group, client, queues, clients) : queues;
        }

        @Override
        public String getName() {
            return "BY_CONFIG_FOR_ONE_TOPIC";
        }
    }

    private Rebalancing() {}
}
