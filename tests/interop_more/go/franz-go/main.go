// franz-go: every codec, groups of both protocols whose members come and go, transactions, admin. Argument: the bootstrap server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	. "robustmq/interop/report"
)

var (
	ctx    = context.Background()
	server = os.Args[1]
)

func client(opts ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(server)}, opts...)...)
	Must(err)
	return made
}

func create(name string, partitions int32) string {
	topic := Unique(name)
	c := client()
	defer c.Close()
	_, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, nil, topic)
	Must(err)
	return topic
}

func read(c *kgo.Client, count int) (out []*kgo.Record) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for len(out) < count {
		fetches := c.PollFetches(limited)
		for _, e := range fetches.Errors() {
			panic(e.Err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

func codecs() error {
	topic, sent, got := create("codecs", 2), map[string]string{}, map[string]string{}
	all := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for name, codec := range all {
		c := client(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5*time.Millisecond))
		for i := 0; i < 500; i++ {
			value := fmt.Sprintf("%s-%d-%s;", name, i, strings.Repeat("x", i%97))
			sent[name] += value
			c.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(name), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "n", Value: []byte(name)}}}, func(_ *kgo.Record, err error) { Must(err) })
		}
		Must(c.Flush(ctx))
		c.Close()
	}
	c := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	for _, r := range read(c, 2500) {
		got[string(r.Key)] += string(r.Value)
		Same(string(r.Headers[0].Value), string(r.Key), "header")
	}
	Same(got, sent, "records by codec")
	return nil
}

func groups(opts ...kgo.Opt) error {
	topic, group := create("groups", 6), Unique("group")
	values := &Seen{}
	producer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	admin := kadm.NewClient(producer)
	var members []*kgo.Client
	sent := 0
	for _, wanted := range []int{1, 2, 3, 2, 1, 3} {
		for len(members) < wanted {
			c := client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(100 * time.Millisecond),
				kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond)}, opts...)...)
			members = append(members, c)
			go func() {
				for {
					fetches := c.PollFetches(ctx)
					if fetches.IsClientClosed() {
						return
					}
					fetches.EachRecord(func(r *kgo.Record) { values.Add(string(r.Value)) })
				}
			}()
		}
		for len(members) > wanted {
			members[0].Close()
			members = members[1:]
		}
		Wait(fmt.Sprint(wanted, " members"), func() bool {
			described, err := admin.DescribeConsumerGroups(ctx, group)
			if len(opts) == 0 {
				old, failure := admin.DescribeGroups(ctx, group)
				Must(failure)
				return len(old[group].Members) == wanted && old[group].State == "Stable"
			}
			Must(err)
			return len(described[group].Members) == wanted && described[group].State == "Stable"
		})
		for i := 0; i < 60; i++ {
			Must(producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(i % 6), Value: fmt.Append(nil, sent)}).FirstErr())
			sent++
		}
		Wait("all that was sent", func() bool { return values.Different() == sent })
		Wait("all committed", func() bool {
			lag, err := admin.Lag(ctx, group)
			Must(err)
			return lag[group].Lag.Total() == 0
		})
	}
	for _, c := range members {
		c.Close()
	}
	_, err := admin.DeleteGroup(ctx, group)
	return err
}

func transactions() error {
	source, target, tid := create("source", 2), create("target", 2), Unique("tid")
	fill := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := 0; i < 100; i++ {
		Must(fill.ProduceSync(ctx, &kgo.Record{Topic: source, Partition: int32(i % 2), Value: fmt.Append(nil, i)}).FirstErr())
	}
	fill.Close()
	chain, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(server), kgo.TransactionalID(tid), kgo.ConsumerGroup(Unique("chain")), kgo.ConsumeTopics(source),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets())
	Must(err)
	done, turn := 0, 0
	for done < 100 {
		fetches := chain.PollRecords(ctx, 10)
		Must(chain.Begin())
		fetches.EachRecord(func(r *kgo.Record) {
			chain.Produce(ctx, &kgo.Record{Topic: target, Value: append(r.Value, '!')}, func(_ *kgo.Record, err error) {
				if !errors.Is(err, kgo.ErrAborting) { // an aborted transaction drops what it holds
					Must(err)
				}
			})
		})
		turn++
		committed, err := chain.End(ctx, kgo.TransactionEndTry(turn%4 != 0))
		Must(err)
		if committed {
			done += fetches.NumRecords()
		}
	}
	out := client(kgo.ConsumeTopics(target), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer out.Close()
	values := map[string]bool{}
	records := read(out, 100)
	for _, r := range records {
		values[string(r.Value)] = true
	}
	Same([]int{len(records), len(values)}, []int{100, 100}, "values, each once")
	chain.Close()

	first, second := client(kgo.TransactionalID(tid)), client(kgo.TransactionalID(tid))
	Must(first.BeginTransaction())
	Must(first.ProduceSync(ctx, &kgo.Record{Topic: target, Value: []byte("zombie")}).FirstErr())
	Must(second.BeginTransaction())
	Must(second.ProduceSync(ctx, &kgo.Record{Topic: target, Value: []byte("after")}).FirstErr())
	err = first.EndTransaction(ctx, kgo.TryCommit)
	if err == nil {
		return errors.New("a zombie committed")
	}
	return second.EndTransaction(ctx, kgo.TryCommit)
}

func admin() error {
	topic, group := create("admin", 2), Unique("admin")
	c := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer c.Close()
	a := kadm.NewClient(c)
	grown, err := a.UpdatePartitions(ctx, 4, topic)
	Must(err)
	Must(grown[topic].Err)
	topics, err := a.ListTopics(ctx, topic)
	Must(err)
	Same(len(topics[topic].Partitions), 4, "partitions")
	value := "123456"
	changed, err := a.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
	Must(err)
	Must(changed[0].Err)
	configs, err := a.DescribeTopicConfigs(ctx, topic)
	Must(err)
	for _, one := range configs[0].Configs {
		if one.Key == "retention.ms" {
			Same(*one.Value, value, "retention.ms")
		}
	}
	for i := 0; i < 10; i++ {
		Must(c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x"), Timestamp: time.UnixMilli(1700000000000 + int64(i))}).FirstErr())
	}
	ends, err := a.ListEndOffsets(ctx, topic)
	Must(err)
	Same(ends[topic][0].Offset, 10, "latest")
	timed, err := a.ListOffsetsAfterMilli(ctx, 1700000000004, topic)
	Must(err)
	Same(timed[topic][0].Offset, 4, "by time")
	var upTo kadm.Offsets
	upTo.AddOffset(topic, 0, 3, -1)
	_, err = a.DeleteRecords(ctx, upTo)
	Must(err)
	starts, err := a.ListStartOffsets(ctx, topic)
	Must(err)
	Same(starts[topic][0].Offset, 3, "earliest")
	var at kadm.Offsets
	at.AddOffset(topic, 0, 5, -1)
	Must(a.CommitAllOffsets(ctx, group, at))
	kept, err := a.FetchOffsets(ctx, group)
	Must(err)
	Same(kept[topic][0].At, 5, "offset of the group")
	_, err = a.DeleteGroup(ctx, group)
	Must(err)
	_, err = a.DescribeAllLogDirs(ctx, nil)
	Must(err)
	_, err = a.ListGroups(ctx)
	Must(err)
	_, err = a.DeleteTopics(ctx, topic)
	return err
}

func main() {
	Step("codecs", codecs)
	Step("groups", func() error { return groups() })
	Step("groups consumer", func() error {
		return groups(kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	})
	Step("transactions", transactions)
	Step("admin", admin)
	End()
}
