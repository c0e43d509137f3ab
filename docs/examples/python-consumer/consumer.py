"""Prices orders: a processor of an EventPipeline that is not written in Rust.

It reads the topics in `consumes`, writes the priced orders to the first topic in `produces`, and what is no order to
`deadLetter.topic`. Results, dead letters and offsets of a batch are one Kafka transaction: whatever dies when, each order is priced
once for whoever reads committed records, and none is left out.

All that it knows of its surroundings is in the settings file and in the folders that the file names
(docs/reference/settings.md). Its pods roll when one of these changes, so reading them once is enough.
"""

import http.server
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

SETTINGS = os.environ.get("TIDEGATE_SETTINGS", "/etc/tidegate/settings/settings.yaml")
BATCH = 500  # records that share a transaction
PATIENCE = 30  # seconds for one step of a transaction

log = logging.getLogger("price-orders")


class Poison(Exception):
    """The record cannot be handled, now or ever."""


def price(value):
    """{"orderId": "1", "unitPrice": "2.50", "quantity": 3} -> {"orderId": "1", "total": "7.50"}"""
    try:
        order = json.loads(value)
        total = Decimal(order["unitPrice"]) * int(order["quantity"])
        return json.dumps({"orderId": order["orderId"], "total": str(total)})
    except (TypeError, ValueError, KeyError, InvalidOperation) as error:
        raise Poison(f"no order: {type(error).__name__}: {error}") from error


def binding(folder):
    """A mounted Secret in the Service Binding layout: a file for each key."""
    return {file.name: file.read_text().rstrip("\r\n") for file in Path(folder).iterdir() if file.is_file()}


def connection(settings):
    """librdkafka's configuration for the way to Kafka."""
    folder = settings["kafka"]["path"]
    kafka = binding(folder)
    identity = settings["identity"]
    config = {
        "bootstrap.servers": kafka["bootstrap-servers"],
        "security.protocol": kafka["security-protocol"],
        "client.id": "/".join(identity[part] for part in ("namespace", "pipeline", "processor")),
    }
    if kafka["security-protocol"] == "SASL_SSL":
        config["sasl.mechanism"] = kafka["sasl-mechanism"]
        config["sasl.username"] = kafka["username"]
        config["sasl.password"] = kafka["password"]
        if "ca.crt" in kafka:
            config["ssl.ca.location"] = f"{folder}/ca.crt"
    return config


def headers(record, group, error):
    """What a dead letter carries behind the headers of the record itself."""
    _, timestamp = record.timestamp()
    added = {
        "tidegate-group": group,
        "tidegate-origin-topic": record.topic(),
        "tidegate-origin-partition": record.partition(),
        "tidegate-origin-offset": record.offset(),
        "tidegate-origin-timestamp": timestamp,
        "tidegate-error-class": "Poison",
        "tidegate-error": str(error)[:1000],
        "tidegate-attempts": 1,
    }
    return (record.headers() or []) + [(name, str(value).encode()) for name, value in added.items()]


