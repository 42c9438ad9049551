import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** kafka-clients: every codec, groups of both protocols whose members come and go, transactions, admin. Argument: the bootstrap server. */
public final class Clients {
  static String server;
  static Admin admin;

  static String unique(String name) {
    return name + "-" + UUID.randomUUID().toString().substring(0, 8);
  }

  static Properties base(Object... more) {
    Properties all = new Properties();
    all.put("bootstrap.servers", server);
    for (int i = 0; i < more.length; i += 2) all.put(more[i], more[i + 1]);
    return all;
  }

  static String topic(String name, int partitions) throws Exception {
    String topic = unique(name);
    admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    return topic;
  }

  static KafkaProducer<String, String> producer(Object... more) {
    return new KafkaProducer<>(base(more), new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(Object... more) {
    Properties all = base("auto.offset.reset", "earliest", "enable.auto.commit", "false");
    all.putAll(base(more));
    return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
  }

  static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int count) {
    List<ConsumerRecord<String, String>> out = new ArrayList<>();
    long until = System.nanoTime() + 30_000_000_000L;
    while (out.size() < count) {
      Report.check(System.nanoTime() < until, out.size() + " of " + count + " records came");
      consumer.poll(Duration.ofMillis(200)).forEach(out::add);
    }
    return out;
  }

  static void codecs() throws Exception {
    String topic = topic("codecs", 2);
    Map<String, List<String>> sent = new TreeMap<>();
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      try (KafkaProducer<String, String> producer = producer("compression.type", codec, "linger.ms", "5", "enable.idempotence", "true")) {
        for (int i = 0; i < 500; i++) {
          ProducerRecord<String, String> record = new ProducerRecord<>(topic, codec, codec + "-" + i + "-" + "x".repeat(i % 97));
          record.headers().add(new RecordHeader("n", Integer.toString(i).getBytes()));
          sent.computeIfAbsent(codec, c -> new ArrayList<>()).add(record.value());
          producer.send(record);
        }
        producer.send(new ProducerRecord<>(topic, codec, null)).get();
        sent.get(codec).add("(null)");
      }
    }
    try (KafkaConsumer<String, String> consumer = consumer("check.crcs", "true")) {
      consumer.assign(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)));
      Map<String, List<String>> got = new TreeMap<>();
      for (ConsumerRecord<String, String> r : read(consumer, 2505)) {
        got.computeIfAbsent(r.key(), c -> new ArrayList<>()).add(String.valueOf(r.value()).replaceAll("^null$", "(null)"));
        if (r.value() != null) Report.same(new String(r.headers().lastHeader("n").value()), r.value().split("-")[1], "header");
      }
      Report.same(got, sent, "records by codec");
    }
  }

  /** A member on a thread of its own. */
  static final class Member extends Thread {
    final KafkaConsumer<String, String> consumer;
    final Map<Integer, List<Long>> seen = new ConcurrentHashMap<>();
    volatile Set<Integer> has = Set.of();
    volatile Throwable failure;
    private volatile boolean ending;

    Member(KafkaConsumer<String, String> consumer, String topic) {
      this.consumer = consumer;
      consumer.subscribe(List.of(topic));
      start();
    }

    @Override
    public void run() {
      try {
        while (!ending) {
          for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100)))
            seen.computeIfAbsent(r.partition(), p -> Collections.synchronizedList(new ArrayList<>())).add(r.offset());
          consumer.commitSync();
          has = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
        }
        consumer.close();
      } catch (org.apache.kafka.common.errors.RebalanceInProgressException | org.apache.kafka.clients.consumer.CommitFailedException e) {
        run();
      } catch (Throwable e) {
        failure = e;
      }
    }

    void end() throws InterruptedException {
      ending = true;
      join(20_000);
      Report.check(failure == null, "a member ended with " + failure);
      Report.check(!isAlive(), "a member does not close");
    }
  }

  static void groups(Object... settings) throws Exception {
    String topic = topic("groups", 6), group = unique("group");
    Object[] all = new Object[settings.length + 2];
    all[0] = "group.id";
    all[1] = group;
    System.arraycopy(settings, 0, all, 2, settings.length);
    try (KafkaProducer<String, String> producer = producer()) {
      List<Member> members = new ArrayList<>();
      int sent = 0;
      for (int wanted : new int[] {1, 2, 3, 2, 1, 3}) {
        while (members.size() < wanted) members.add(new Member(consumer(all), topic));
        while (members.size() > wanted) members.remove(0).end();
        Report.await(wanted + " members that share 6 partitions", 60, () -> {
          Set<Integer> together = new HashSet<>();
          int count = 0;
          for (Member m : members) {
            if (m.failure != null) throw new AssertionError(m.failure);
            if (m.has.isEmpty()) return false;
            together.addAll(m.has);
            count += m.has.size();
          }
          return together.size() == 6 && count == 6;
        });
        for (int i = 0; i < 60; i++, sent++) producer.send(new ProducerRecord<>(topic, i % 6, null, "v" + sent));
        producer.flush();
        int each = sent / 6;
        Report.await("all that was sent", 30, () -> {
          try {
            Map<TopicPartition, OffsetAndMetadata> done = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            return done.size() == 6 && done.values().stream().allMatch(o -> o != null && o.offset() == each);
          } catch (Exception e) {
            throw new AssertionError(e);
          }
        });
      }
      Report.same(admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get().members().size(), 3, "members");
      for (Member m : members) m.end();
    }
    admin.deleteConsumerGroups(List.of(group)).all().get();
  }

  static void transactions() throws Exception {
    String source = topic("source", 2), target = topic("target", 2), group = unique("chain"), tid = unique("tid");
    try (KafkaProducer<String, String> fill = producer()) {
      for (int i = 0; i < 100; i++) fill.send(new ProducerRecord<>(source, i % 2, null, "" + i));
    }
    KafkaProducer<String, String> producer = producer("transactional.id", tid, "transaction.timeout.ms", "20000");
    producer.initTransactions();
    int done = 0, turn = 0;
    try (KafkaConsumer<String, String> in = consumer("group.id", group, "max.poll.records", "10", "isolation.level", "read_committed")) {
      in.subscribe(List.of(source));
      while (done < 100) {
        List<ConsumerRecord<String, String>> records = read(in, 1);
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>(), back = new HashMap<>();
        producer.beginTransaction();
        for (ConsumerRecord<String, String> r : records) {
          TopicPartition p = new TopicPartition(source, r.partition());
          producer.send(new ProducerRecord<>(target, r.partition(), null, r.value() + "!"));
          back.putIfAbsent(p, new OffsetAndMetadata(r.offset()));
          offsets.put(p, new OffsetAndMetadata(r.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, in.groupMetadata());
        if (++turn % 4 == 0) {
          producer.flush();
          producer.abortTransaction();
          back.forEach(in::seek);
        } else {
          producer.commitTransaction();
          done += records.size();
        }
      }
    }
    try (KafkaConsumer<String, String> out = consumer("isolation.level", "read_committed")) {
      out.assign(List.of(new TopicPartition(target, 0), new TopicPartition(target, 1)));
      List<ConsumerRecord<String, String>> got = read(out, 100);
      out.poll(Duration.ofMillis(500)).forEach(got::add);
      Set<String> values = got.stream().map(ConsumerRecord::value).collect(Collectors.toSet());
      Report.same(got.size() + "/" + values.size(), "100/100", "values, each once");
    }
    KafkaProducer<String, String> second = producer("transactional.id", tid);
    second.initTransactions();
    producer.beginTransaction();
    try {
      producer.send(new ProducerRecord<>(target, "zombie")).get();
      producer.commitTransaction();
      throw new AssertionError("a zombie committed");
    } catch (ProducerFencedException | ExecutionException | org.apache.kafka.common.errors.InvalidProducerEpochException e) {
      Report.check(String.valueOf(e).contains("Fenced") || String.valueOf(e).contains("InvalidProducerEpoch") || String.valueOf(e.getCause()).contains("Epoch"), "a zombie got " + e);
    }
    producer.close(Duration.ZERO);
    second.beginTransaction();
    second.send(new ProducerRecord<>(target, "after")).get();
    Report.check(admin.describeTransactions(List.of(tid)).all().get().get(tid).state().toString().equals("Ongoing"), "it is not described as ongoing");
    second.commitTransaction();
    second.close();
  }

  static void admin() throws Exception {
    String topic = topic("admin", 2), group = unique("admin");
    TopicPartition p0 = new TopicPartition(topic, 0);
    Report.check(admin.listTopics().names().get().contains(topic), "it is not listed");
    Report.same(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 2, "partitions");
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
    Report.same(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 4, "partitions");
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "123456"), AlterConfigOp.OpType.SET)))).all().get();
    Report.same(admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value(), "123456", "retention.ms");
    admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE)))).all().get();
    Report.same(admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value(), "604800000", "retention.ms");
    try (KafkaProducer<String, String> producer = producer()) {
      for (int i = 0; i < 10; i++) {
        RecordMetadata at = producer.send(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, "k", "v" + i)).get();
        Report.same(at.offset(), (long) i, "offset");
      }
    }
    Report.same(admin.listOffsets(Map.of(p0, OffsetSpec.latest())).all().get().get(p0).offset(), 10L, "latest");
    Report.same(admin.listOffsets(Map.of(p0, OffsetSpec.forTimestamp(1_700_000_000_004L))).all().get().get(p0).offset(), 4L, "by time");
    Report.same(admin.listOffsets(Map.of(p0, OffsetSpec.maxTimestamp())).all().get().get(p0).offset(), 9L, "largest time");
    admin.deleteRecords(Map.of(p0, RecordsToDelete.beforeOffset(3))).all().get();
    Report.same(admin.listOffsets(Map.of(p0, OffsetSpec.earliest())).all().get().get(p0).offset(), 3L, "earliest");
    admin.alterConsumerGroupOffsets(group, Map.of(p0, new OffsetAndMetadata(5, "note"))).all().get();
    Report.same(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(p0).metadata(), "note", "metadata");
    admin.deleteConsumerGroupOffsets(group, Set.of(p0)).all().get();
    admin.deleteConsumerGroups(List.of(group)).all().get();
    Report.check(!admin.describeCluster().nodes().get().isEmpty(), "no nodes");
    Report.check(!admin.describeLogDirs(List.of(1)).allDescriptions().get().isEmpty(), "no log directories");
    Report.check(!admin.describeFeatures().featureMetadata().get().finalizedFeatures().isEmpty(), "no features");
    Report.check(admin.describeProducers(List.of(p0)).all().get().get(p0).activeProducers().size() == 1, "one producer");
    Report.check(admin.listPartitionReassignments().reassignments().get().isEmpty(), "reassignments");
    admin.deleteTopics(List.of(topic)).all().get();
    Report.check(!new TreeSet<>(admin.listTopics().names().get()).contains(topic), "it is still listed");
  }

  public static void main(String[] args) throws Exception {
    server = args[0];
    admin = Admin.create(base());
    Report report = new Report();
    report.step("codecs", Clients::codecs);
    report.step("groups", () -> groups("session.timeout.ms", "10000", "heartbeat.interval.ms", "500"));
    report.step("groups cooperative", () -> groups("session.timeout.ms", "10000", "heartbeat.interval.ms", "500", "partition.assignment.strategy",
        "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
    report.step("groups consumer", () -> groups("group.protocol", "consumer"));
    report.step("transactions", Clients::transactions);
    report.step("admin", Clients::admin);
    report.end();
  }
}
