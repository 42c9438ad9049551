// What every Go client program here shares: how it reports what it tried, and how it waits.
package report

import (
	"fmt"
	"math/rand"
	"os"
	"sync"
	"time"
)

var failed bool

// What every client program here prints: "ok NAME" or "FAILED NAME: why" for each thing tried; it ends with 1 when one failed.
func Step(name string, work func() error) {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("%v", r)
			}
		}()
		done <- work()
	}()
	var err error
	select {
	case err = <-done:
	case <-time.After(150 * time.Second):
		err = fmt.Errorf("it did not end within 150 s")
	}
	if err != nil {
		failed = true
		fmt.Printf("FAILED %s: %v\n", name, err)
		return
	}
	fmt.Println("ok", name)
}

func End() {
	if failed {
		os.Exit(1)
	}
	os.Exit(0)
}

func Unique(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) }

func Must(err error) {
	if err != nil {
		panic(err)
	}
}

func Same(found, wanted any, what string) {
	if fmt.Sprint(found) != fmt.Sprint(wanted) {
		panic(fmt.Sprintf("%s: %v instead of %v", what, found, wanted))
	}
}

func Wait(what string, done func() bool) {
	until := time.Now().Add(60 * time.Second)
	for !done() {
		if time.Now().After(until) {
			panic(what + ": not within 60 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Seen counts values from several members.
type Seen struct {
	sync.Mutex
	values map[string]int
}

func (s *Seen) Add(value string) {
	s.Lock()
	if s.values == nil {
		s.values = map[string]int{}
	}
	s.values[value]++
	s.Unlock()
}

func (s *Seen) Different() int {
	s.Lock()
	defer s.Unlock()
	return len(s.values)
}
