package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var everything = consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}

var cases = map[string]func(*stage) error{
	"send_sync":                    sendSync,
	"send_one_way":                 sendOneWay,
	"send_async":                   sendAsync,
	"send_batch":                   sendBatch,
	"send_orderly":                 sendOrderly,
	"consume_broadcast":            broadcast,
	"filter_tags":                  filterTags,
	"delay_level":                  delayLevel,
	"retry_then_success":           retryThenSuccess,
	"acl_signed":                   aclSigned,
	"broker_killed_in_mid_traffic": brokerKilled,
}

func sendSync(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	var in inbox
	ids := map[string]string{}
	bodies := numbered("body 虎符 ", 20)
	for _, body := range bodies {
		one := message(topic, "Tag", body).WithKeys([]string{"key-a", "key-b"})
		one.WithProperty("colour", "grün")
		result, err := p.SendSync(context.Background(), one)
		if err != nil {
			return err
		}
		ids[body] = result.MsgID
	}
	if err := s.listen("g", topic, everything, &in); err != nil {
		return err
	}
	if err := in.exactly(bodies); err != nil {
		return err
	}
	for _, got := range in.all() {
		if got.MsgId != ids[string(got.Body)] || got.GetTags() != "Tag" || got.GetProperty("colour") != "grün" ||
			got.GetKeys() != "key-a key-b" {
			return fmt.Errorf("a message came out different: %v", got)
		}
	}
	return nil
}

func sendOneWay(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	var in inbox
	// A one-way send never learns that there was no route: the topic is made first.
	if err := send(p, topic, "", "first"); err != nil {
		return err
	}
	for _, body := range numbered("m-", 20) {
		if err := p.SendOneWay(context.Background(), message(topic, "", body)); err != nil {
			return err
		}
	}
	if err := s.listen("g", topic, everything, &in); err != nil {
		return err
	}
	return in.exactly(append(numbered("m-", 20), "first"))
}

func sendAsync(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	var answers sync.WaitGroup
	var failures int32
	for _, body := range numbered("m-", 100) {
		answers.Add(1)
		err := p.SendAsync(context.Background(), func(_ context.Context, _ *primitive.SendResult, err error) {
			if err != nil {
				atomic.AddInt32(&failures, 1)
			}
			answers.Done()
		}, message(topic, "", body))
		if err != nil {
			return err
		}
	}
	answers.Wait()
	if failures != 0 {
		return fmt.Errorf("%d of 100 sends failed", failures)
	}
	var in inbox
	if err := s.listen("g", topic, everything, &in); err != nil {
		return err
	}
	return in.exactly(numbered("m-", 100))
}

func sendBatch(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	var batch []*primitive.Message
	for _, body := range numbered("m-", 50) {
		batch = append(batch, message(topic, "Tag", body))
	}
	if _, err := p.SendSync(context.Background(), batch...); err != nil {
		return err
	}
	var in inbox
	if err := s.listen("g", topic, everything, &in); err != nil {
		return err
	}
	return in.exactly(numbered("m-", 50))
}

func sendOrderly(s *stage) error {
	topic := s.own("t")
	p, err := s.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return err
	}
	var all []string
	for step := 0; step < 20; step++ {
		for key := 0; key < 3; key++ {
			body := fmt.Sprintf("%d:%d", key, step)
			all = append(all, body)
			one := message(topic, "", body)
			one.WithShardingKey(fmt.Sprint("key-", key))
			if _, err := p.SendSync(context.Background(), one); err != nil {
				return err
			}
		}
	}
	var in inbox
	if err := s.listen("g", topic, everything, &in, consumer.WithConsumerOrder(true)); err != nil {
		return err
	}
	if err := in.exactly(all); err != nil {
		return err
	}
	next := map[string]int{}
	for _, body := range in.bodies() {
		key := strings.Split(body, ":")[0]
		if body != fmt.Sprintf("%s:%d", key, next[key]) {
			return fmt.Errorf("%s came where %s:%d was due", body, key, next[key])
		}
		next[key]++
	}
	return nil
}

