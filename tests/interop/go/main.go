// A player of the interop suite in Go: main CLIENT NAMESRV THREADS. It obeys the same lines as the Java one
// (tests/interop/java/common/hufu/interop/Main.java): "run CASE…", "broker-is-back", "quit".
package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const longestCase = 100 * time.Second

var saying sync.Mutex

func say(format string, values ...interface{}) {
	saying.Lock()
	defer saying.Unlock()
	fmt.Printf(format+"\n", values...)
}

type theatre struct {
	nameServer string
	lock       sync.Mutex
	back       *sync.Cond
	timesBack  int
}

func (t *theatre) brokerIsBack() {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.timesBack++
	t.back.Broadcast()
}

func (t *theatre) killTheBroker() {
	t.lock.Lock()
	defer t.lock.Unlock()
	before := t.timesBack
	say("kill-the-broker")
	for t.timesBack == before {
		t.back.Wait()
	}
}

func runOne(t *theatre, name string) {
	begun := time.Now()
	verdict := make(chan error, 1)
	stage := &stage{theatre: t, name: name}
	go func() {
		defer func() {
			if wrong := recover(); wrong != nil {
				verdict <- fmt.Errorf("%v", wrong)
			}
		}()
		played, found := cases[name]
		if !found {
			verdict <- fmt.Errorf("there is no such case")
			return
		}
		verdict <- played(stage)
	}()
	var err error
	select {
	case err = <-verdict:
	case <-time.After(longestCase):
		err = fmt.Errorf("still running after %v", longestCase)
	}
	took := time.Since(begun).Milliseconds()
	if err != nil {
		say("case %s fail %d %s", name, took, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		say("case %s pass %d", name, took)
	}
	stage.close()
}

func runAll(t *theatre, names []string, threads int) {
	work := make(chan string)
	var players sync.WaitGroup
	for i := 0; i < threads; i++ {
		players.Add(1)
		go func() {
			defer players.Done()
			for name := range work {
				runOne(t, name)
			}
		}()
	}
	for _, name := range names {
		work <- name
	}
	close(work)
	players.Wait()
	say("idle")
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--list" {
		var names []string
		for name := range cases {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			say("%s", name)
		}
		return
	}
	rlog.SetLogLevel("fatal")
	threads, err := strconv.Atoi(os.Args[3])
	if err != nil {
		say("THREADS is %q, not a number", os.Args[3])
		os.Exit(2)
	}
	t := &theatre{nameServer: os.Args[2]}
	t.back = sync.NewCond(&t.lock)
	say("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		switch words[0] {
		case "run":
			go runAll(t, words[1:], threads)
		case "broker-is-back":
			t.brokerIsBack()
		case "quit":
			return
		}
	}
}
