// sarama: every codec, a group whose members come and go, transactions, admin. Argument: the bootstrap server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

var servers = []string{os.Args[1]}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 10 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Producer.Partitioner = sarama.NewManualPartitioner
	return c
}

func clusterAdmin() sarama.ClusterAdmin {
	a, err := sarama.NewClusterAdmin(servers, config())
	must(err)
	return a
}

func create(name string, partitions int32) string {
	topic, a := unique(name), clusterAdmin()
	defer a.Close()
	must(a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	return topic
}

func send(p sarama.SyncProducer, topic string, partition int32, value string) {
	_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)})
	must(err)
}

func producer(change func(*sarama.Config)) sarama.SyncProducer {
	c := config()
	change(c)
	p, err := sarama.NewSyncProducer(servers, c)
	must(err)
	return p
}

func read(topic string, partition int32, count int, isolation sarama.IsolationLevel) (out []*sarama.ConsumerMessage) {
	conf := config()
	conf.Consumer.IsolationLevel = isolation
	c, err := sarama.NewConsumer(servers, conf)
	must(err)
	defer c.Close()
	p, err := c.ConsumePartition(topic, partition, sarama.OffsetOldest)
	must(err)
	defer p.Close()
	for len(out) < count {
		select {
		case m := <-p.Messages():
			out = append(out, m)
		case <-time.After(20 * time.Second):
			panic(fmt.Sprint(len(out), " of ", count, " records came"))
		}
	}
	return out
}

func codecs() error {
	topic := create("codecs", 1)
	var sent, got string
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		p := producer(func(c *sarama.Config) {
			c.Producer.Compression, c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests = codec, true, sarama.WaitForAll, 1
		})
		var all []*sarama.ProducerMessage
		for i := 0; i < 500; i++ {
			value := fmt.Sprintf("%s-%d-%s;", codec, i, strings.Repeat("x", i%97))
			sent += value
			all = append(all, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value), Headers: []sarama.RecordHeader{{Key: []byte("n"), Value: []byte{byte(i)}}}})
		}
		must(p.SendMessages(all))
		must(p.Close())
	}
	for i, m := range read(topic, 0, 2500, sarama.ReadUncommitted) {
		got += string(m.Value)
		same(m.Headers[0].Value, []byte{byte(i % 500)}, "header")
	}
	same(got, sent, "records by codec")
	return nil
}

type member struct {
	values *seen
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	done   chan bool
	lock   sync.Mutex
	has    int
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.has = 0
	for _, partitions := range s.Claims() {
		m.has += len(partitions)
	}
	return nil
}
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.values.add(string(message.Value))
		s.MarkMessage(message, "")
	}
	return nil
}

func groups() error {
	topic, group, values := create("groups", 6), unique("group"), &seen{values: map[string]int{}}
	p := producer(func(*sarama.Config) {})
	defer p.Close()
	a := clusterAdmin()
	defer a.Close()
	var members []*member
	sent := 0
	for _, wanted := range []int{1, 2, 3, 2, 1, 3} {
		for len(members) < wanted {
			g, err := sarama.NewConsumerGroup(servers, group, config())
			must(err)
			ctx, cancel := context.WithCancel(context.Background())
			m := &member{values: values, group: g, cancel: cancel, done: make(chan bool)}
			members = append(members, m)
			go func() {
				defer close(m.done)
				for ctx.Err() == nil {
					if err := g.Consume(ctx, []string{topic}, m); err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
						fmt.Fprintln(os.Stderr, err)
						return
					}
				}
			}()
		}
		for len(members) > wanted {
			members[0].cancel()
			<-members[0].done
			must(members[0].group.Close())
			members = members[1:]
		}
		wait(fmt.Sprint(wanted, " members that share"), func() bool {
			described, err := a.DescribeConsumerGroups([]string{group})
			must(err)
			total := 0
			for _, m := range members {
				m.lock.Lock()
				total += m.has
				m.lock.Unlock()
			}
			return len(described[0].Members) == wanted && described[0].State == "Stable" && total == 6
		})
		for i := 0; i < 60; i++ {
			send(p, topic, int32(i%6), fmt.Sprint(sent))
			sent++
		}
		wait("all that was sent", func() bool { return values.different() == sent })
	}
	for _, m := range members {
		m.cancel()
		<-m.done
		must(m.group.Close())
	}
	return a.DeleteConsumerGroup(group)
}

func transactions() error {
	target, tid, group := create("target", 1), unique("tid"), unique("chain")
	transactional := func(c *sarama.Config) {
		c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests, c.Producer.Transaction.ID = true, sarama.WaitForAll, 1, tid
	}
	p := producer(transactional)
	for turn := 0; turn < 8; turn++ {
		must(p.BeginTxn())
		for i := 0; i < 10; i++ {
			send(p, target, 0, fmt.Sprint(turn, "-", i))
		}
		must(p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{target: {{Partition: 0, Offset: int64(turn)}}}, group))
		if turn%2 == 1 {
			must(p.AbortTxn())
		} else {
			must(p.CommitTxn())
		}
	}
	values := read(target, 0, 40, sarama.ReadCommitted)
	same(string(values[10].Value), "2-0", "what follows an aborted transaction")
	a := clusterAdmin()
	defer a.Close()
	offsets, err := a.ListConsumerGroupOffsets(group, map[string][]int32{target: {0}})
	must(err)
	same(offsets.GetBlock(target, 0).Offset, 6, "the offset of the last commit")
	second := producer(transactional)
	defer second.Close()
	must(p.BeginTxn())
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: target, Value: sarama.StringEncoder("zombie")})
	if err == nil && p.CommitTxn() == nil {
		return errors.New("a zombie committed")
	}
	must(second.BeginTxn())
	return second.CommitTxn()
}

func admin() error {
	topic, a := create("admin", 2), clusterAdmin()
	defer a.Close()
	must(a.CreatePartitions(topic, 4, nil, false))
	described, err := a.DescribeTopics([]string{topic})
	must(err)
	same(len(described[0].Partitions), 4, "partitions")
	value := "123456"
	must(a.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false))
	entries, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
	must(err)
	same(entries[0].Value, value, "retention.ms")
	p := producer(func(*sarama.Config) {})
	for i := 0; i < 10; i++ {
		send(p, topic, 0, "x")
	}
	must(p.Close())
	must(a.DeleteRecords(topic, map[int32]int64{0: 3}))
	c, err := sarama.NewClient(servers, config())
	must(err)
	defer c.Close()
	oldest, err := c.GetOffset(topic, 0, sarama.OffsetOldest)
	must(err)
	newest, err := c.GetOffset(topic, 0, sarama.OffsetNewest)
	must(err)
	same([]int64{oldest, newest}, []int64{3, 10}, "offsets")
	_, err = a.ListConsumerGroups()
	must(err)
	_, _, err = a.DescribeCluster()
	must(err)
	_, err = a.DescribeLogDirs([]int32{1})
	must(err)
	return a.DeleteTopic(topic)
}

func main() {
	step("codecs", codecs)
	step("groups", groups)
	step("transactions", transactions)
	step("admin", admin)
	end()
}
