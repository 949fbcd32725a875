package hufu.interop;

import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.common.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What is different in the 4.9 client. */
final class Versions {
    static final String LABEL = "49";

    static void addTo(Map<String, Case> cases) {
        cases.put("request_reply_waiting", Requesting::replyWaiting);
    }

    static void deleteTopicInNameServer(DefaultMQAdminExt admin, Set<String> servers, String cluster, String topic) throws Exception {
        admin.deleteTopicInNameServer(servers, topic, cluster);
    }

    static String[] queryMsgById(String topic, String id) {
        return new String[] {"-i", id};
    }

    static void broadcast(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    static String offsetMsgId(MessageExt message) {
        return ((MessageClientExt) message).getOffsetMsgId();
    }

    static SubscriptionGroupConfig group(String name, int retries) {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(name);
        config.setRetryMaxTimes(retries);
        return config;
    }

    private Versions() {}
}
