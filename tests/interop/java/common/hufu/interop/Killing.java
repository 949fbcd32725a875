package hufu.interop;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/** The broker process is killed without warning in the middle of a run, and started again. Not beside other cases. */
final class Killing {
    static void addTo(Map<String, Case> cases) {
        cases.put("broker_killed_in_mid_traffic", Killing::traffic);
        cases.put("broker_killed_offsets_are_kept", Killing::offsets);
        cases.put("broker_killed_timers_are_kept", Killing::timers);
    }

    private static void traffic(Stage stage) throws Exception {
        String topic = stage.topic(4);
        DefaultMQProducer producer = stage.producer();
        producer.setSendMsgTimeout(3000);
        List<String> acknowledged = Collections.synchronizedList(new ArrayList<>());
        AtomicBoolean stop = new AtomicBoolean();
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        List<Thread> senders = new ArrayList<>();
        for (int sender = 0; sender < 4; ++sender) {
            String prefix = "s" + sender + "-";
            Thread thread = new Thread(() -> {
                for (int i = 0; !stop.get(); ++i) {
                    try {
                        if (producer.send(new Message(topic, Stage.bytes(prefix + i))).getSendStatus() == SendStatus.SEND_OK) {
                            acknowledged.add(prefix + i);
                        }
                        Thread.sleep(2);
                    } catch (Exception notAcknowledged) {
                        // Nothing was promised.
                    }
                }
            }, "sender");
            thread.start();
            senders.add(thread);
        }
        try {
            Expect.eventually(30, "300 messages acknowledged before the kill", () -> acknowledged.size() >= 300);
            inbox.await(100);
            stage.theatre.killTheBroker();
            int back = acknowledged.size();
            Expect.eventually(40, "300 messages acknowledged after the restart", () -> acknowledged.size() >= back + 300);
        } finally {
            stop.set(true);
        }
        for (Thread sender : senders) {
            sender.join();
        }
        Expect.eventually(45, "every acknowledged message consumed", () -> {
            Set<String> missing = new TreeSet<>(new ArrayList<>(acknowledged));
            missing.removeAll(inbox.bodies());
            Expect.that(missing.isEmpty(), missing.size() + " of " + acknowledged.size() + " missing, like " + missing.stream().limit(3).toList());
            return true;
        });
    }

    private static void offsets(Stage stage) throws Exception {
        String topic = stage.topic(2);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", Stage.numbered("read-", 10));
        Inbox before = new Inbox();
        DefaultMQPushConsumer away = stage.listen(stage.own("g"), topic, "*", before);
        before.exactly(Stage.numbered("read-", 10), "consumed before");
        away.shutdown();
        // A real broker writes offsets down every five seconds; what was committed later may be consumed again.
        Thread.sleep(6000);
        stage.theatre.killTheBroker();
        Expect.eventually(30, "sends", () -> {
            Stage.send(producer, topic, "", List.of("unread"));
            return true;
        });
        Inbox after = new Inbox();
        stage.listen(stage.own("g"), topic, "*", after);
        after.exactly(List.of("unread"), "consumed by the group that was away");
    }

    private static void timers(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        long due = System.currentTimeMillis() + 20_000;
        for (String body : Stage.numbered("timer-", 5)) {
            Stage.sent(producer.send(Delaying.delayed(topic, body, "TIMER_DELIVER_MS", due)));
        }
        stage.theatre.killTheBroker();
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        inbox.exactly(Stage.numbered("timer-", 5), "timers");
        Expect.between(-200, 10_000, System.currentTimeMillis() - due, "milliseconds from the wanted time to the end");
    }

    private Killing() {}
}
