package hufu.interop;

import java.util.Collection;
import java.util.Objects;
import java.util.TreeSet;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;

/** What a case asserts. The sentence of a failure is what the report shows. */
final class Expect {
    static final class Failure extends RuntimeException {
        Failure(String text) {
            super(text);
        }
    }

    @FunctionalInterface
    interface Action {
        void run() throws Exception;
    }

    @FunctionalInterface
    interface Condition {
        boolean holds() throws Exception;
    }

    static void that(boolean holds, String otherwise) {
        if (!holds) {
            throw new Failure(otherwise);
        }
    }

    static void equal(Object wanted, Object got, String what) {
        if (!Objects.equals(wanted, got)) {
            throw new Failure(what + " is " + got + ", not " + wanted);
        }
    }

    static void between(long low, long high, long got, String what) {
        if (got < low || got > high) {
            throw new Failure(what + " is " + got + ", not within " + low + " and " + high);
        }
    }

    /** The same elements, each as often as in the other. */
    static void sameElements(Collection<String> wanted, Collection<String> got, String what) {
        TreeSet<String> missing = new TreeSet<>(wanted);
        missing.removeAll(got);
        TreeSet<String> extra = new TreeSet<>(got);
        extra.removeAll(wanted);
        if (!missing.isEmpty() || !extra.isEmpty() || wanted.size() != got.size()) {
            throw new Failure(what + ": " + got.size() + " instead of " + wanted.size() + ", missing " + some(missing) + ", not wanted " + some(extra));
        }
    }

    private static String some(Collection<String> all) {
        return all.size() <= 5 ? all.toString() : all.stream().limit(5).toList() + " and " + (all.size() - 5) + " more";
    }

    /** Polls until the condition holds. An exception of the condition counts as "not yet", and is told in the end. */
    static void eventually(long seconds, String what, Condition condition) throws InterruptedException {
        long until = System.nanoTime() + seconds * 1_000_000_000L;
        Exception last = null;
        do {
            try {
                if (condition.holds()) {
                    return;
                }
                last = null;
            } catch (Failure | InterruptedException wrong) {
                if (wrong instanceof InterruptedException interrupted) {
                    throw interrupted;
                }
                last = wrong;
            } catch (Exception wrong) {
                last = wrong;
            }
            Thread.sleep(100);
        } while (System.nanoTime() < until);
        throw new Failure("not within " + seconds + " s: " + what + (last == null ? "" : " (" + text(last) + ")"));
    }

    /** The action is refused by the broker with this response code. Returns the sentence that came with it. */
    static String refused(int code, String what, Action action) throws Exception {
        try {
            action.run();
        } catch (Exception refusal) {
            for (Throwable cause = refusal; cause != null; cause = cause.getCause()) {
                int got = cause instanceof MQBrokerException b ? b.getResponseCode() : cause instanceof MQClientException c ? c.getResponseCode() : -1;
                if (got == code) {
                    return String.valueOf(cause.getMessage());
                }
            }
            throw new Failure(what + " was refused, but not with code " + code + ": " + text(refusal));
        }
        throw new Failure(what + " was not refused");
    }

    static String text(Throwable thrown) {
        StringBuilder text = new StringBuilder();
        int depth = 0;
        for (Throwable cause = thrown; cause != null && depth < 3; cause = cause.getCause(), ++depth) {
            String name = cause instanceof Failure ? "" : cause.getClass().getSimpleName() + ": ";
            text.append(depth == 0 ? "" : " / ").append(name).append(cause.getMessage());
        }
        if (thrown instanceof NullPointerException || thrown.getMessage() == null) {
            StackTraceElement[] trace = thrown.getStackTrace();
            for (int i = 0; i < Math.min(3, trace.length); ++i) {
                text.append(" at ").append(trace[i]);
            }
        }
        String line = text.toString().replaceAll("[\\r\\n]+", " ");
        return line.length() > 400 ? line.substring(0, 400) + "…" : line;
    }

    private Expect() {}
}
