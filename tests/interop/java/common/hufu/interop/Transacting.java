package hufu.interop;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Transaction messages of the stock producer. Both brokers ask for the first time after a second. */
final class Transacting {
    static void addTo(Map<String, Case> cases) {
        cases.put("transaction_commit", Transacting::commit);
        cases.put("transaction_rollback", Transacting::rollback);
        cases.put("transaction_invisible_until_its_verdict", Transacting::invisible);
        cases.put("transaction_unknown_then_the_check_commits", Transacting::checkCommits);
        cases.put("transaction_unknown_then_the_check_rolls_back", Transacting::checkRollsBack);
        cases.put("transaction_local_failure_then_the_check_commits", Transacting::localFailure);
        cases.put("transaction_checked_by_the_producer_that_comes_after", Transacting::nextProducer);
        cases.put("transaction_with_tags_and_keys", Transacting::tagsAndKeys);
    }

    /** Answers as it is told, and remembers what it was asked. */
    private static final class Listener implements TransactionListener {
        final ConcurrentLinkedQueue<MessageExt> checks = new ConcurrentLinkedQueue<>();
        private final Supplier<LocalTransactionState> local;
        private final LocalTransactionState check;

        Listener(Supplier<LocalTransactionState> local, LocalTransactionState check) {
            this.local = local;
            this.check = check;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return local.get();
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            checks.add(message);
            return check;
        }
    }

    private static TransactionMQProducer producer(Stage stage, Listener listener) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(stage.own("tp"));
        stage.prepared(producer);
        producer.setTransactionListener(listener);
        producer.start();
        return producer;
    }

    private static Message message(String topic, String body) {
        return new Message(topic, "Tag", "key-" + body, Stage.bytes(body));
    }

    private static void commit(Stage stage) throws Exception {
        String topic = stage.topic(2);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "Tag", inbox);
        Listener listener = new Listener(() -> LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.UNKNOW);
        SendResult result = Stage.sent(producer(stage, listener).sendMessageInTransaction(message(topic, "paid"), null));
        MessageExt got = inbox.await(1).get(0);
        Expect.equal("paid", Stage.body(got), "body");
        Expect.equal(topic, got.getTopic(), "topic");
        Expect.equal(result.getMsgId(), got.getMsgId(), "id");
        Expect.equal(result.getMsgId(), got.getTransactionId(), "transaction id");
        Expect.equal(result.getTransactionId(), got.getTransactionId(), "transaction id of the send");
        Expect.equal("true", got.getProperty("TRAN_MSG"), "property TRAN_MSG");
        Expect.equal(stage.own("tp"), got.getProperty("PGROUP"), "property PGROUP");
        Expect.equal(8, got.getSysFlag() & 12, "transaction bits of sysFlag");
        Thread.sleep(6000);
        Expect.equal(1, inbox.size(), "deliveries");
        Expect.equal(0, listener.checks.size(), "checks of a committed message");
    }

    private static void rollback(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Listener listener = new Listener(() -> LocalTransactionState.ROLLBACK_MESSAGE, LocalTransactionState.COMMIT_MESSAGE);
        Stage.sent(producer(stage, listener).sendMessageInTransaction(message(topic, "never"), null));
        Thread.sleep(6000);
        Expect.equal(List.of(), Inbox.bodies(stage.stored(topic)), "messages of a topic whose only one was rolled back");
        Expect.equal(0, listener.checks.size(), "checks of a rolled back message");
    }

    private static void invisible(Stage stage) throws Exception {
        String topic = stage.topic(1);
        AtomicInteger seen = new AtomicInteger(-1);
        Listener listener = new Listener(() -> {
            try {
                seen.set(stage.stored(topic).size());
            } catch (Exception broken) {
                throw new IllegalStateException(broken);
            }
            return LocalTransactionState.COMMIT_MESSAGE;
        }, LocalTransactionState.UNKNOW);
        Stage.sent(producer(stage, listener).sendMessageInTransaction(message(topic, "paid"), null));
        Expect.equal(0, seen.get(), "messages that are visible during the local transaction");
        Expect.eventually(20, "the committed message", () -> Inbox.bodies(stage.stored(topic)).equals(List.of("paid")));
    }

    private static void checkCommits(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        Listener listener = new Listener(() -> LocalTransactionState.UNKNOW, LocalTransactionState.COMMIT_MESSAGE);
        SendResult result = Stage.sent(producer(stage, listener).sendMessageInTransaction(message(topic, "late"), null));
        MessageExt got = inbox.await(1).get(0);
        Expect.equal(result.getMsgId(), got.getMsgId(), "id");
        MessageExt asked = listener.checks.peek();
        Expect.that(asked != null, "the listener was not asked");
        Expect.equal("late", Stage.body(asked), "body of the check");
        Expect.equal(topic, asked.getTopic(), "topic of the check");
        Expect.equal(result.getMsgId(), asked.getTransactionId(), "transaction id of the check");
        Expect.equal("key-late", asked.getKeys(), "keys of the check");
    }

    private static void checkRollsBack(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Listener listener = new Listener(() -> LocalTransactionState.UNKNOW, LocalTransactionState.ROLLBACK_MESSAGE);
        Stage.sent(producer(stage, listener).sendMessageInTransaction(message(topic, "never"), null));
        Expect.eventually(30, "a check", () -> !listener.checks.isEmpty());
        Thread.sleep(2000);
        Expect.equal(List.of(), Inbox.bodies(stage.stored(topic)), "visible messages");
    }

    private static void localFailure(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        Listener listener = new Listener(() -> {
            throw new IllegalStateException("the database went away");
        }, LocalTransactionState.COMMIT_MESSAGE);
        try {
            producer(stage, listener).sendMessageInTransaction(message(topic, "late"), null);
        } catch (Exception told) {
            // Newer clients tell the caller; the check settles it all the same.
        }
        inbox.exactly(List.of("late"), "consumed");
    }

    private static void nextProducer(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "*", inbox);
        Listener first = new Listener(() -> LocalTransactionState.UNKNOW, LocalTransactionState.UNKNOW);
        TransactionMQProducer dies = producer(stage, first);
        Stage.sent(dies.sendMessageInTransaction(message(topic, "orphan"), null));
        dies.shutdown();
        Listener second = new Listener(() -> LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.COMMIT_MESSAGE);
        // A stock producer is known to a broker once it has sent something.
        Stage.sent(producer(stage, second).sendMessageInTransaction(message(topic, "next"), null));
        inbox.exactly(List.of("next", "orphan"), "consumed");
        Expect.that(!second.checks.isEmpty(), "the second producer was not asked");
    }

    private static void tagsAndKeys(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Inbox inbox = new Inbox();
        stage.listen(stage.own("g"), topic, "A", inbox);
        Listener listener = new Listener(() -> LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = producer(stage, listener);
        for (String tag : List.of("B", "A", "B")) {
            Stage.sent(producer.sendMessageInTransaction(new Message(topic, tag, "key-" + tag, Stage.bytes("of " + tag)), null));
        }
        List<MessageExt> got = inbox.exactly(List.of("of A"), "consumed by tag");
        Expect.equal("key-A", got.get(0).getKeys(), "keys");
        Expect.eventually(20, "the message by its key", () -> {
            List<MessageExt> found = stage.admin().queryMessage(topic, "key-B", 32, 0, Long.MAX_VALUE).getMessageList();
            return found.size() == 2;
        });
    }

    private Transacting() {}
}
