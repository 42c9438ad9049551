import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

/** kafka-clients as share consumers (from 4.1 on): members that come and go, accept, release, reject. Argument: the bootstrap server. */
public final class Shares {
  static String group() throws Exception {
    String group = Clients.unique("share");
    ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
    Clients.admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET)))).all().get();
    return group;
  }

  static KafkaShareConsumer<String, String> consumer(String group, String mode) {
    Properties all = Clients.base("group.id", group, "share.acknowledgement.mode", mode, "max.poll.records", "20");
    return new KafkaShareConsumer<>(all, new StringDeserializer(), new StringDeserializer());
  }

  static void fill(String topic, int count) {
    try (KafkaProducer<String, String> producer = Clients.producer()) {
      for (int i = 0; i < count; i++) producer.send(new ProducerRecord<>(topic, "" + i));
    }
  }

  /** A member that accepts all it is given. */
  static final class Member extends Thread {
    final List<String> seen = Collections.synchronizedList(new ArrayList<>());
    private final KafkaShareConsumer<String, String> consumer;
    volatile boolean ending;
    volatile Throwable failure;

    Member(String topic, String group) {
      consumer = consumer(group, "implicit");
      consumer.subscribe(List.of(topic));
      start();
    }

    @Override
    public void run() {
      try {
        while (!ending) {
          for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) seen.add(r.value());
          consumer.commitSync().values().forEach(e -> e.ifPresent(x -> failure = x));
        }
        consumer.close();
      } catch (Throwable e) {
        failure = e;
      }
    }
  }

  static void members() throws Exception {
    String topic = Clients.topic("shares", 2), group = group();
    List<Member> all = new ArrayList<>();
    int sent = 0;
    for (int wanted : new int[] {1, 3, 2}) {
      while (all.stream().filter(m -> !m.ending).count() < wanted) all.add(new Member(topic, group));
      while (all.stream().filter(m -> !m.ending).count() > wanted) {
        Member going = all.stream().filter(m -> !m.ending).findFirst().get();
        going.ending = true;
        going.join(20_000);
      }
      sent += 300;
      fill(topic, 300);
      int now = sent;
      Report.await("all " + now, 60, () -> {
        for (Member m : all) Report.check(m.failure == null, "a member ended with " + m.failure);
        return all.stream().mapToInt(m -> m.seen.size()).sum() >= now;
      });
    }
    for (Member m : all) m.ending = true;
    for (Member m : all) m.join(20_000);
    Report.same(all.stream().mapToInt(m -> m.seen.size()).sum(), sent, "records, each once");
    Report.check(all.stream().filter(m -> !m.seen.isEmpty()).count() > 1, "one member had everything");
  }

  static void explicitly() throws Exception {
    String topic = Clients.topic("explicit", 1), group = group();
    fill(topic, 30);
    Map<String, Integer> deliveries = new TreeMap<>();
    Set<String> accepted = new HashSet<>(), rejected = new HashSet<>();
    try (KafkaShareConsumer<String, String> consumer = consumer(group, "explicit")) {
      consumer.subscribe(List.of(topic));
      Report.await("all", 60, () -> {
        for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) {
          int time = deliveries.merge(r.value(), 1, Integer::sum);
          Report.same((int) r.deliveryCount().get(), time, "delivery count");
          int n = Integer.parseInt(r.value());
          AcknowledgeType how = n % 3 == 0 ? AcknowledgeType.REJECT : n % 3 == 1 && time == 1 ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT;
          consumer.acknowledge(r, how);
          if (how == AcknowledgeType.REJECT) rejected.add(r.value());
          if (how == AcknowledgeType.ACCEPT) accepted.add(r.value());
        }
        consumer.commitSync().values().forEach(e -> e.ifPresent(x -> {
          throw x;
        }));
        return accepted.size() == 20 && rejected.size() == 10;
      });
      Report.check(consumer.poll(Duration.ofMillis(500)).isEmpty(), "more came");
    }
    Report.same(deliveries.values().stream().mapToInt(i -> i).sum(), 40, "deliveries");
    Clients.admin.deleteShareGroups(List.of(group)).all().get();
  }

  public static void main(String[] args) {
    Clients.server = args[0];
    Clients.admin = Admin.create(Clients.base());
    Report report = new Report();
    report.step("share members", Shares::members);
    report.step("share acknowledgements", Shares::explicitly);
    report.end();
  }
}