func broadcast(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	if err := send(p, topic, "", numbered("m-", 10)...); err != nil {
		return err
	}
	var both [2]inbox
	for i := range both {
		if err := s.listen("g", topic, everything, &both[i], consumer.WithConsumerModel(consumer.BroadCasting)); err != nil {
			return err
		}
	}
	for i := range both {
		if err := both[i].exactly(numbered("m-", 10)); err != nil {
			return err
		}
	}
	return nil
}

func filterTags(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	for _, tag := range []string{"A", "B", "C", "A"} {
		if err := send(p, topic, tag, "of "+tag); err != nil {
			return err
		}
	}
	var in inbox
	if err := s.listen("g", topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "A || B"}, &in); err != nil {
		return err
	}
	return in.exactly([]string{"of A", "of A", "of B"})
}

func delayLevel(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	if err := send(p, topic, "", "plain"); err != nil {
		return err
	}
	var in inbox
	if err := s.listen("g", topic, everything, &in); err != nil {
		return err
	}
	if err := in.exactly([]string{"plain"}); err != nil {
		return err
	}
	begun := time.Now()
	if _, err := p.SendSync(context.Background(), message(topic, "", "later").WithDelayTimeLevel(2)); err != nil {
		return err
	}
	if err := eventually("the delayed message", func() bool { return len(in.all()) == 2 }); err != nil {
		return err
	}
	if took := time.Since(begun); took < 2900*time.Millisecond || took > 8*time.Second {
		return fmt.Errorf("delivered after %v instead of 3 s", took)
	}
	return nil
}

func retryThenSuccess(s *stage) error {
	topic := s.own("t")
	p, err := s.producer()
	if err != nil {
		return err
	}
	if err := send(p, topic, "", "again"); err != nil {
		return err
	}
	var in inbox
	c, err := s.consumer("g")
	if err != nil {
		return err
	}
	err = c.Subscribe(topic, everything, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		in.put(messages...)
		if messages[0].ReconsumeTimes < 2 {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if err := eventually("three deliveries", func() bool { return len(in.all()) >= 3 }); err != nil {
		return err
	}
	for attempt, got := range in.all() {
		if int(got.ReconsumeTimes) != attempt {
			return fmt.Errorf("reconsume times of delivery %d is %d", attempt, got.ReconsumeTimes)
		}
	}
	return in.exactly([]string{"again", "again", "again"})
}

func aclSigned(s *stage) error {
	credentials := primitive.Credentials{AccessKey: "interop", SecretKey: "interop-tells-nobody"}
	topic := s.own("t")
	p, err := s.producer(producer.WithCredentials(credentials))
	if err != nil {
		return err
	}
	if err := send(p, topic, "", numbered("m-", 5)...); err != nil {
		return err
	}
	var in inbox
	if err := s.listen("g", topic, everything, &in, consumer.WithCredentials(credentials)); err != nil {
		return err
	}
	return in.exactly(numbered("m-", 5))
}

func brokerKilled(s *stage) error {
	topic := s.own("t")
	p, err := s.producer(producer.WithRetry(0), producer.WithSendMsgTimeout(3*time.Second))
	if err != nil {
		return err
	}
	if err := send(p, topic, "", "first"); err != nil {
		return err
	}
	var in inbox
	if err := s.listen("g", topic, everything, &in); err != nil {
		return err
	}
	acknowledged := []string{"first"}
	next := 0
	run := func(count int) error {
		return eventually(fmt.Sprint(count, " acknowledged sends"), func() bool {
			for tries := 0; tries < 20 && count > 0; tries++ {
				body := fmt.Sprint("m-", next)
				next++
				if send(p, topic, "", body) == nil {
					acknowledged = append(acknowledged, body)
					count--
				}
			}
			return count == 0
		})
	}
	if err := run(200); err != nil {
		return err
	}
	s.theatre.killTheBroker()
	if err := run(200); err != nil {
		return err
	}
	return eventually("every acknowledged message consumed", func() bool { return containsAll(in.bodies(), acknowledged) })
}
