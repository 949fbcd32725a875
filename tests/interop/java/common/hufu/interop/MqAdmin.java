package hufu.interop;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.commons.cli.CommandLine;
import org.apache.commons.cli.PosixParser;
import org.apache.commons.cli.Options;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.srvutil.ServerUtil;
import org.apache.rocketmq.tools.command.SubCommand;

/** Commands of mqadmin as a person types them, judged by what they print; without a JVM for each. */
final class MqAdmin {
    static void addTo(Map<String, Case> cases) {
        cases.put("mqadmin_topics", MqAdmin::topics);
        cases.put("mqadmin_groups", MqAdmin::groups);
        cases.put("mqadmin_messages", MqAdmin::messages);
        cases.put("mqadmin_broker", MqAdmin::broker);
    }

    /** Standard output belongs to one command at a time. */
    private static final Object STANDARD_OUTPUT = new Object();

    private static String run(Stage stage, String where, String... words) throws Exception {
        SubCommand command = (SubCommand) Class.forName("org.apache.rocketmq.tools.command." + where).getDeclaredConstructor().newInstance();
        List<String> arguments = new ArrayList<>(List.of("-n", stage.theatre.namesrv));
        arguments.addAll(Arrays.asList(words));
        Options options = command.buildCommandlineOptions(ServerUtil.buildCommandlineOptions(new Options()));
        CommandLine line = new PosixParser().parse(options, arguments.toArray(new String[0]));
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        synchronized (STANDARD_OUTPUT) {
            PrintStream before = System.out;
            System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
            // As mqadmin's own main does.
            System.setProperty("rocketmq.namesrv.addr", stage.theatre.namesrv);
            try {
                command.execute(line, options, null);
            } finally {
                System.setOut(before);
                System.clearProperty("rocketmq.namesrv.addr");
            }
        }
        return printed.toString(StandardCharsets.UTF_8);
    }

    private static void prints(String wanted, String printed, String command) {
        Expect.that(printed.contains(wanted), command + " did not print \"" + wanted + "\" but " + (printed.isBlank() ? "nothing" : printed));
    }

    private static void topics(Stage stage) throws Exception {
        String topic = stage.own("");
        prints("success", run(stage, "topic.UpdateTopicSubCommand", "-b", stage.brokerAddress(), "-t", topic, "-r", "3", "-w", "3"), "updateTopic");
        stage.awaitRoute(topic, 3);
        prints(topic, run(stage, "topic.TopicListSubCommand"), "topicList");
        prints("readQueueNums", run(stage, "topic.TopicRouteSubCommand", "-t", topic), "topicRoute");
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 3));
        prints(stage.brokerName(), run(stage, "topic.TopicStatusSubCommand", "-t", topic), "topicStatus");
        prints("success", run(stage, "topic.DeleteTopicSubCommand", "-c", stage.clusterName(), "-t", topic), "deleteTopic");
    }

    private static void groups(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        prints("success", run(stage, "consumer.UpdateSubGroupSubCommand", "-b", stage.brokerAddress(), "-g", group), "updateSubGroup");
        Inbox inbox = new Inbox();
        var consumer = stage.listen(group, topic, "*", inbox);
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 3));
        inbox.await(3);
        Expect.eventually(20, "no lag in consumerProgress", () -> {
            prints("Diff Total: 0", run(stage, "consumer.ConsumerProgressSubCommand", "-g", group), "consumerProgress");
            return true;
        });
        prints(consumer.buildMQClientId(), run(stage, "connection.ConsumerConnectionSubCommand", "-g", group), "consumerConnection");
        prints("success", run(stage, "consumer.UpdateSubGroupSubCommand", "-b", stage.brokerAddress(), "-g", group, "-r", "7"), "updateSubGroup");
        consumer.shutdown();
        prints("success", run(stage, "consumer.DeleteSubscriptionGroupCommand", "-b", stage.brokerAddress(), "-g", group), "deleteSubGroup");
    }

    private static void messages(Stage stage) throws Exception {
        String topic = stage.topic(1);
        SendResult result = Stage.sent(stage.producer().send(new Message(topic, "Tag", "the-key", Stage.bytes("typed"))));
        prints("the-key", run(stage, "message.QueryMsgByIdSubCommand", Versions.queryMsgById(topic, result.getOffsetMsgId())), "queryMsgById");
        Expect.eventually(20, "the message by its key", () -> {
            prints(result.getMsgId(), run(stage, "message.QueryMsgByKeySubCommand", "-t", topic, "-k", "the-key"), "queryMsgByKey");
            return true;
        });
        prints("the-key", run(stage, "message.QueryMsgByUniqueKeySubCommand", "-t", topic, "-i", result.getMsgId()), "queryMsgByUniqueKey");
        prints("the-key", run(stage, "message.QueryMsgByOffsetSubCommand", "-t", topic, "-b", stage.brokerName(), "-i", "0", "-o", "0"), "queryMsgByOffset");
        prints("typed", run(stage, "message.PrintMessageSubCommand", "-t", topic), "printMsg");
    }

    private static void broker(Stage stage) throws Exception {
        prints(stage.brokerName(), run(stage, "cluster.ClusterListSubCommand"), "clusterList");
        prints("putTps", run(stage, "broker.BrokerStatusSubCommand", "-b", stage.brokerAddress()), "brokerStatus");
        prints("brokerName", run(stage, "broker.GetBrokerConfigCommand", "-b", stage.brokerAddress()), "getBrokerConfig");
    }

    private MqAdmin() {}
}
