package hufu.interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A long-lived player of the suite: java hufu.interop.Main CLIENT NAMESRV THREADS. Obeys lines on standard input:
 * "run CASE…" (answers "case NAME pass MS" or "case NAME fail MS WHY" for each as it ends, then "idle"), "broker-is-back", "quit".
 * A case that wants the broker killed and restarted says "kill-the-broker".
 */
public final class Main {
    private static final long LONGEST_CASE_SECONDS = 110;

    private static PrintStream out;

    static synchronized void say(String line) {
        out.println(line);
        out.flush();
    }

    public static void main(String[] arguments) throws Exception {
        out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8);
        // Clients and mqadmin print to standard output as they please; the cases that want it catch it.
        System.setOut(new PrintStream(OutputStream.nullOutputStream()));
        Map<String, Case> cases = Suite.cases();
        if (arguments.length == 1 && arguments[0].equals("--list")) {
            cases.keySet().forEach(Main::say);
            return;
        }
        Theatre theatre = new Theatre(arguments[0], arguments[1]);
        int threads = Integer.parseInt(arguments[2]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        say("ready");
        for (String line = in.readLine(); line != null && !line.equals("quit"); line = in.readLine()) {
            List<String> words = Arrays.asList(line.split(" "));
            if (words.get(0).equals("broker-is-back")) {
                theatre.brokerIsBack();
            } else if (words.get(0).equals("run")) {
                List<String> names = words.subList(1, words.size());
                new Thread(() -> runAll(theatre, cases, names, threads), "suite").start();
            }
        }
        // Threads of clients that hang may not hold up the end.
        Runtime.getRuntime().halt(0);
    }

    private static void runAll(Theatre theatre, Map<String, Case> cases, List<String> names, int threads) {
        ExecutorService players = Executors.newFixedThreadPool(threads);
        for (String name : names) {
            players.execute(() -> runOne(theatre, name, cases.get(name)));
        }
        players.shutdown();
        try {
            players.awaitTermination(1, TimeUnit.HOURS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        say("idle");
    }

    private static void runOne(Theatre theatre, String name, Case played) {
        long begun = System.nanoTime();
        String verdict;
        if (played == null) {
            verdict = "there is no such case";
        } else {
            Stage stage = new Stage(theatre, name);
            ExecutorService player = Executors.newSingleThreadExecutor(task -> new Thread(task, "case-" + name));
            Future<String> playing = player.submit(() -> verdict(played, stage));
            try {
                verdict = playing.get(LONGEST_CASE_SECONDS, TimeUnit.SECONDS);
            } catch (TimeoutException hung) {
                playing.cancel(true);
                verdict = "still running after " + LONGEST_CASE_SECONDS + " s";
            } catch (Exception broken) {
                verdict = Expect.text(broken);
            }
            player.shutdownNow();
            stage.closeLater();
        }
        long took = (System.nanoTime() - begun) / 1_000_000;
        say("case " + name + (verdict.isEmpty() ? " pass " + took : " fail " + took + " " + verdict));
    }

    private static String verdict(Case played, Stage stage) {
        try {
            played.run(stage);
            return "";
        } catch (Throwable wrong) {
            if (System.getenv("HUFU_INTEROP_TRACE") != null) {
                wrong.printStackTrace();
            }
            String text = Expect.text(wrong);
            return text.isEmpty() ? wrong.getClass().getName() : text;
        }
    }

    private Main() {}
}
