package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// Transaction messages of the stock producer. Both brokers ask for the first time after a second.
func init() {
	cases["transaction_commit"] = transactionCommit
	cases["transaction_rollback"] = transactionRollback
	cases["transaction_invisible_until_its_verdict"] = transactionInvisible
	cases["transaction_unknown_then_the_check_commits"] = transactionCheckCommits
	cases["transaction_unknown_then_the_check_rolls_back"] = transactionCheckRollsBack
}

// listener says what the local transaction and the check come to, and counts the checks.
type listener struct {
	local  func() primitive.LocalTransactionState
	check  primitive.LocalTransactionState
	checks int32
}

func (l *listener) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	return l.local()
}

func (l *listener) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	atomic.AddInt32(&l.checks, 1)
	return l.check
}

func always(state primitive.LocalTransactionState) func() primitive.LocalTransactionState {
	return func() primitive.LocalTransactionState { return state }
}

func (s *stage) transacting(l *listener) (rocketmq.TransactionProducer, error) {
	made, err := rocketmq.NewTransactionProducer(l,
		producer.WithGroupName(s.own("tp")), producer.WithNsResolver(s.resolver()),
		producer.WithInstanceName(s.instance()), producer.WithRetry(2), producer.WithSendMsgTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	s.closing = append(s.closing, func() { _ = made.Shutdown() })
	return made, made.Start()
}

// transact sends one message in a transaction, and lets a consumer see what comes of it.
func (s *stage) transact(l *listener, body string, in *inbox) (*primitive.TransactionSendResult, error) {
	topic := s.own("t")
	plain, err := s.producer()
	if err != nil {
		return nil, err
	}
	// The topic is made by a plain message, which also shows that the consumer is there.
	if err := send(plain, topic, "", "plain"); err != nil {
		return nil, err
	}
	if err := s.listen("g", topic, everything, in); err != nil {
		return nil, err
	}
	if err := in.exactly([]string{"plain"}); err != nil {
		return nil, err
	}
	p, err := s.transacting(l)
	if err != nil {
		return nil, err
	}
	return p.SendMessageInTransaction(context.Background(), message(topic, "Tag", body).WithKeys([]string{"key-a"}))
}

func transactionCommit(s *stage) error {
	var in inbox
	result, err := s.transact(&listener{local: always(primitive.CommitMessageState)}, "paid", &in)
	if err != nil {
		return err
	}
	if err := in.exactly([]string{"plain", "paid"}); err != nil {
		return err
	}
	for _, got := range in.all() {
		if string(got.Body) == "paid" && (got.MsgId != result.MsgID || got.GetTags() != "Tag" || got.GetKeys() != "key-a") {
			return fmt.Errorf("the message came out different: %v, sent as %s", got, result.MsgID)
		}
	}
	return nil
}

func transactionRollback(s *stage) error {
	var in inbox
	l := &listener{local: always(primitive.RollbackMessageState), check: primitive.CommitMessageState}
	if _, err := s.transact(l, "never", &in); err != nil {
		return err
	}
	time.Sleep(4 * time.Second) // past the first checks
	return same([]string{"plain"}, in.bodies(), "consumed")
}

func transactionInvisible(s *stage) error {
	var in inbox
	var early error
	l := &listener{check: primitive.UnknowState}
	l.local = func() primitive.LocalTransactionState {
		time.Sleep(time.Second)
		early = same([]string{"plain"}, in.bodies(), "visible before the verdict")
		return primitive.CommitMessageState
	}
	if _, err := s.transact(l, "paid", &in); err != nil {
		return err
	}
	if early != nil {
		return early
	}
	return in.exactly([]string{"plain", "paid"})
}

func transactionCheckCommits(s *stage) error {
	var in inbox
	l := &listener{local: always(primitive.UnknowState), check: primitive.CommitMessageState}
	if _, err := s.transact(l, "paid", &in); err != nil {
		return err
	}
	if err := in.exactly([]string{"plain", "paid"}); err != nil {
		return err
	}
	if atomic.LoadInt32(&l.checks) == 0 {
		return fmt.Errorf("visible, and nobody was asked")
	}
	return nil
}

func transactionCheckRollsBack(s *stage) error {
	var in inbox
	l := &listener{local: always(primitive.UnknowState), check: primitive.RollbackMessageState}
	if _, err := s.transact(l, "never", &in); err != nil {
		return err
	}
	if err := eventually("a check", func() bool { return atomic.LoadInt32(&l.checks) > 0 }); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	return same([]string{"plain"}, in.bodies(), "consumed")
}
