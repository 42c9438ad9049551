"""What is driven, in which version: the one place where they are named (Go's are in go/*/go.mod, Rust's in rust/*/Cargo.toml, with their checksums)."""
KAFKA = "4.3.1"  # the newest whose tools, Connect and MirrorMaker are all on Maven Central; the oracle too
KAFKA_BEFORE = "3.9.1"
KAFKA_CLIENTS = ("4.4.0", KAFKA, KAFKA_BEFORE)
PYTHON = {"aiokafka": "aiokafka[snappy,lz4,zstd]==0.14.0", "confluent_kafka": "confluent-kafka==2.16.1"}
