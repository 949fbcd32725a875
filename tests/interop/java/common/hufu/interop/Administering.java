package hufu.interop;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** What the admin client asks for, all through one long-lived one. */
final class Administering {
    static void addTo(Map<String, Case> cases) {
        cases.put("admin_topic_life", Administering::topicLife);
        cases.put("admin_topic_permissions", Administering::permissions);
        cases.put("admin_topic_stats", Administering::topicStats);
        cases.put("admin_cluster", Administering::cluster);
        cases.put("admin_groups", Administering::groups);
        cases.put("admin_group_switched_off", Administering::switchedOff);
        cases.put("admin_consumer_progress", Administering::progress);
        cases.put("admin_connections", Administering::connections);
        cases.put("admin_consumer_status", Administering::consumerStatus);
        cases.put("admin_who_consumes", Administering::whoConsumes);
        cases.put("admin_consume_directly", Administering::consumeDirectly);
        cases.put("admin_message_track", Administering::track);
        cases.put("admin_time_span", Administering::timeSpan);
        cases.put("admin_clone_offsets", Administering::cloneOffsets);
        cases.put("admin_update_offset", Administering::updateOffset);
        cases.put("admin_statistics", Administering::statistics);
        cases.put("admin_broker_configuration", Administering::configuration);
        cases.put("admin_key_values", Administering::keyValues);
        cases.put("admin_consume_stats_in_broker", Administering::statsInBroker);
        cases.put("admin_all_configurations", Administering::allConfigurations);
        MqAdmin.addTo(cases);
    }

