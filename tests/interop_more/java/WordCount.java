import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams counts words with exactly_once_v2 while instances come and go. Arguments: the bootstrap server, a directory for states. */
public final class WordCount {
  static Path states;

  static KafkaStreams instance(String application, String source, String target, int number) throws Exception {
    StreamsBuilder builder = new StreamsBuilder();
    KStream<String, String> lines = builder.stream(source, Consumed.with(Serdes.String(), Serdes.String()));
    lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
        .groupBy((key, word) -> word, Grouped.with("by-word", Serdes.String(), Serdes.String()))
        .count()
        .toStream()
        .mapValues(count -> Long.toString(count))
        .to(target, Produced.with(Serdes.String(), Serdes.String()));
    Properties all = Clients.base("application.id", application, "processing.guarantee", "exactly_once_v2", "commit.interval.ms", "200",
        "state.dir", Files.createDirectories(states.resolve(application + number)).toString(), "num.stream.threads", "2", "replication.factor", "1",
        "consumer.session.timeout.ms", "10000", "consumer.heartbeat.interval.ms", "500");
    all.put("default.key.serde", Serdes.String().getClass().getName());
    all.put("default.value.serde", Serdes.String().getClass().getName());
    KafkaStreams streams = new KafkaStreams(builder.build(), all);
    streams.setUncaughtExceptionHandler(e -> {
      e.printStackTrace();
      return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    streams.start();
    return streams;
  }

  static void count() throws Exception {
    String source = Clients.topic("lines", 4), target = Clients.topic("counts", 2), application = Clients.unique("words");
    Map<String, Long> wanted = new TreeMap<>();
    KafkaStreams first = instance(application, source, target, 1), second = null;
    try (KafkaProducer<String, String> producer = Clients.producer();
        KafkaConsumer<String, String> consumer = Clients.consumer("isolation.level", "read_committed")) {
      consumer.assign(java.util.List.of(new TopicPartition(target, 0), new TopicPartition(target, 1)));
      Map<String, Long> counts = new HashMap<>();
      for (int round = 0; round < 4; round++) {
        if (round == 1) second = instance(application, source, target, 2);
        if (round == 2) first.close(java.time.Duration.ofSeconds(30));
        if (round == 3) first = instance(application, source, target, 1);
        for (int i = 0; i < 500; i++) {
          String line = "w" + i % 7 + " w" + i % 11 + " all";
          for (String word : line.split(" ")) wanted.merge(word, 1L, Long::sum);
          producer.send(new ProducerRecord<>(source, i % 4, null, line));
        }
        producer.flush();
        Report.await("the counts of round " + round, 90, () -> {
          for (ConsumerRecord<String, String> r : consumer.poll(java.time.Duration.ofMillis(100))) {
            long count = Long.parseLong(r.value());
            Report.check(count > counts.getOrDefault(r.key(), 0L), r.key() + " went from " + counts.get(r.key()) + " to " + count);
            counts.put(r.key(), count);
          }
          return new TreeMap<>(counts).equals(wanted);
        });
      }
    } finally {
      Report.check(first.close(java.time.Duration.ofSeconds(30)), "the first instance does not close");
      if (second != null) Report.check(second.close(java.time.Duration.ofSeconds(30)), "the second instance does not close");
    }
  }

  public static void main(String[] args) {
    Clients.server = args[0];
    states = Path.of(args[1]);
    Clients.admin = Admin.create(Clients.base());
    Report report = new Report();
    report.step("word count", WordCount::count);
    report.end();
  }
}
