import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Reads the outcomes of cancel requests, with Kafka's own client: an example to copy into a
 * service that has to know how its requests ended. It reads at least once and handles each
 * outcome once; a line of JSON for each is what it does. Transaction markers are nothing to
 * think of: the client skips them.
 */
public class Outcomes {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final CountDownLatch ended = new CountDownLatch(1);
    private static volatile boolean running = true;
    private static volatile boolean inGoodOrder;

    /**
     * Stands in for the service's database, which knows it after a restart, too: there outcomeId
     * is a unique key, and what an outcome changes is written in the same transaction as
     * INSERT ... ON CONFLICT (outcome_id) DO NOTHING.
     */
    private final Set<String> handled = new HashSet<>();

    public static void main(String[] args) throws JsonProcessingException {
        endOnSignal();
        try (var consumer = new KafkaConsumer<String, String>(settings())) { // close leaves the group
            consumer.subscribe(List.of(env("OUTCOME_TOPIC", "sms.cancel.outcomes")));
            var service = new Outcomes();
            while (running) {
                service.read(consumer);
            }
            inGoodOrder = true;
        } finally {
            ended.countDown();
        }
    }

    private static Map<String, Object> settings() {
        return Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, env("KAFKA_BROKERS", "localhost:9092"),
                ConsumerConfig.GROUP_ID_CONFIG, env("GROUP_ID", "outcomes-java"), // one for each service
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest", // of a group that has committed nothing yet
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                // TLS and SASL: security.protocol, sasl.mechanism, sasl.jaas.config, ssl.truststore.location
                ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class,
                ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class);
    }

    /** Lets main finish what it has in hand. By itself Java would end a signal with 143, not with 0. */
    private static void endOnSignal() {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            running = false;
            try {
                ended.await();
            } catch (InterruptedException e) {
                return;
            }
            if (inGoodOrder) {
                Runtime.getRuntime().halt(0);
            }
        }));
    }

    /** Handles some outcomes and commits them. An exception in between ends the process: they come again. */
    private void read(KafkaConsumer<String, String> consumer) throws JsonProcessingException {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(500));
        for (var record : records) {
            handle(record);
        }
        if (records.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync();
        } catch (CommitFailedException | RebalanceInProgressException e) {
            // Another member takes over and gets them again: they are known by their outcomeId.
            System.err.println("commit: " + e.getMessage());
        }
    }

    /** Does what an outcome asks for, once. */
    private void handle(ConsumerRecord<String, String> record) throws JsonProcessingException {
        JsonNode outcome = decode(record);
        String id = outcome.path("outcomeId").asText();
        if (handled.contains(id)) {
            return;
        }
        System.out.println(JSON.writeValueAsString(JSON.createObjectNode()
                .put("outcomeId", id)
                .put("requestId", outcome.path("requestId").asText())
                .put("status", outcome.path("status").asText())
                .put("ambiguous", outcome.path("ambiguous").asBoolean())
                .put("action", action(outcome))
                .put("partition", record.partition())
                .put("offset", record.offset())));
        handled.add(id);
    }

    /** Fields that are not read here are ignored: within v1 fields may be added. */
    private static JsonNode decode(ConsumerRecord<String, String> record) {
        try {
            JsonNode outcome = JSON.readTree(record.value() == null ? "" : record.value());
            if (!outcome.path("outcomeId").asText().isEmpty()) {
                return outcome;
            }
        } catch (JsonProcessingException e) {
            // as below
        }
        String place = record.topic() + "/" + record.partition() + "/" + record.offset();
        System.err.println("no outcome at " + place);
        return JSON.createObjectNode().put("outcomeId", place);
    }

    /** What the service does about an outcome. */
    private static String action(JsonNode outcome) {
        if (outcome.path("ambiguous").asBoolean()) {
            return "review"; // a message may have been cancelled although the answer was lost
        }
        return switch (outcome.path("status").asText()) {
            case "cancelled" -> "mark_cancelled";
            case "not_cancelled" -> "mark_not_cancelled"; // nothing was left to cancel
            case "failed" -> "alert"; // error says why
            case "duplicate" -> "follow_original"; // duplicateOf has the answer
            case "expired" -> "mark_too_late";
            case "rejected" -> "fix_request"; // error.message names the field
            default -> "review"; // v1 gets no new status; one all the same is neither guessed at nor lost
        };
    }

    private static String env(String name, String fallback) {
        return System.getenv().getOrDefault(name, fallback);
    }
}