    /** A group that has read ten messages of a topic and is still there. */
    private static DefaultMQPushConsumer reading(Stage stage, String topic, String group) throws Exception {
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.listen(group, topic, "*", inbox);
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 10));
        inbox.await(10);
        return consumer;
    }

    private static void topicLife(Stage stage) throws Exception {
        String topic = stage.topic(4);
        var admin = stage.admin();
        var route = admin.examineTopicRouteInfo(topic);
        Expect.equal(1, route.getBrokerDatas().size(), "brokers in the route");
        Expect.equal(4, route.getQueueDatas().get(0).getWriteQueueNums(), "write queues");
        Expect.equal(6, route.getQueueDatas().get(0).getPerm(), "permission");
        Expect.that(admin.fetchAllTopicList().getTopicList().contains(topic), "the topic is not in the list");
        Expect.that(admin.fetchTopicsByCLuster(stage.clusterName()).getTopicList().contains(topic), "the topic is not in the cluster's list");
        TopicConfig config = admin.examineTopicConfig(stage.brokerAddress(), topic);
        Expect.equal(4, config.getReadQueueNums(), "read queues");

        config.setReadQueueNums(8);
        config.setWriteQueueNums(6);
        admin.createAndUpdateTopicConfig(stage.brokerAddress(), config);
        stage.awaitRoute(topic, 8);
        Expect.equal(6, admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums(), "write queues after the change");

        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 3));
        admin.deleteTopicInBroker(new HashSet<>(Set.of(stage.brokerAddress())), topic);
        Versions.deleteTopicInNameServer(admin, new HashSet<>(admin.getNameServerAddressList()), stage.clusterName(), topic);
        Expect.eventually(20, "no route to the deleted topic", () -> {
            try {
                admin.examineTopicRouteInfo(topic);
                return false;
            } catch (org.apache.rocketmq.client.exception.MQClientException none) {
                return none.getResponseCode() == 17;
            }
        });
        Expect.that(!admin.fetchAllTopicList().getTopicList().contains(topic), "the deleted topic is in the list");
        // Made anew it is empty.
        admin.createAndUpdateTopicConfig(stage.brokerAddress(), new TopicConfig(topic, 1, 1, 6));
        stage.awaitRoute(topic, 1);
        Expect.equal(List.of(), Inbox.bodies(stage.stored(topic)), "messages of the topic made anew");
    }

    private static void permissions(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", List.of("before"));
        stage.admin().createAndUpdateTopicConfig(stage.brokerAddress(), new TopicConfig(topic, 1, 1, 4));
        MessageQueue queue = new MessageQueue(topic, stage.brokerName(), 0);
        Expect.refused(16, "a send to a topic that is only readable", () -> producer.send(new Message(topic, Stage.bytes("refused")), queue));
        Expect.equal(List.of("before"), Inbox.bodies(stage.stored(topic)), "stored");
    }

    private static void topicStats(Stage stage) throws Exception {
        String topic = stage.topic(2);
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 10));
        var table = stage.admin().examineTopicStats(topic).getOffsetTable();
        Expect.equal(2, table.size(), "queues");
        Expect.equal(10L, table.values().stream().mapToLong(one -> one.getMaxOffset() - one.getMinOffset()).sum(), "messages");
        long latest = table.values().stream().mapToLong(one -> one.getLastUpdateTimestamp()).max().orElse(0);
        Expect.between(System.currentTimeMillis() - 60_000, System.currentTimeMillis() + 1000, latest, "time of the last message");
    }

    private static void cluster(Stage stage) throws Exception {
        var cluster = stage.admin().examineBrokerClusterInfo();
        Expect.equal(1, cluster.getBrokerAddrTable().size(), "brokers");
        var broker = cluster.getBrokerAddrTable().values().iterator().next();
        Expect.that(cluster.getClusterAddrTable().get(broker.getCluster()).contains(broker.getBrokerName()), "the broker is not in its cluster");
        var stats = stage.admin().fetchBrokerRuntimeStats(stage.brokerAddress()).getTable();
        for (String key : List.of("brokerVersionDesc", "putTps", "getTotalTps", "msgPutTotalTodayNow", "bootTimestamp", "commitLogDiskRatio")) {
            Expect.that(stats.containsKey(key), "runtime statistics without " + key);
        }
    }

    private static void groups(Stage stage) throws Exception {
        String group = stage.own("g");
        var admin = stage.admin();
        admin.createAndUpdateSubscriptionGroupConfig(stage.brokerAddress(), Versions.group(group, 3));
        Expect.equal(3, admin.examineSubscriptionGroupConfig(stage.brokerAddress(), group).getRetryMaxTimes(), "retries");
        Expect.that(admin.getAllSubscriptionGroup(stage.brokerAddress(), 5000).getSubscriptionGroupTable().containsKey(group), "the group is not in the table");
        admin.createAndUpdateSubscriptionGroupConfig(stage.brokerAddress(), Versions.group(group, 5));
        Expect.equal(5, admin.examineSubscriptionGroupConfig(stage.brokerAddress(), group).getRetryMaxTimes(), "retries after the change");
        admin.deleteSubscriptionGroup(stage.brokerAddress(), group, true);
        Expect.that(!admin.getAllSubscriptionGroup(stage.brokerAddress(), 5000).getSubscriptionGroupTable().containsKey(group), "the deleted group is in the table");
    }

    private static void switchedOff(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        var off = Versions.group(group, 3);
        off.setConsumeEnable(false);
        stage.admin().createAndUpdateSubscriptionGroupConfig(stage.brokerAddress(), off);
        Stage.send(stage.producer(), topic, "", List.of("waits"));
        Inbox inbox = new Inbox();
        stage.listen(group, topic, "*", inbox);
        Thread.sleep(3000);
        Expect.equal(List.of(), inbox.bodies(), "consumed by a group that is switched off");
        stage.admin().createAndUpdateSubscriptionGroupConfig(stage.brokerAddress(), Versions.group(group, 3));
        inbox.exactly(List.of("waits"), "consumed when it is on again");
    }

    private static void progress(Stage stage) throws Exception {
        String topic = stage.topic(2);
        String group = stage.own("g");
        DefaultMQPushConsumer consumer = reading(stage, topic, group);
        Expect.eventually(20, "no lag", () -> {
            var stats = stage.admin().examineConsumeStats(group);
            Expect.equal(0L, stats.computeTotalDiff(), "lag");
            long consumed = stats.getOffsetTable().entrySet().stream().filter(one -> one.getKey().getTopic().equals(topic))
                .mapToLong(one -> one.getValue().getConsumerOffset()).sum();
            Expect.equal(10L, consumed, "consumed");
            return true;
        });
        consumer.shutdown();
        Stage.send(stage.producer(), topic, "", Stage.numbered("waiting-", 7));
        Expect.equal(7L, stage.admin().examineConsumeStats(group).computeTotalDiff(), "lag of the group that left");
        Expect.equal(7L, stage.admin().examineConsumeStats(group, topic).computeTotalDiff(), "lag in the topic");
    }

    private static void connections(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        DefaultMQPushConsumer consumer = reading(stage, topic, group);
        var connection = stage.admin().examineConsumerConnectionInfo(group);
        Expect.equal(1, connection.getConnectionSet().size(), "connections");
        var one = connection.getConnectionSet().iterator().next();
        Expect.equal(consumer.buildMQClientId(), one.getClientId(), "client id");
        Expect.equal("JAVA", one.getLanguage().name(), "language");
        Expect.that(one.getClientAddr().contains(":"), "address " + one.getClientAddr());
        Expect.that(connection.getSubscriptionTable().containsKey(topic), "the topic is not among the subscriptions");
        Expect.equal("CLUSTERING", connection.getMessageModel().name(), "message model");
        Expect.equal("CONSUME_FROM_FIRST_OFFSET", connection.getConsumeFromWhere().name(), "consume from where");
        DefaultMQProducer producer = stage.producer();
        Stage.send(producer, topic, "", List.of("m"));
        Expect.eventually(10, "the producer's connection", () -> stage.admin().examineProducerConnectionInfo(producer.getProducerGroup(), topic)
            .getConnectionSet().stream().anyMatch(each -> each.getClientId().equals(producer.buildMQClientId())));
        try {
            stage.admin().examineConsumerConnectionInfo(stage.own("nobody"));
            throw new Expect.Failure("the connections of a group that is not there were told");
        } catch (org.apache.rocketmq.client.exception.MQClientException | org.apache.rocketmq.client.exception.MQBrokerException none) {
            // 17: no route to its retry topic; 206: not online.
            Expect.that(Expect.text(none).contains("CODE: 17") || Expect.text(none).contains("CODE: 206"), Expect.text(none));
        }
    }

    private static void consumerStatus(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        DefaultMQPushConsumer consumer = reading(stage, topic, group);
        var info = stage.admin().getConsumerRunningInfo(group, consumer.buildMQClientId(), false);
        Expect.that(info.getSubscriptionSet().stream().anyMatch(one -> one.getTopic().equals(topic)), "the subscription is missing");
        Expect.that(info.getMqTable().keySet().stream().anyMatch(one -> one.getTopic().equals(topic)), "the queue is missing");
        var offsets = stage.admin().getConsumeStatus(topic, group, "");
        Expect.that(offsets.containsKey(consumer.buildMQClientId()), "offsets of " + offsets.keySet());
    }

    private static void whoConsumes(Stage stage) throws Exception {
        String topic = stage.topic(1);
        reading(stage, topic, stage.own("one"));
        reading(stage, topic, stage.own("two"));
        Expect.eventually(20, "both groups", () -> {
            Set<String> groups = stage.admin().queryTopicConsumeByWho(topic).getGroupList();
            return groups.containsAll(Set.of(stage.own("one"), stage.own("two")));
        });
    }

    private static void consumeDirectly(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = stage.listen(group, topic, "*", inbox);
        SendResult result = Stage.sent(stage.producer().send(new Message(topic, Stage.bytes("again"))));
        inbox.await(1);
        Expect.eventually(20, "the message by its id", () -> stage.admin().viewMessage(topic, result.getMsgId()) != null);
        var answer = stage.admin().consumeMessageDirectly(group, consumer.buildMQClientId(), topic, result.getMsgId());
        Expect.equal("CR_SUCCESS", answer.getConsumeResult().name(), "result");
        Expect.equal(List.of("again", "again"), Inbox.bodies(inbox.await(2)), "consumed");
    }

    private static void track(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        Inbox inbox = new Inbox();
        stage.listen(group, topic, "*", inbox);
        SendResult result = Stage.sent(stage.producer().send(new Message(topic, Stage.bytes("m"))));
        inbox.await(1);
        Expect.eventually(20, "CONSUMED in the track", () -> {
            var tracks = stage.admin().messageTrackDetail(stage.admin().viewMessage(topic, result.getOffsetMsgId()));
            return tracks.stream().anyMatch(one -> one.getConsumerGroup().equals(group) && one.getTrackType().name().equals("CONSUMED"));
        });
    }

    private static void timeSpan(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        reading(stage, topic, group);
        Thread.sleep(1000);
        var spans = stage.admin().queryConsumeTimeSpan(topic, group);
        Expect.equal(1, spans.size(), "queues");
        var span = spans.get(0);
        Expect.between(System.currentTimeMillis() - 60_000, span.getMaxTimeStamp(), span.getMinTimeStamp(), "time of the first message");
    }

    private static void cloneOffsets(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String from = stage.own("from");
        String to = stage.own("to");
        reading(stage, topic, from).shutdown();
        Inbox inbox = new Inbox();
        // The new group must be known at the broker.
        stage.admin().createAndUpdateSubscriptionGroupConfig(stage.brokerAddress(), Versions.group(to, 3));
        Expect.eventually(20, "offsets of the first group", () -> stage.admin().examineConsumeStats(from, topic).computeTotalDiff() == 0);
        stage.admin().cloneGroupOffset(from, to, topic, true);
        Stage.send(stage.producer(), topic, "", List.of("new"));
        stage.listen(to, topic, "*", inbox);
        inbox.exactly(List.of("new"), "consumed by the group with cloned offsets");
    }

    private static void updateOffset(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        reading(stage, topic, group).shutdown();
        Thread.sleep(1000);
        stage.admin().updateConsumeOffset(stage.brokerAddress(), group, new MessageQueue(topic, stage.brokerName(), 0), 6);
        Inbox inbox = new Inbox();
        stage.listen(group, topic, "*", inbox);
        inbox.exactly(Stage.numbered("m-", 10).subList(6, 10), "consumed from offset 6");
    }

    private static void statistics(Stage stage) throws Exception {
        String topic = stage.topic(1);
        Stage.send(stage.producer(), topic, "", Stage.numbered("m-", 10));
        // A real broker samples every 10 s.
        Expect.eventually(40, "puts of the last minute", () -> {
            var data = stage.admin().viewBrokerStatsData(stage.brokerAddress(), "TOPIC_PUT_NUMS", topic);
            return data.getStatsMinute() != null && data.getStatsMinute().getSum() >= 0 && data.getStatsDay() != null;
        });
    }

    private static void configuration(Stage stage) throws Exception {
        Properties config = stage.admin().getBrokerConfig(stage.brokerAddress());
        Expect.equal(stage.brokerName(), config.getProperty("brokerName"), "brokerName");
        Expect.that(config.containsKey("flushDiskType"), "no flushDiskType in the configuration");
        Expect.that(config.containsKey("autoCreateTopicEnable"), "no autoCreateTopicEnable in the configuration");
    }

    private static void keyValues(Stage stage) throws Exception {
        var admin = stage.admin();
        String space = stage.own("space");
        admin.createAndUpdateKvConfig(space, "colour", "green");
        Expect.equal("green", admin.getKVConfig(space, "colour"), "value");
        Expect.equal(Map.of("colour", "green"), Map.copyOf(admin.getKVListByNamespace(space).getTable()), "table");
        admin.deleteKvConfig(space, "colour");
        try {
            Expect.equal(null, admin.getKVConfig(space, "colour"), "deleted value");
        } catch (org.apache.rocketmq.client.exception.MQClientException gone) {
            Expect.equal(22, gone.getResponseCode(), "response code");
        }
    }

    private static void statsInBroker(Stage stage) throws Exception {
        String topic = stage.topic(1);
        String group = stage.own("g");
        reading(stage, topic, group);
        Expect.eventually(20, "the group in the broker's table", () -> stage.admin().fetchConsumeStatsInBroker(stage.brokerAddress(), false, 5000)
            .getConsumeStatsList().stream().anyMatch(one -> one.containsKey(group)));
    }

    private static void allConfigurations(Stage stage) throws Exception {
        String topic = stage.topic(3);
        var table = stage.admin().getAllTopicConfig(stage.brokerAddress(), 5000).getTopicConfigTable();
        Expect.that(table.containsKey(topic), "the topic is not in the table");
        Expect.equal(3, table.get(topic).getReadQueueNums(), "read queues");
        Expect.that(stage.admin().getUserTopicConfig(stage.brokerAddress(), false, 5000).getTopicConfigTable().containsKey(topic), "the topic is not among the user's");
        // Cleaning of unused topics is not played: a real broker's timers then fail for minutes on a queue that is gone.
        Expect.that(stage.admin().cleanExpiredConsumerQueueByAddr(stage.brokerAddress()), "cleaning of expired queues was refused");
    }

    private Administering() {}
}
