package hufu.interop;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;

/** Request and reply. */
final class Requesting {
    static void addTo(Map<String, Case> cases) {
        cases.put("request_reply", Requesting::replyAsync);
        cases.put("request_without_reply", Requesting::withoutReply);
    }

    private static void answering(Stage stage, String topic) throws Exception {
        DefaultMQProducer replies = stage.producer();
        DefaultMQPushConsumer consumer = stage.pushConsumer(stage.own("g"));
        Inbox inbox = new Inbox();
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.putAll(messages);
            try {
                for (Message request : messages) {
                    if (!Stage.body(request).equals("warm up")) {
                        replies.send(MessageUtil.createReplyMessage(request, Stage.bytes("answer to " + Stage.body(request))), 5000);
                    }
                }
            } catch (Exception failed) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Stage.send(replies, topic, "", List.of("warm up"));
        inbox.await(1);
    }

    /** The waiting call. In the 5.3.3 client it comes back without a reply as soon as the request is stored, whatever the broker does. */
    static void replyWaiting(Stage stage) throws Exception {
        String topic = stage.topic(2);
        answering(stage, topic);
        DefaultMQProducer producer = stage.producer();
        for (int i = 0; i < 5; ++i) {
            Message answer = producer.request(new Message(topic, Stage.bytes("question " + i)), 15_000);
            Expect.equal("answer to question " + i, Stage.body(answer), "reply");
        }
    }

    private static void replyAsync(Stage stage) throws Exception {
        String topic = stage.topic(2);
        answering(stage, topic);
        CountDownLatch done = new CountDownLatch(1);
        AtomicReference<String> outcome = new AtomicReference<>();
        stage.producer().request(new Message(topic, Stage.bytes("question")), new RequestCallback() {
            @Override
            public void onSuccess(Message answer) {
                outcome.set(Stage.body(answer));
                done.countDown();
            }

            @Override
            public void onException(Throwable thrown) {
                outcome.set(Expect.text(thrown));
                done.countDown();
            }
        }, 15_000);
        Expect.that(done.await(20, TimeUnit.SECONDS), "neither a reply nor a time-out");
        Expect.equal("answer to question", outcome.get(), "reply");
    }

    private static void withoutReply(Stage stage) throws Exception {
        String topic = stage.topic(1);
        DefaultMQProducer producer = stage.producer();
        try {
            producer.request(new Message(topic, Stage.bytes("is anybody there?")), 1500);
        } catch (RequestTimeoutException expected) {
            Expect.equal(List.of("is anybody there?"), Inbox.bodies(stage.stored(topic)), "stored requests");
            return;
        }
        throw new Expect.Failure("a request that nobody answers came back");
    }

    private Requesting() {}
}
