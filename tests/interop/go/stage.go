package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const patience = 60 * time.Second

// stage is what one case has for itself; topics are made by its first send.
type stage struct {
	theatre   *theatre
	name      string
	instances int
	closing   []func()
}

func (s *stage) own(what string) string { return "go_" + s.name + "_" + what }

func (s *stage) instance() string {
	s.instances++
	return fmt.Sprintf("%s-%d", s.name, s.instances)
}

func (s *stage) close() {
	for _, action := range s.closing {
		go action()
	}
}

func (s *stage) resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{s.theatre.nameServer})
}

func (s *stage) producer(more ...producer.Option) (rocketmq.Producer, error) {
	options := append([]producer.Option{
		producer.WithGroupName(s.own("p")), producer.WithNsResolver(s.resolver()),
		producer.WithInstanceName(s.instance()), producer.WithRetry(2), producer.WithSendMsgTimeout(10 * time.Second),
	}, more...)
	made, err := rocketmq.NewProducer(options...)
	if err != nil {
		return nil, err
	}
	s.closing = append(s.closing, func() { _ = made.Shutdown() })
	return made, made.Start()
}

func (s *stage) consumer(group string, more ...consumer.Option) (rocketmq.PushConsumer, error) {
	options := append([]consumer.Option{
		consumer.WithGroupName(s.own(group)), consumer.WithNsResolver(s.resolver()),
		consumer.WithInstance(s.instance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, more...)
	made, err := rocketmq.NewPushConsumer(options...)
	if err == nil {
		s.closing = append(s.closing, func() { _ = made.Shutdown() })
	}
	return made, err
}

// inbox keeps what came, in the order of its coming.
type inbox struct {
	lock sync.Mutex
	got  []*primitive.MessageExt
}

func (in *inbox) put(messages ...*primitive.MessageExt) {
	in.lock.Lock()
	defer in.lock.Unlock()
	in.got = append(in.got, messages...)
}

func (in *inbox) all() []*primitive.MessageExt {
	in.lock.Lock()
	defer in.lock.Unlock()
	return append([]*primitive.MessageExt(nil), in.got...)
}

func (in *inbox) bodies() []string {
	var bodies []string
	for _, message := range in.all() {
		bodies = append(bodies, string(message.Body))
	}
	return bodies
}

// exactly waits for these bodies, and a moment longer, in which nothing else may come.
func (in *inbox) exactly(wanted []string) error {
	err := eventually(fmt.Sprintf("%d messages", len(wanted)), func() bool { return containsAll(in.bodies(), wanted) })
	if err == nil {
		time.Sleep(500 * time.Millisecond)
	}
	return same(wanted, in.bodies(), "consumed")
}

func containsAll(got, wanted []string) bool {
	there := map[string]bool{}
	for _, one := range got {
		there[one] = true
	}
	for _, one := range wanted {
		if !there[one] {
			return false
		}
	}
	return true
}

func same(wanted, got []string, what string) error {
	a, b := append([]string(nil), wanted...), append([]string(nil), got...)
	sort.Strings(a)
	sort.Strings(b)
	if strings.Join(a, "\x00") != strings.Join(b, "\x00") {
		return fmt.Errorf("%s: %d instead of %d: %.300v", what, len(got), len(wanted), got)
	}
	return nil
}

func eventually(what string, condition func() bool) error {
	until := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(until) {
			return fmt.Errorf("not within %v: %s", patience, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

func numbered(prefix string, count int) []string {
	var all []string
	for i := 0; i < count; i++ {
		all = append(all, fmt.Sprintf("%s%d", prefix, i))
	}
	return all
}

func message(topic, tag, body string) *primitive.Message {
	made := primitive.NewMessage(topic, []byte(body))
	if tag != "" {
		made.WithTag(tag)
	}
	return made
}

func send(p rocketmq.Producer, topic, tag string, bodies ...string) error {
	for _, body := range bodies {
		result, err := p.SendSync(context.Background(), message(topic, tag, body))
		if err != nil {
			return err
		}
		if result.Status != primitive.SendOK {
			return fmt.Errorf("send status of %s is %v", body, result.Status)
		}
	}
	return nil
}

// listen starts a consumer that puts all it gets into the inbox.
func (s *stage) listen(group, topic string, selector consumer.MessageSelector, in *inbox, more ...consumer.Option) error {
	c, err := s.consumer(group, more...)
	if err != nil {
		return err
	}
	err = c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		in.put(messages...)
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return err
	}
	return c.Start()
}
