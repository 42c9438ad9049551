// kafka-go: every codec, a group whose members come and go, admin; it has no transactional producer. Argument: the bootstrap server.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	. "robustmq/interop/report"
)

var (
	ctx    = context.Background()
	server = os.Args[1]
	client = &kafka.Client{Addr: kafka.TCP(server), Timeout: 20 * time.Second}
)

func create(name string, partitions int) string {
	topic := Unique(name)
	made, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}}})
	Must(err)
	Must(made.Errors[topic])
	return topic
}

func codecs() error {
	topic := create("codecs", 1)
	var sent, got string
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		w := &kafka.Writer{Addr: kafka.TCP(server), Topic: topic, Compression: codec, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond}
		var all []kafka.Message
		for i := 0; i < 500; i++ {
			value := fmt.Sprintf("%v-%d-%s;", codec, i, strings.Repeat("x", i%97))
			sent += value
			all = append(all, kafka.Message{Value: []byte(value), Headers: []kafka.Header{{Key: "n", Value: []byte{byte(i)}}}})
		}
		Must(w.WriteMessages(ctx, all...))
		Must(w.Close())
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{server}, Topic: topic, MaxWait: 200 * time.Millisecond})
	defer r.Close()
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i := 0; i < 2500; i++ {
		m, err := r.ReadMessage(limited)
		Must(err)
		got += string(m.Value)
		Same(m.Headers[0].Value, []byte{byte(i % 500)}, "header")
	}
	Same(got, sent, "records by codec")
	return nil
}

func groups() error {
	topic, group, values := create("groups", 6), Unique("group"), &Seen{}
	w := &kafka.Writer{Addr: kafka.TCP(server), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond, Balancer: &kafka.RoundRobin{}}
	defer w.Close()
	var members []*kafka.Reader
	sent := 0
	for _, wanted := range []int{1, 2, 3, 2, 1, 3} {
		for len(members) < wanted {
			r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{server}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond,
				SessionTimeout: 10 * time.Second, HeartbeatInterval: 500 * time.Millisecond, RebalanceTimeout: 10 * time.Second})
			members = append(members, r)
			go func() {
				for {
					m, err := r.FetchMessage(ctx)
					if err != nil {
						return
					}
					values.Add(string(m.Value))
					if err := r.CommitMessages(ctx, m); err != nil {
						return
					}
				}
			}()
		}
		for len(members) > wanted {
			Must(members[0].Close())
			members = members[1:]
		}
		Wait(fmt.Sprint(wanted, " members that share"), func() bool {
			described, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
			Must(err)
			return described.Groups[0].GroupState == "Stable" && len(described.Groups[0].Members) == wanted
		})
		var all []kafka.Message
		for i := 0; i < 60; i++ {
			all = append(all, kafka.Message{Value: fmt.Append(nil, sent)})
			sent++
		}
		Must(w.WriteMessages(ctx, all...))
		Wait("all that was sent", func() bool { return values.Different() == sent })
	}
	for _, r := range members {
		Must(r.Close())
	}
	gone, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	Must(err)
	return gone.Errors[group]
}

func admin() error {
	topic := create("admin", 2)
	grown, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 4}}})
	Must(err)
	Must(grown.Errors[topic])
	Wait("4 partitions", func() bool { // it answers from a cache that is some seconds old
		found, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		Must(err)
		return len(found.Topics[0].Partitions) == 4
	})
	changed, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "123456", ConfigOperation: kafka.ConfigOperationSet}}}}})
	Must(err)
	Must(changed.Resources[0].Error)
	described, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"}}}})
	Must(err)
	Same(described.Resources[0].ConfigEntries[0].ConfigValue, "123456", "retention.ms")
	w := &kafka.Writer{Addr: kafka.TCP(server), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond}
	for i := 0; i < 10; i++ {
		Must(w.WriteMessages(ctx, kafka.Message{Key: []byte("k"), Value: []byte("x")}))
	}
	Must(w.Close())
	offsets, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2), kafka.LastOffsetOf(3)}}})
	Must(err)
	total := int64(0)
	for _, one := range offsets.Topics[topic] {
		total += one.LastOffset
	}
	Same(total, 10, "offsets")
	_, err = client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	Must(err)
	gone, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	Must(err)
	return gone.Errors[topic]
}

func main() {
	Step("codecs", codecs)
	Step("groups", groups)
	Step("admin", admin)
	End()
}
