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

	. "robustmq/interop/report"
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
	Must(err)
	return a
}

func create(name string, partitions int32) string {
	topic, a := Unique(name), clusterAdmin()
	defer a.Close()
	Must(a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	return topic
}

func send(p sarama.SyncProducer, topic string, partition int32, value string) {
	_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)})
	Must(err)
}

func producer(change func(*sarama.Config)) sarama.SyncProducer {
	c := config()
	change(c)
	p, err := sarama.NewSyncProducer(servers, c)
	Must(err)
	return p
}

func read(topic string, partition int32, count int, isolation sarama.IsolationLevel) (out []*sarama.ConsumerMessage) {
	conf := config()
	conf.Consumer.IsolationLevel = isolation
	c, err := sarama.NewConsumer(servers, conf)
	Must(err)
	defer c.Close()
	p, err := c.ConsumePartition(topic, partition, sarama.OffsetOldest)
	Must(err)
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
		Must(p.SendMessages(all))
		Must(p.Close())
	}
	for i, m := range read(topic, 0, 2500, sarama.ReadUncommitted) {
		got += string(m.Value)
		Same(m.Headers[0].Value, []byte{byte(i % 500)}, "header")
	}
	Same(got, sent, "records by codec")
	return nil
}

type member struct {
	values *Seen
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
		m.values.Add(string(message.Value))
		s.MarkMessage(message, "")
	}
	return nil
}

func groups() error {
	topic, group, values := create("groups", 6), Unique("group"), &Seen{}
	p := producer(func(*sarama.Config) {})
	defer p.Close()
	a := clusterAdmin()
	defer a.Close()
	var members []*member
	sent := 0
	for _, wanted := range []int{1, 2, 3, 2, 1, 3} {
		for len(members) < wanted {
			g, err := sarama.NewConsumerGroup(servers, group, config())
			Must(err)
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
			Must(members[0].group.Close())
			members = members[1:]
		}
		Wait(fmt.Sprint(wanted, " members that share"), func() bool {
			described, err := a.DescribeConsumerGroups([]string{group})
			Must(err)
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
		Wait("all that was sent", func() bool { return values.Different() == sent })
	}
	for _, m := range members {
		m.cancel()
		<-m.done
		Must(m.group.Close())
	}
	return a.DeleteConsumerGroup(group)
}

func transactions() error {
	target, tid, group := create("target", 1), Unique("tid"), Unique("chain")
	transactional := func(c *sarama.Config) {
		c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests, c.Producer.Transaction.ID = true, sarama.WaitForAll, 1, tid
	}
	p := producer(transactional)
	for turn := 0; turn < 8; turn++ {
		Must(p.BeginTxn())
		for i := 0; i < 10; i++ {
			send(p, target, 0, fmt.Sprint(turn, "-", i))
		}
		Must(p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{target: {{Partition: 0, Offset: int64(turn)}}}, group))
		if turn%2 == 1 {
			Must(p.AbortTxn())
		} else {
			Must(p.CommitTxn())
		}
	}
	values := read(target, 0, 40, sarama.ReadCommitted)
	Same(string(values[10].Value), "2-0", "what follows an aborted transaction")
	a := clusterAdmin()
	defer a.Close()
	offsets, err := a.ListConsumerGroupOffsets(group, map[string][]int32{target: {0}})
	Must(err)
	Same(offsets.GetBlock(target, 0).Offset, 6, "the offset of the last commit")
	second := producer(transactional)
	defer second.Close()
	Must(p.BeginTxn())
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: target, Value: sarama.StringEncoder("zombie")})
	if err == nil && p.CommitTxn() == nil {
		return errors.New("a zombie committed")
	}
	Must(second.BeginTxn())
	return second.CommitTxn()
}

func admin() error {
	topic, a := create("admin", 2), clusterAdmin()
	defer a.Close()
	Must(a.CreatePartitions(topic, 4, nil, false))
	described, err := a.DescribeTopics([]string{topic})
	Must(err)
	Same(len(described[0].Partitions), 4, "partitions")
	value := "123456"
	Must(a.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false))
	entries, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
	Must(err)
	Same(entries[0].Value, value, "retention.ms")
	p := producer(func(*sarama.Config) {})
	for i := 0; i < 10; i++ {
		send(p, topic, 0, "x")
	}
	Must(p.Close())
	Must(a.DeleteRecords(topic, map[int32]int64{0: 3}))
	c, err := sarama.NewClient(servers, config())
	Must(err)
	defer c.Close()
	oldest, err := c.GetOffset(topic, 0, sarama.OffsetOldest)
	Must(err)
	newest, err := c.GetOffset(topic, 0, sarama.OffsetNewest)
	Must(err)
	Same([]int64{oldest, newest}, []int64{3, 10}, "offsets")
	_, err = a.ListConsumerGroups()
	Must(err)
	_, _, err = a.DescribeCluster()
	Must(err)
	_, err = a.DescribeLogDirs([]int32{1})
	Must(err)
	return a.DeleteTopic(topic)
}

func main() {
	Step("codecs", codecs)
	Step("groups", groups)
	Step("transactions", transactions)
	Step("admin", admin)
	End()
}
