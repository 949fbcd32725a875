package hufu.interop;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What all cases of one run share: where the name service is, and one long-lived admin client. */
final class Theatre {
    final String client;
    final String namesrv;

    private final ExecutorService closing = Executors.newFixedThreadPool(2, task -> {
        Thread thread = new Thread(task, "closing");
        thread.setDaemon(true);
        return thread;
    });
    private DefaultMQAdminExt admin;
    private int timesBack;

    Theatre(String client, String namesrv) {
        this.client = client;
        this.namesrv = namesrv;
    }

    synchronized DefaultMQAdminExt admin() throws Exception {
        if (admin == null) {
            admin = newAdmin("admin", null);
        }
        return admin;
    }

    DefaultMQAdminExt newAdmin(String instance, RPCHook hook) throws Exception {
        DefaultMQAdminExt made = new DefaultMQAdminExt(hook, 10_000);
        made.setAdminExtGroup("admin_" + Versions.LABEL + "_" + instance);
        made.setInstanceName(instance + "-" + Versions.LABEL);
        made.setNamesrvAddr(namesrv);
        made.start();
        return made;
    }

    void later(Runnable task) {
        closing.execute(task);
    }

    synchronized void brokerIsBack() {
        ++timesBack;
        notifyAll();
    }

    /** Has the broker killed without warning and started again on its data. */
    synchronized void killTheBroker() throws InterruptedException {
        int before = timesBack;
        Main.say("kill-the-broker");
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (timesBack == before) {
            long left = TimeUnit.NANOSECONDS.toMillis(until - System.nanoTime());
            if (left <= 0) {
                throw new Expect.Failure("the broker was not back within 60 s");
            }
            wait(left);
        }
    }
}
