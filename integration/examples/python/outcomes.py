"""Reads the outcomes of cancel requests, with confluent-kafka.

An example to copy into a service that has to know how its requests ended. It
reads at least once and handles each outcome once; a line of JSON for each is
what it does. Transaction markers are nothing to think of: the client skips them.
"""

import json
import os
import signal
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException

ACTIONS = {
    "cancelled": "mark_cancelled",
    "not_cancelled": "mark_not_cancelled",  # nothing was left to cancel
    "failed": "alert",  # error says why
    "duplicate": "follow_original",  # duplicateOf has the answer
    "expired": "mark_too_late",
    "rejected": "fix_request",  # error.message names the field
}

# Stands in for the service's database, which knows it after a restart, too:
# there outcomeId is a unique key, and what an outcome changes is written in the
# same transaction as INSERT ... ON CONFLICT (outcome_id) DO NOTHING.
handled = set()

running = True


def main():
    for stop in signal.SIGINT, signal.SIGTERM:
        signal.signal(stop, end)
    consumer = Consumer({
        "bootstrap.servers": os.environ.get("KAFKA_BROKERS", "localhost:9092"),
        "group.id": os.environ.get("GROUP_ID", "outcomes-python"),  # one for each service
        "auto.offset.reset": "earliest",  # of a group that has committed nothing yet
        "enable.auto.commit": False,
        # TLS and SASL: "security.protocol": "SASL_SSL", "sasl.mechanism": ..., "ssl.ca.location": ...
    })
    consumer.subscribe([os.environ.get("OUTCOME_TOPIC", "sms.cancel.outcomes")])
    try:
        while running:
            read(consumer)
    finally:
        consumer.close()  # leaves the group


def end(signum, frame):
    global running
    running = False


def read(consumer):
    """Handles some outcomes and commits them."""
    handled_any = False
    for message in consumer.consume(num_messages=500, timeout=0.5):
        if message.error():
            report(message.error())
        else:
            handle(message)  # an exception ends the process: nothing is committed, it comes again
            handled_any = True
    if handled_any:
        commit(consumer)


def commit(consumer):
    # Only after all were handled. Where this fails, or another member takes a
    # partition over, outcomes come again, and are known by their outcomeId.
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as e:
        report(e.args[0])


def report(error):
    """The client itself repeats what can be repeated; only the rest ends the process."""
    print(error, file=sys.stderr)
    if error.fatal() or error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        raise KafkaException(error)


def handle(message):
    """Does what an outcome asks for, once."""
    outcome = decode(message)
    outcome_id = outcome["outcomeId"]
    if outcome_id in handled:
        return
    print(json.dumps({
        "outcomeId": outcome_id,
        "requestId": outcome.get("requestId", ""),
        "status": outcome.get("status", ""),
        "ambiguous": outcome.get("ambiguous", False),
        "action": action(outcome),
        "partition": message.partition(),
        "offset": message.offset(),
    }), flush=True)
    handled.add(outcome_id)


def decode(message):
    """Fields that are not read here are ignored: within v1 fields may be added."""
    try:
        outcome = json.loads(message.value())
        if outcome["outcomeId"]:
            return outcome
    except (ValueError, TypeError, KeyError):
        pass
    place = f"{message.topic()}/{message.partition()}/{message.offset()}"
    print(f"no outcome at {place}", file=sys.stderr)
    return {"outcomeId": place}


def action(outcome):
    """What the service does about an outcome."""
    if outcome.get("ambiguous"):
        return "review"  # a message may have been cancelled although the answer was lost
    # v1 gets no new status; one all the same is neither guessed at nor lost
    return ACTIONS.get(outcome.get("status"), "review")


if __name__ == "__main__":
    main()
