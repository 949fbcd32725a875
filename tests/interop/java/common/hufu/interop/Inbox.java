package hufu.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages as a consumer got them, in the order of their coming. Thread-safe. */
final class Inbox {
    static final long PATIENCE_SECONDS = 40;

    private final List<MessageExt> got = new ArrayList<>();

    synchronized void put(MessageExt message) {
        got.add(message);
        notifyAll();
    }

    void putAll(List<MessageExt> messages) {
        messages.forEach(this::put);
    }

    synchronized List<MessageExt> all() {
        return new ArrayList<>(got);
    }

    synchronized int size() {
        return got.size();
    }

    synchronized void clear() {
        got.clear();
    }

    List<String> bodies() {
        return bodies(all());
    }

    static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(Stage::body).toList();
    }

    /** Waits for this many; fails with what is there when they do not come. */
    List<MessageExt> await(int count) throws InterruptedException {
        return await(count + " messages", messages -> messages.size() >= count);
    }

    /** Waits until every one of these bodies is there at least once. */
    void awaitBodies(List<String> wanted) throws InterruptedException {
        await("every body of " + wanted.size(), messages -> messages.size() >= wanted.size() && new TreeSet<>(bodies(messages)).containsAll(wanted));
    }

    synchronized List<MessageExt> await(String what, Predicate<List<MessageExt>> condition) throws InterruptedException {
        long until = System.nanoTime() + PATIENCE_SECONDS * 1_000_000_000L;
        while (!condition.test(got)) {
            long left = (until - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                throw new Expect.Failure("waited " + PATIENCE_SECONDS + " s for " + what + ", got " + got.size() + ": "
                    + bodies(got).stream().limit(8).toList());
            }
            wait(left);
        }
        return new ArrayList<>(got);
    }

    /** Waits for exactly these bodies, and a moment longer, in which nothing else may come. */
    List<MessageExt> exactly(List<String> wanted, String what) throws InterruptedException {
        try {
            awaitBodies(wanted);
        } catch (Expect.Failure late) {
            Expect.sameElements(wanted, bodies(), what);
            throw late;
        }
        Thread.sleep(500);
        Expect.sameElements(wanted, bodies(), what);
        return all();
    }
}