class Processor:
    """The loop: a batch of records, what becomes of them, and how far it came, all or nothing."""

    def __init__(self, settings):
        consumes = settings["consumes"]
        self.group = consumes["group"]
        self.output = settings["produces"][0]
        self.dead_letters = settings.get("deadLetter", {}).get("topic")
        self.stopping = False
        self.joined = False
        self.turned = time.monotonic()
        self.counts = {"handled": 0, "dead_lettered": 0}
        config = connection(settings)
        self.consumer = Consumer(
            config
            | {
                "group.id": self.group,
                "group.protocol": "consumer",  # KIP-848: the brokers assign, one partition at a time
                "auto.offset.reset": consumes.get("startAt", "Earliest").lower(),
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self.producer = Producer(
            config
            | {
                # Of this pod: the group's generation, which travels with the offsets, keeps out whoever lost a partition.
                "transactional.id": f"{self.group}.{socket.gethostname()}",
                "transaction.timeout.ms": 10000,
                "partitioner": "murmur2_random",  # as Java's clients and Tidegate's: one key, one partition
            }
        )
        self.topics = consumes["topics"]

    def run(self):
        self.producer.init_transactions(PATIENCE)
        self.consumer.subscribe(self.topics, on_assign=self.on_assign)
        log.info("group %s reads %s", self.group, ", ".join(self.topics))
        while not self.stopping:
            records = self.consumer.consume(BATCH, timeout=1.0)
            self.turned = time.monotonic()
            for record in [record for record in records if record.error()]:
                if record.error().fatal():
                    raise KafkaException(record.error())
                log.warning("Kafka says: %s", record.error())
            records = [record for record in records if not record.error()]
            if records:
                self.batch(records)
        self.consumer.close()  # leaves the group at once: others take over without waiting

    def on_assign(self, _, partitions):
        self.joined = True
        log.info("assigned: %s", ", ".join(f"{each.topic}/{each.partition}" for each in partitions) or "nothing more")

    def batch(self, records):
        begin, end = {}, {}
        for record in records:
            partition = (record.topic(), record.partition())
            begin.setdefault(partition, record.offset())
            end[partition] = record.offset() + 1
        counts = {"handled": 0, "dead_lettered": 0}
        self.producer.begin_transaction()
        try:
            for record in records:
                counts[self.handle(record)] += 1
            offsets = [TopicPartition(*partition, offset) for partition, offset in end.items()]
            self.retried(self.producer.send_offsets_to_transaction, offsets, self.consumer.consumer_group_metadata(), PATIENCE)
            self.retried(self.producer.commit_transaction, PATIENCE)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise  # the next process begins at the committed offsets
            log.warning("a transaction is given up, and its records are read again: %s", error)
            self.retried(self.producer.abort_transaction, PATIENCE)
            self.rewind(begin)
            return
        for what, count in counts.items():
            self.counts[what] += count

    def handle(self, record):
        try:
            self.producer.produce(self.output, key=record.key(), value=price(record.value()))
            return "handled"
        except Poison as error:
            if not self.dead_letters:
                # Skipping it in silence would lose it: stop here until somebody looks.
                sys.exit(f"{record.topic()}/{record.partition()} at {record.offset()}: {error}; set deadLetter.topic")
            self.producer.produce(
                self.dead_letters, key=record.key(), value=record.value(), headers=headers(record, self.group, error)
            )
            return "dead_lettered"

    def rewind(self, begin):
        """Back to where a batch began, in those partitions that are still ours."""
        for mine in self.consumer.assignment():
            offset = begin.get((mine.topic, mine.partition))
            if offset is not None:
                self.consumer.seek(TopicPartition(mine.topic, mine.partition, offset))

    @staticmethod
    def retried(step, *arguments):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return step(*arguments)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise


def serve(processor, port):
    """Health and metrics, beside the loop."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802, the library's name
            alive = time.monotonic() - processor.turned < 120
            answers = {
                "/livez": (alive, "alive\n" if alive else "the loop stands still\n"),
                "/readyz": (processor.joined, "ready\n" if processor.joined else "not yet in the group\n"),
                "/metrics": (True, metrics(processor)),
            }
            if self.path not in answers:
                return self.send_error(404)
            good, text = answers[self.path]
            self.send_response(200 if good else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    threading.Thread(target=http.server.ThreadingHTTPServer(("", port), Answer).serve_forever, daemon=True).start()


def metrics(processor):
    """Under the names of Tidegate's own consumer."""
    lines = []
    for what, count in processor.counts.items():
        name = f"tidegate_consumer_records_{what}_total"
        lines += [f"# TYPE {name} counter", f"{name} {count}"]
    return "\n".join(lines) + "\n"


def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = yaml.safe_load(Path(SETTINGS).read_text())
    if settings["version"] != 1:
        sys.exit(f"{SETTINGS} is of version {settings['version']}; this program reads version 1")
    processor = Processor(settings)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: setattr(processor, "stopping", True))
    serve(processor, settings["http"]["port"])
    processor.run()


if __name__ == "__main__":
    main()
