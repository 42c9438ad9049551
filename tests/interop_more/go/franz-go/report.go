package main

import (
	"fmt"
	"math/rand"
	"os"
	"sync"
	"time"
)

var failed bool

// What every client program here prints: "ok NAME" or "FAILED NAME: why" for each thing tried; it ends with 1 when one failed.
func step(name string, work func() error) {
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

func end() {
	if failed {
		os.Exit(1)
	}
	os.Exit(0)
}

func unique(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(found, wanted any, what string) {
	if fmt.Sprint(found) != fmt.Sprint(wanted) {
		panic(fmt.Sprintf("%s: %v instead of %v", what, found, wanted))
	}
}

func wait(what string, done func() bool) {
	until := time.Now().Add(60 * time.Second)
	for !done() {
		if time.Now().After(until) {
			panic(what + ": not within 60 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// seen counts values from several members.
type seen struct {
	sync.Mutex
	values map[string]int
}

func (s *seen) add(value string) {
	s.Lock()
	s.values[value]++
	s.Unlock()
}

func (s *seen) different() int {
	s.Lock()
	defer s.Unlock()
	return len(s.values)
}
