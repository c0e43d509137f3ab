//! KafkaAdmin: the operator's boundary to broker administration.
